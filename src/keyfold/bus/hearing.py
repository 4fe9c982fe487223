"""Hears which streams have moved, so that what a process remembers of them is never stale."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import msgspec
import structlog
from nats.aio.msg import Msg

from keyfold.bus.connection import Bus
from keyfold.bus.herald import Appended
from keyfold.bus.subjects import APPENDED, probe
from keyfold.domain.refusals import Unavailable

log = structlog.get_logger()

EVERY = 0.2
"""Seconds between the beginnings of two rounds, and as long as a round waits for its probe."""

LEASE = 0.6
"""Seconds from the beginning of a successful round for which memory may be used."""

BATCH = 10_000
"""Positions asked for at a time."""


class Log(Protocol):
    """The end of the log. Both raise `Unavailable`."""

    async def head(self) -> int: ...
    async def moved_after(self, position: int, most: int) -> list[tuple[int, str]]: ...


class Rewound(Exception):  # noqa: N818  # a state of the log, not a mistake
    """The log isn't the one that was heard: an older backup, or a standby that lacked its end. What a process remembers
    of the other one can't be told from what is true, so the process has to begin anew."""


class Hearing:
    """Calls `on_moved` with the streams that moved, and knows whether it has missed any.

    Two sources, for two reasons. The heralds' messages make it milliseconds; they can be lost, and are never trusted
    alone. The tail of the log bounds it: a question that began at a time and found the end proves that everything
    committed before that time has been heard, whoever is cut off from whom: a push lost, NATS paused, the worker dead,
    a commit whose process never learnt of it.

    So each round sends a message to itself through NATS, and when that is back, or isn't in time, asks for the tail.
    Only when both succeeded is the process current, until `LEASE` after the round began, by its own monotonic clock
    and nobody else's. The tail comes second: it finds what was said while the subscription wasn't there. While NATS
    isn't heard, also when its server merely hangs, the truth must be asked: the tail alone would be late by a round.
    """

    def __init__(
        self,
        bus: Bus,
        log: Log,
        *,
        on_moved: Callable[[Iterable[str]], None] = lambda streams: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._log = log
        self._on_moved = on_moved
        self._monotonic = monotonic
        self._until = float("-inf")
        self._losses = 0
        self._inbox = probe(secrets.token_hex(8))
        self._probes = 0
        self._returned = asyncio.Event()
        self._last: str | None = None
        self.position: int | None = None
        """Every stream that moved up to here, and after where it began, was told. None before the first answer."""

    @property
    def is_current(self) -> bool:
        """Whether what was read while this was true, and not told as moved since, is at most `LEASE` old."""
        return self._monotonic() < self._until

    def moved(self, streams: Iterable[str]) -> None:
        """For this process's own appends, before whoever made them is answered."""
        self._on_moved(streams)

    async def run(self) -> None:
        """Runs until cancelled. Outages of Postgres and NATS end the lease and nothing else. Raises `Rewound`."""
        self._bus.on_loss(self._lose)
        await self._bus.handle(APPENDED, self._on_appended)
        await self._bus.handle(self._inbox, self._on_probe)
        heard = False
        while True:
            began = self._monotonic()
            if heard != (heard := await self._round(began)):
                log.info("hearing.current") if heard else log.warning("hearing.lost")
            await asyncio.sleep(EVERY - (self._monotonic() - began))

    async def _round(self, began: float) -> bool:
        losses = self._losses
        probed = await self._probe()
        told = await self._tell_tail()
        heard = probed and told and self._bus.is_connected and losses == self._losses
        if heard:
            self._until = began + LEASE
        return heard

    async def _probe(self) -> bool:
        """Whether a message came back through the server in time."""
        self._probes += 1
        self._returned.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY):
                await self._bus.tell(self._inbox, str(self._probes).encode())
                await self._returned.wait()
        return self._returned.is_set()

    async def _tell_tail(self) -> bool:
        """Whether the end of the log was reached."""
        try:
            if self.position is None:
                self.position = await self._log.head()
            while True:
                rows = await self._log.moved_after(self.position - 1, BATCH)  # with where it is
                self._compare(self.position, rows)
                if moved := {stream for position, stream in rows if position > self.position}:
                    self._on_moved(moved)
                if rows:
                    self.position, self._last = rows[-1]
                if len(rows) < BATCH:
                    return True
        except Unavailable:
            return False

    def _compare(self, position: int, rows: list[tuple[int, str]]) -> None:
        """With what was at the position when it was heard."""
        there = rows[0] if rows else (0, "")
        if position and (there[0] != position or self._last not in (None, there[1])):
            self._until = float("-inf")
            raise Rewound(f"The log isn't the one that was heard up to position {position}.")

    def _lose(self) -> None:
        """What is said from now on isn't heard, nor is a round that is under way worth anything."""
        self._losses += 1
        self._until = float("-inf")

    async def _on_probe(self, message: Msg) -> None:
        if message.data == str(self._probes).encode():  # not one that comes late
            self._returned.set()

    async def _on_appended(self, message: Msg) -> None:
        # one that can't be read, of another version perhaps, ends in the log of the bus: the tail has it too
        self._on_moved(msgspec.json.decode(message.data, type=Appended).streams)
