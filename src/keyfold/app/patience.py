"""Waits that end, but not before what has already come was looked at.

A loop that has a thousand things to do in one turn is behind: its timers are due before it has read what somebody
answered long ago. To call that an outage would turn every burst into one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TURNS = 20
"""Turns of the loop that an answer takes at the most from the socket to whoever waits: microseconds if it keeps up."""


class Patience:
    """Calls `end` once, after so many seconds and then `TURNS` turns of the loop, unless it is cancelled before."""

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._turns = TURNS
        self._handle: asyncio.Handle = self._loop.call_later(seconds, self._turn)

    def cancel(self) -> None:
        self._handle.cancel()

    def _turn(self) -> None:
        if self._turns:
            self._turns -= 1
            self._handle = self._loop.call_soon(self._turn)
        else:
            self._end()


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Like `asyncio.timeout`, with patience. Raises TimeoutError."""
    async with asyncio.timeout(None) as limit:
        patience = Patience(seconds, lambda: limit.reschedule(0))
        try:
            yield
        finally:
            patience.cancel()
