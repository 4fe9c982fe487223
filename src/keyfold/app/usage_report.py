"""How keys were used for events over a stretch of time: the stretch as it is asked for, and the report of it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from keyfold.app.event_usage import LATENCY_BOUNDS
from keyfold.app.views import View
from keyfold.domain.refusals import Invalid

Resolution = Literal["minute", "hour", "day"]
MOST = 1_500
"""Steps of one report."""
_STEPS: dict[Resolution, int] = {"minute": 1, "hour": 60, "day": 1440}
_DEFAULT: dict[Resolution, int] = {"minute": 60, "hour": 24, "day": 30}
"""Steps of a report where nobody says from when."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


class Span(NamedTuple):
    """Whole steps of `step` minutes, from `first` on and before `end`: minutes since 1970."""

    first: int
    end: int
    resolution: Resolution

    @property
    def step(self) -> int:
        return _STEPS[self.resolution]


class Point(View, frozen=True, kw_only=True):
    """What one step had of one outcome; a step without any isn't there."""

    at: datetime
    outcome: str
    count: int
    bytes: int


class Total(View, frozen=True, kw_only=True):
    count: int
    bytes: int


class Latency(View, frozen=True, kw_only=True):
    """Events by bucket. `p50` and `p99`: the end, in seconds, of the bucket that half of them, or 99 of 100, are not
    above; null where that is the last one, which has no end."""

    counts: list[int]
    p50: float | None
    p99: float | None


class Latencies(View, frozen=True, kw_only=True):
    """`bounds` are the ends of the buckets in seconds; one more bucket has what took longer."""

    bounds: tuple[float, ...] = LATENCY_BOUNDS
    by_outcome: dict[str, Latency]


class EventUsageView(View, frozen=True, kw_only=True):
    """What was noted from `from` on and before `to`, by step and outcome."""

    since: datetime = msgspec.field(name="from")
    to: datetime
    resolution: Resolution
    series: list[Point]
    totals: dict[str, Total]
    latency: Latencies


def span(since: datetime | None, until: datetime | None, resolution: Resolution, now: datetime) -> Span:
    """The steps that cover what is asked for, as far as it has begun. Times are UTC. Raises `Invalid`."""
    step = _STEPS[resolution]
    end = min(_ceil(until or now, step), _ceil(now + _MINUTE, step))
    first = end - _DEFAULT[resolution] * step if since is None else _minute(since) // step * step
    if first >= end:
        raise Invalid("The stretch of time is empty.", ("?from", "Give a time before `to`, and before now."))
    if (end - first) // step > MOST:
        raise Invalid(
            f"The stretch of time has more than {MOST} steps.",
            ("?resolution", "Ask for less at a time, or for a coarser resolution: minute, hour, day."),
        )
    return Span(first, end, resolution)


def report(
    of: Span, rows: Iterable[tuple[int, str, int, int]], latencies: Iterable[tuple[str, int, int]]
) -> EventUsageView:
    """`rows` are minute, outcome, events and bytes; `latencies` outcome, number of the bucket from 1, and events."""
    series = [Point(at=_time(minute), outcome=what, count=count, bytes=size) for minute, what, count, size in rows]
    totals: dict[str, Total] = {}
    for point in series:
        so_far = totals.get(point.outcome, Total(count=0, bytes=0))
        totals[point.outcome] = Total(count=so_far.count + point.count, bytes=so_far.bytes + point.bytes)
    counts: dict[str, list[int]] = {}
    for outcome, number, count in latencies:
        counts.setdefault(outcome, [0] * (len(LATENCY_BOUNDS) + 1))[number - 1] = count
    return EventUsageView(
        since=_time(of.first),
        to=_time(of.end),
        resolution=of.resolution,
        series=series,
        totals=totals,
        latency=Latencies(by_outcome={outcome: _latency(each) for outcome, each in counts.items()}),
    )


def _latency(counts: list[int]) -> Latency:
    return Latency(counts=counts, p50=_quantile(counts, 50), p99=_quantile(counts, 99))


def _quantile(counts: list[int], percent: int) -> float | None:
    needed, seen = -(-sum(counts) * percent // 100), 0
    for bound, count in zip(LATENCY_BOUNDS, counts, strict=False):
        seen += count
        if seen >= needed:
            return float(bound)
    return None


def _minute(at: datetime) -> int:
    return (at - _EPOCH) // _MINUTE


def _ceil(at: datetime, step: int) -> int:
    """The first whole step that is not before the moment."""
    return -(-(at - _EPOCH) // (step * _MINUTE)) * step


def _time(minute: int) -> datetime:
    return _EPOCH + minute * _MINUTE
