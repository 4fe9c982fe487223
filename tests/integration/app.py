"""A partner's app that goes on through whatever happens to NATS, and whether the whole system does."""

from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client

from contract.tenant import Tenant

from .partner import connected as partner
from .partner import sent
from .support import wait_until

STAYING: dict[str, Any] = {"allow_reconnect": True, "reconnect_time_wait": 0.05, "max_reconnect_attempts": -1}


class App:
    """A partner's app: a client that stays connected, and what it has sent."""

    def __init__(self, url: str, key: dict[str, Any], *, sent: int = 0) -> None:
        self.url = url
        self.key = key
        self.client: Client | None = None
        self.sent = sent

    async def goes_on(self, *, patient: bool = True) -> None:
        """Its next event is stored behind all others. A patient one sends it again, under the same id, until it is."""
        self.sent += 1
        if patient:
            await wait_until(self._tried, 20)
        else:
            assert (await self._send())["seq"] == self.sent

    async def _tried(self) -> bool:
        with suppress(nats.errors.Error, OSError):
            return bool((await self._send()).get("seq") == self.sent)
        return False

    async def _send(self) -> Any:
        """Over the connection that is there. One that the server refused while no API was there is closed for good."""
        if self.client is None or not self.client.is_connected:
            await self.close()
            self.client = await partner(self.url, self.key["secret"], **STAYING)
        return await sent(self.client, "app/order/created", {"n": self.sent}, **{"Nats-Msg-Id": f"event-{self.sent}"})

    async def close(self) -> None:
        if self.client is not None:
            await self.client.close()


async def works(tenant: Tenant, app: App, *, patient: bool = True) -> None:
    """The app's event is stored behind all others, over its connection and over a new one, and the worker publishes
    what is appended."""
    services = tenant.services
    await app.goes_on(patient=patient)
    fresh = App(app.url, app.key, sent=app.sent)
    await fresh.goes_on(patient=patient)
    await fresh.close()
    app.sent = fresh.sent
    await tenant.invite()
    head = await services.journal.head()

    async def relayed() -> bool:
        with suppress(nats.errors.Error):
            return bool((await services.bus.jetstream().stream_info("LIFECYCLE")).state.last_seq == head)
        return False  # its leader went, say

    await wait_until(relayed, 20)
