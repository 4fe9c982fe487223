"""How keys are used for events: counts, bytes and latencies by key, minute and outcome.

Observations, not facts: added up in memory, and handed over now and then, a batch at a time.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, NamedTuple

import msgspec

CAPACITY = 100_000
"""Distinct keys, minutes and outcomes that a process keeps while they can't be handed over."""

BATCH = 2_000
"""Tallies of one batch. The longest takes about 400 bytes, and NATS takes a message of up to 1 MiB."""

LATENCY_BOUNDS = tuple(0.0005 * 2**power for power in range(17))
"""Seconds, the upper end of each bucket with the end in it: 0.5 ms, 1 ms … 32.768 s. One more bucket has the rest."""

BUCKETS = len(LATENCY_BOUNDS) + 1


_Word = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,100}$")]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**48)]


class Tally(msgspec.Struct, array_like=True):
    """What one key had of one outcome in one minute, counted since 1970. `buckets` is empty or has all latencies."""

    key_id: _Word
    minute: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    outcome: _Word
    count: _Number = 0
    size: _Number = 0
    buckets: Annotated[list[_Number], msgspec.Meta(max_length=BUCKETS)] = []


class ConsumerSample(NamedTuple):
    """What a consumer at JetStream says of itself, and whose it is. `delivered` counts deliveries since `created`,
    repetitions included; `settled` those of them that are over: acknowledged, terminated, or followed by another
    delivery of the same event."""

    key_id: str
    stream: str
    consumer: str
    created: str
    delivered: int
    settled: int


class EventUsage:
    """What one process has noted and not yet handed over. `dropped` counts what there was no room for."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._tallies: dict[tuple[str, int, str], Tally] = {}

    def note(
        self, key_id: str, outcome: str, *, at: datetime, count: int = 1, size: int = 0, seconds: float | None = None
    ) -> None:
        """Adds events of a key that exists. `size`: bytes of all of them; `seconds`: what each of them took.

        `outcome`: published, duplicate, delivered, acknowledged, rejected, terminated, filtered or refused:<code>;
        of few distinct values, none of them a client's.
        """
        which = (key_id, int(at.timestamp()) // 60, outcome)
        tally = self._tallies.get(which)
        if tally is None:
            if len(self._tallies) >= self._capacity:
                self.dropped += count
                return
            tally = self._tallies[which] = Tally(*which)
        tally.count += count
        tally.size += size
        if seconds is not None:
            if not tally.buckets:
                tally.buckets = [0] * BUCKETS
            tally.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += count

    def take(self) -> Iterator[list[Tally]]:
        """All that was noted since the last time, in batches. From here on it is the caller's to keep."""
        taken, self._tallies = iter(self._tallies.values()), {}
        while batch := list(islice(taken, BATCH)):
            yield batch
