"""Keeps children alive: one that dies is started again, a little later each time, until it is clear that it can't."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from keyfold.cli.embedded.binaries import EmbeddedError
from keyfold.cli.embedded.child import Child, tail, until

QUICK = 10.0
"""Seconds; who dies sooner has not lived."""
LOOK = 2.0
"""Seconds between two looks at whether it is stuck."""
GIVE_UP_AFTER = 5
"""Quick deaths in a row."""


class Supervisor:
    """Watches one child. `start` starts it again; its `EmbeddedError` counts as a death. `is_stuck`
    says of one that lives that it never does anything any more."""

    def __init__(
        self,
        child: Child,
        start: Callable[[], Awaitable[None]],
        *,
        say: Callable[[str], None],
        is_stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        self._child = child
        self._start = start
        self._say = say
        self._is_stuck = is_stuck
        self._deaths = 0

    async def run(self) -> None:
        """Never returns. Raises `EmbeddedError` with the end of the log when there is no point in going on."""
        while True:
            born = time.monotonic()
            await self._end()
            self._deaths = self._deaths + 1 if time.monotonic() - born < QUICK else 1
            await self._revive()

    async def _end(self) -> None:
        """Returns when the child has ended, if need be by us: what is stuck twice in a row will be for ever."""
        was_stuck = False
        while not await until(lambda: not self._child.alive, LOOK, every=0.05):
            is_stuck = await asyncio.to_thread(self._is_stuck)
            if is_stuck and was_stuck:
                self._child.kill()
            was_stuck = is_stuck

    async def _revive(self) -> None:
        while True:
            if self._deaths >= GIVE_UP_AFTER:
                raise EmbeddedError(f"{self._child.name} can't run. {self._end_of_log(20)}")
            self._say(f"{self._child.name} {self._how()}, and is started again. {self._end_of_log(5)}")
            await asyncio.sleep(min(0.1 * 2**self._deaths, 5))
            try:
                await self._start()
            except EmbeddedError:
                self._deaths += 1
            else:
                return

    def _how(self) -> str:
        status = self._child.process.returncode if self._child.process else None
        if status is not None and status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    def _end_of_log(self, lines: int) -> str:
        return f"Its log, {self._child.log}, ends:\n{tail(self._child.log, lines)}"
