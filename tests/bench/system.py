"""Keyfold below HTTP, wired as `keyfold api` wires it, and the loads that the rows put on it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from keyfold.app.access import Caller
from keyfold.app.onboarding import Visit
from keyfold.app.ports import Clock, Entropy
from keyfold.app.views import IntegrationView
from keyfold.app.work import Answer, Cause
from keyfold.app.workspaces import FoundedView
from keyfold.domain.app_event import stream_of
from keyfold.domain.integration import Terms
from keyfold.domain.partner import Invitation
from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.record import Actor
from keyfold.settings import Settings
from keyfold.web.services import Services

INVITATION = {
    "appName": "Order sync",
    "appDescription": "Keeps the orders of the shop and of the warehouse the same.",
    "metadata": {"contact": "ops@example.com", "region": "eu-central", "tier": 2},
}
"""The body of the partner guide's request, as JSON."""


class ServiceKey(NamedTuple):
    """A key of a partner's app."""

    id: str
    secret: str

    @property
    def environment(self) -> str:
        return self.secret.split("_")[1]


class System:
    """An API's services around one workspace with one integration; `owner` manages, `integration` invites."""

    def __init__(self, services: Services, cause: Cause, founded: FoundedView) -> None:
        self.services = services
        self.workspace_id = founded.workspace_id
        self.integration_id = founded.integration.id
        self.owner = Caller(cause, founded.workspace_id, is_owner=True)
        self.integration = Caller(cause, founded.workspace_id, integration_id=founded.integration.id)
        self.integration_key = founded.integration_key.secret
        self.account_key = founded.account_key.secret

    async def create(self) -> Answer[IntegrationView]:
        """A command that appends one event."""
        return await self.services.integrations.create(self.owner, Terms(name="Orders"))

    async def invite(self) -> str:
        """Appends two events; gives the link's token."""
        invitation = Invitation(
            app_name=str(INVITATION["appName"]),
            app_description=str(INVITATION["appDescription"]),
            metadata={"contact": "ops@example.com", "region": "eu-central", "tier": 2},
        )
        answer = await self.services.onboarding.invite(self.integration, invitation)
        return answer.view.url.partition("#")[2]

    async def live(self) -> None:
        """A partner's life in nine events: invited, onboarded with three keys, one of them revoked."""
        (of, _), *_ = await self._onboard()
        await self.services.key_life.revoke(self.owner, of, "left the laptop on the train")

    async def allow_connections(self, many: int) -> None:
        """So many to NATS for each key. Only while nothing else has changed of the integration."""
        offer = Offer(policy=KeyPolicy(connections=many))
        terms = Terms(name="Orders", environments=dict.fromkeys(ENVIRONMENTS, offer))
        await self.services.integrations.change(self.owner, self.integration_id, terms, version=1)

    def stream_of(self, key: ServiceKey) -> str:
        """Where its app events are."""
        return stream_of(self.workspace_id, key.environment)

    async def keys(self, count: int) -> list[ServiceKey]:
        """So many service keys, of as many partners as it takes, for each environment in turn."""
        onboarded = [await self._onboard() for _ in range(-(-count // 3))]
        return [key for keys in onboarded for key in keys][:count]

    async def fill(self, events: int) -> int:
        """Lives until the log has that many events. Gives how many it has."""
        while (head := await self.services.journal.head()) < events:
            lives = min(1_000, max(1, (events - head) // 9))
            await asyncio.gather(*[_times(self.live, lives // 64 + 1) for _ in range(min(64, lives))])
        return head

    async def _onboard(self) -> list[ServiceKey]:
        """A new partner's keys, one for each environment."""
        opened = await self.services.onboarding.redeem(await self.invite(), Visit("192.0.2.1", "req_bench"))
        return [ServiceKey(key.id, key.secret) for key in opened.answer.view.keys]


@asynccontextmanager
async def running(
    settings: Settings, *, clock: Clock | None = None, entropy: Entropy = os.urandom
) -> AsyncIterator[System]:
    """The services in this process, telling of their appends and hearing of others' as an API does."""
    services = Services(settings, clock=clock, entropy=entropy)
    await services.open()
    news = asyncio.create_task(services.run())
    try:
        cause = Cause(Actor("operator", "bench"), "req_bench")
        yield System(services, cause, (await services.workspaces.found(cause, "Bench", Terms(name="Orders"))).view)
    finally:
        news.cancel()
        with suppress(asyncio.CancelledError):
            await news
        await services.close()


async def rate(command: Callable[[], Awaitable[object]], *, writers: int, seconds: float) -> float:
    """Commands a second, by so many writers at once, each waiting for its answer."""
    started = time.perf_counter()

    async def write() -> int:
        done = 0
        while time.perf_counter() - started < seconds:
            await command()
            done += 1
        return done

    done = await asyncio.gather(*[write() for _ in range(writers)])
    return sum(done) / (time.perf_counter() - started)


async def _times(command: Callable[[], Awaitable[object]], times: int) -> None:
    for _ in range(times):
        await command()
