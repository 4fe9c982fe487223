"""Tells the others what was appended: soon, once for many, and without anybody waiting for it."""

import asyncio
from collections.abc import Iterable

import msgspec

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import APPENDED

PAUSE = 0.005
"""Seconds between two messages; the first one goes out at once."""


class Appended(msgspec.Struct, frozen=True):
    """The payload: the last position that this process appended, and the streams that moved since its last message."""

    position: int
    streams: set[str]


class Herald:
    """A message that is lost, or too large for NATS, isn't repeated: see `Hearing` for those who must know."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._position = 0
        self._streams: set[str] = set()
        self._news = asyncio.Event()

    def appended(self, position: int, streams: Iterable[str]) -> None:
        self._position = position
        self._streams.update(streams)
        self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            streams, self._streams = self._streams, set()
            await self._bus.tell(APPENDED, msgspec.json.encode(Appended(self._position, streams)))
            await asyncio.sleep(PAUSE)
