"""Tells the others that something was appended: soon, once for many, and without anybody waiting for it."""

import asyncio

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import APPENDED

PAUSE = 0.002
"""Seconds between two wake-ups; the first one goes out at once."""


class Herald:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._position = 0
        self._news = asyncio.Event()

    def appended(self, position: int) -> None:
        self._position = position
        self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._bus.tell(APPENDED, str(self._position).encode())
            await asyncio.sleep(PAUSE)
