"""What happens often and is alike, on its way into the log: the first at once, all that follow as a number."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec

from keyfold.app.ports import Clock

K = TypeVar("K", bound=Hashable)
D = TypeVar("D")

EVERY = timedelta(minutes=10)
"""The time between two records of what is alike."""
CAPACITY = 10_000
"""Kinds that a process keeps apart. Of more, the oldest are written down early."""
AT_ONCE = 100
"""Records that one flush writes at the most."""


class Tally(msgspec.Struct, Generic[D]):
    """`count` of a kind from `since` to `until`, and what is known of the last one."""

    last: D
    count: int
    since: datetime
    until: datetime
    due: datetime


class Tallies(Generic[K, D]):
    """What one process has noted and not yet written down. `write` is given a kind and what is to be written of it."""

    def __init__(self, clock: Clock, write: Callable[[K, Tally[D]], Awaitable[object]]) -> None:
        self._clock = clock
        self._write = write
        self._tallies: OrderedDict[K, Tally[D]] = OrderedDict()

    def note(self, kind: K, last: D, at: datetime) -> None:
        tally = self._tallies.get(kind)
        if tally is None:
            tally = self._tallies[kind] = Tally(last, 0, at, at, due=at)
        if not tally.count:
            tally.since = at
        tally.count, tally.until, tally.last = tally.count + 1, at, last

    def again(self, kind: K, at: datetime) -> bool:
        """Notes one more of a kind that has come already since it was last written; whether it had."""
        tally = self._tallies.get(kind)
        if tally is None or not tally.count:
            return False
        tally.count += 1
        tally.until = at
        return True

    async def flush(self) -> None:
        """Writes what is due, and forgets the kinds that have not come again. Raises `Unavailable`, `Conflict`."""
        now = self._clock()
        surplus = len(self._tallies) - CAPACITY
        due = [each for n, each in enumerate(self._tallies.items()) if n < surplus or each[1].due <= now][:AT_ONCE]
        for kind, tally in due:
            if not tally.count:
                self._tallies.pop(kind, None)
                continue
            # what comes while this is written belongs to the next one
            written, tally.count, tally.due = msgspec.structs.replace(tally), 0, now + EVERY
            self._tallies.move_to_end(kind)
            try:
                await self._write(kind, written)
            except BaseException:
                tally.count, tally.since, tally.due = tally.count + written.count, written.since, written.due
                raise
