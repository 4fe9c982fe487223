"""The dead letters of a partner: of every consumer that its keys may use, each consumer once."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from keyfold.app.memory import Known
from keyfold.app.portal import Home
from keyfold.app.ports import Clock
from keyfold.bus.consumers import Consumers
from keyfold.bus.inspecting import DeadLetterView
from keyfold.bus.tending import Tending
from keyfold.domain.aggregates import KEY
from keyfold.domain.judgement import Question
from keyfold.domain.permissions import Environment
from keyfold.domain.refusals import NotFound

MOST = 50
"""Of each consumer, the oldest first: what is given once more, or discarded, makes room."""


class Letter(NamedTuple):
    """A dead letter of a consumer, and one of the keys that may use it."""

    known: Known
    consumer: str
    view: DeadLetterView


class Letters:
    """`find` gives a key by its id, from memory or from the truth. Keys that may not receive, or not from the network
    of `address`, have no dead letters here."""

    def __init__(
        self, consumers: Consumers, tending: Tending, *, find: Callable[[str], Awaitable[Known | None]], clock: Clock
    ) -> None:
        self._consumers = consumers
        self._tending = tending
        self._find = find
        self._clock = clock

    async def listed(self, home: Home, environment: Environment | None, *, address: str) -> list[Letter]:
        """Up to `MOST` of each consumer. Raises `Unavailable`."""
        found: list[Letter] = []
        seen: set[tuple[str, str]] = set()
        for key_id in home.partner.keys:
            known = await self._receiver(key_id, address)
            if known is None or environment not in (None, known.subject.key.environment):
                continue
            for each in await self._consumers.usable(known):
                if (each.stream, each.target) not in seen:
                    seen.add((each.stream, each.target))
                    views = await self._tending.dead_letters(known, each.name, after=0, most=MOST)
                    found += [Letter(known, each.name, view) for view in views]
        return found

    async def redrive(self, home: Home, key_id: str, consumer: str, sequence: int, *, address: str) -> Letter:
        """Raises `NotFound`, `EventGone`, `Unavailable`."""
        known = await self._own(home, key_id, address)
        return Letter(known, consumer, await self._tending.redrive(known, consumer, sequence))

    async def discard(self, home: Home, key_id: str, consumer: str, sequence: int, *, address: str) -> Letter:
        """Raises `NotFound`, `Unavailable`."""
        known = await self._own(home, key_id, address)
        return Letter(known, consumer, await self._tending.discard(known, consumer, sequence))

    async def _own(self, home: Home, key_id: str, address: str) -> Known:
        home.demand_key(key_id)
        known = await self._receiver(key_id, address)
        if known is None:
            raise NotFound.of(KEY.word, key_id)
        return known

    async def _receiver(self, key_id: str, address: str) -> Known | None:
        known = await self._find(key_id)
        if known is None or known.decision(Question("receive", None, address), self._clock()).code != "valid":
            return None
        return known
