"""Limits in time, in one process' memory: how often a subject may ask, and how often an address may fail."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from keyfold.domain.rates import Rate, Standing, delay, take
from keyfold.domain.refusals import Refusal

V = TypeVar("V")
Seconds = Callable[[], float]
"""A clock that never goes back, such as `time.monotonic`."""

SUBJECTS = 100_000
FAILURES = Rate(requests=20, seconds=20)
"""What an address group may get wrong: 20 times at once, then once a second."""
PATIENCE = 3.0
"""Seconds that an attempt waits for its turn."""


class RateLimited(Refusal):
    """More requests than the rate allows. `standing` says when to come back."""

    code, status, title = "rate-limited", 429, "Too many requests"

    def __init__(self, rate: Rate, standing: Standing) -> None:
        super().__init__(
            f"The limit is {_counted(rate.requests, 'request')} in {_counted(rate.seconds, 'second')}. "
            f"Try again in {_counted(math.ceil(standing.retry_after), 'second')}."
        )
        self.rate = rate
        self.standing = standing


class TooManyFailures(Refusal):
    """An address that has tried too many unknown keys. `retry_after` is in seconds, and is never 0."""

    code, status, title = "too-many-failures", 429, "Too many unknown keys"

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "Too many keys that aren't known were tried from this address. "
            f"Try again in {_counted(math.ceil(retry_after), 'second')}."
        )
        self.retry_after = retry_after


class Recent(Generic[V]):
    """What was used most recently. What is `idle` has no more meaning and goes early.

    Beyond `SUBJECTS` at once, the one that has been away the longest goes as well, and starts anew.
    """

    def __init__(self, idle: Callable[[V], bool]) -> None:
        self._idle = idle
        self._values: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, subject: str) -> V | None:
        return self._values.get(subject)

    def put(self, subject: str, value: V) -> None:
        self._values[subject] = value
        self._values.move_to_end(subject)
        for _ in range(2):  # faster than they come, and never many at once
            oldest = next(iter(self._values))
            if len(self._values) <= SUBJECTS and not self._idle(self._values[oldest]):
                return
            if oldest != subject:
                del self._values[oldest]


class Limiter:
    """Counts requests against rates, for this process alone: with n processes a subject has up to n times its rate."""

    def __init__(self, clock: Seconds) -> None:
        self._clock = clock
        self._tats: Recent[float] = Recent(idle=lambda tat: tat <= clock())

    def take(self, subject: str, rate: Rate) -> Standing:
        """One request of the subject, which is who asks and for what the rate is."""
        tat, standing = take(rate, self._tats.get(subject) or 0.0, self._clock())
        self._tats.put(subject, tat)
        return standing


class Attempt:
    """A key that is being looked up. Whoever finds none says so by `failed()`."""

    def __init__(self) -> None:
        self.has_failed = False

    def failed(self) -> None:
        self.has_failed = True


class _Line:
    """One address group: its failures (as a `tat`), the attempts that are let in, and those that wait for it."""

    def __init__(self) -> None:
        self.tat = 0.0
        self.inside = 0
        self.waiting = 0
        self.turn = asyncio.Lock()  # is fair: its holder is the first in the line
        self.stirred = asyncio.Event()

    def is_idle(self, now: float) -> bool:
        return self.tat <= now and not self.inside and not self.waiting

    def delay(self, now: float, ahead: int = 0) -> float:
        return delay(FAILURES, self.tat, now, ahead)


class Throttle:
    """Slows down whoever tries keys, by address group, in this process alone. One group never waits for another.

    An attempt counts as a failure until it has ended, so that a thousand at once can't all pass before the first has
    failed. Those beyond that line up: they go on as soon as enough of the others turn out to be no failures.
    """

    def __init__(self, clock: Seconds, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lines: Recent[_Line] = Recent(idle=lambda line: line.is_idle(clock()))

    @asynccontextmanager
    async def attempt(self, group: str) -> AsyncIterator[Attempt]:
        """Waits in turn until the group may try a key that isn't known in memory; its body looks the key up.

        At once while there are free failures left, counting those under way. Raises `TooManyFailures` without waiting
        when they are used up and the turn is further than `PATIENCE` away, and else when it hasn't come by then.
        Whatever ends without `failed()`, be it by an exception, is no failure.
        """
        line = self._line(group)
        await self._enter(line)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            line.inside -= 1
            if attempt.has_failed:
                self._note(line)
            line.stirred.set()

    def failed(self, group: str) -> None:
        """Notes a failure that was no attempt."""
        self._note(self._line(group))

    def blocks(self, group: str) -> float:
        """Seconds until the group may fail again, if all that are under way fail; for those who can't wait."""
        line = self._lines.get(group)
        return line.delay(self._clock(), line.inside + line.waiting) if line else 0.0

    async def _enter(self, line: _Line) -> None:
        now = self._clock()
        if line.delay(now) and (slot := line.delay(now, line.inside + line.waiting)) > PATIENCE:
            raise TooManyFailures(slot)
        line.waiting += 1
        try:
            async with line.turn:
                await self._turn(line, deadline=now + PATIENCE)
                line.inside += 1
        finally:
            line.waiting -= 1

    async def _turn(self, line: _Line, deadline: float) -> None:
        """As the first in the line. Everybody behind came later and has more time left, so nobody waits longer."""
        while wait := line.delay(now := self._clock(), line.inside):
            left = deadline - now
            if left <= 0 or line.delay(now) > left:
                raise TooManyFailures(wait)
            line.stirred.clear()
            await self._first(self._sleep(min(wait, left)), line.stirred.wait())

    def _note(self, line: _Line) -> None:
        line.tat, _ = take(FAILURES, line.tat, self._clock())

    def _line(self, group: str) -> _Line:
        line = self._lines.get(group) or _Line()
        self._lines.put(group, line)
        return line

    @staticmethod
    async def _first(*awaitables: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(each) for each in awaitables]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def _counted(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
