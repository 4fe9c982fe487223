"""The event gateway of a process: everything between partners' NATS clients and the streams of app events."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from keyfold.app.ingress import Ingress
from keyfold.app.memory import Known
from keyfold.app.ports import Clock
from keyfold.app.verifier import Verifier
from keyfold.bus.accounts import Accounts
from keyfold.bus.callout import Attempt, Callout
from keyfold.bus.connection import Bus
from keyfold.bus.ingress import NatsIngress
from keyfold.bus.lifecycle_consumers import ensure_lifecycle_consumer
from keyfold.bus.reaper import Reaper
from keyfold.bus.subjects import LIFECYCLE
from keyfold.bus.topology import KeyAccount, generations_of, login
from keyfold.domain.policy import KeyPolicy
from keyfold.settings import Settings

Natives = Callable[[Known], Awaitable[Iterable[tuple[str, str]]]]
"""The streams and consumers that a key may pull from natively."""


class Gateway:
    """Opens two connections beside the process's own: one answers the callout, one pushes accounts."""

    def __init__(
        self,
        settings: Settings,
        core: Bus,
        *,
        ingress: Ingress,
        natives: Natives,
        verifier: Verifier,
        clock: Clock,
        new_id: Callable[[str], str],
        on_refused: Attempt,
    ) -> None:
        generations = generations_of(settings)
        newest = generations[0]
        self._core = core
        self._natives = natives
        self.auth = Bus(settings.nats_url, login=login(newest, "callout"), name="keyfold callout")
        self.system = Bus(settings.nats_url, login=login(newest, "accounts"), name="keyfold accounts")
        self.accounts = Accounts(self.system, generations)
        self.reaper = Reaper(
            self.system, accounts=self.accounts, account_of=self._account_of, verifier=verifier, clock=clock
        )
        self.callout = Callout(
            self.auth,
            generations,
            accounts=self.accounts,
            account_of=self._account_of,
            verifier=verifier,
            clock=clock,
            on_grant=self.reaper.granted,
            on_refused=on_refused,
        )
        self.ingress = NatsIngress(core, ingress=ingress, accounts=self.accounts, verifier=verifier, new_id=new_id)

    @property
    def is_connected(self) -> bool:
        return self.auth.is_connected and self.system.is_connected

    async def run(self) -> None:
        """Until cancelled; `close` comes after."""
        await self.system.start()
        await self.accounts.start()
        await self.auth.start()
        await self.callout.start()
        await self.ingress.start()
        await self.reaper.run()

    async def close(self) -> None:
        await self.callout.stop()
        await self.ingress.stop()
        await asyncio.gather(self.auth.stop(), self.system.stop())

    async def _account_of(self, known: Known) -> KeyAccount:
        key, offer = known.subject.key, known.subject.offer
        policy = offer.policy if offer else KeyPolicy()
        networks = [each for of in (key, *known.subject.parents) for each in (of.id, *of.document.source_networks)]
        return KeyAccount(
            key.id,
            connections=policy.connections,
            payload=policy.event_bytes,
            consumers=tuple(await self._consumers(known)),
            networks=tuple(networks),
        )

    async def _consumers(self, known: Known) -> Iterable[tuple[str, str]]:
        if known.subject.key.kind == "service":
            return await self._natives(known)
        return [(LIFECYCLE, await ensure_lifecycle_consumer(self._core, known.subject.key))]
