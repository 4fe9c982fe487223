"""Rates: so many requests in a window, counted by the generic cell rate algorithm (GCRA, ITU-T I.371)."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from keyfold.domain.limits import Fault

REQUESTS = range(1, 1_000_000 + 1)
SECONDS = range(1, 86_400 + 1)


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """So many `requests` in a window of so many `seconds`."""

    requests: int
    seconds: int

    @property
    def interval(self) -> float:
        """The seconds in which one request of the quota comes back: the pace that can be kept for ever."""
        return self.seconds / self.requests


class Standing(NamedTuple):
    """How somebody stands to a rate. All of it holds for as long as nobody takes more.

    `remaining` requests are allowed at once. `reset_after` is in how many seconds the whole quota is there again,
    `retry_after` in how many one request is, 0 when this one was allowed.
    """

    allowed: bool
    remaining: int
    reset_after: float
    retry_after: float


def rate_faults(pointer: str, rate: Rate) -> Iterator[Fault]:
    """What is wrong with a rate that somebody wrote down."""
    for name, value, bounds in (("requests", rate.requests, REQUESTS), ("seconds", rate.seconds, SECONDS)):
        if value not in bounds:
            yield f"{pointer}/{name}", f"This must be from {bounds[0]} to {bounds[-1]}."


def take(rate: Rate, tat: float, now: float) -> tuple[float, Standing]:
    """One request at `now`, in seconds of any clock that never goes back; gives the new `tat` and the standing.

    `tat`, the theoretical arrival time, is all the state there is: when the whole quota is there again. Whatever lies
    before `now` (0.0 for somebody new) means that it is.

    Allowed is the whole quota at once, and one more each interval. So in any span of x seconds, both ends included,
    there are `requests + x / interval` at the most: less than twice the quota in a window, and the quota on average.
    What is refused costs nothing. A request may be early by a hundredth of the interval, by a millisecond at the most.
    """
    interval = rate.interval
    slack = _slack(interval)
    # nobody owes more than one window, not even after the rate was changed
    owed = min(max(tat - now, 0.0), rate.seconds + slack)
    retry_after = owed + interval - rate.seconds
    if retry_after > slack:
        return now + owed, Standing(False, 0, min(owed, rate.seconds), retry_after)
    owed += interval
    remaining = max(int((rate.seconds + slack - owed) / interval), 0)
    return now + owed, Standing(True, remaining, min(owed, rate.seconds), 0.0)


def delay(rate: Rate, tat: float, now: float, ahead: int = 0) -> float:
    """Seconds from `now` until one more is allowed, should `ahead` others be taken first; 0 when it is by now."""
    interval = rate.interval
    seconds = max(tat - now, 0.0) + (ahead + 1) * interval - rate.seconds
    return seconds if seconds > _slack(interval) else 0.0


def _slack(interval: float) -> float:
    """How much too early is still in time: floats are rounded, and the last of a quota must not be lost to that."""
    return min(interval / 100, 0.001)
