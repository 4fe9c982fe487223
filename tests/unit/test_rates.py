"""Rates, against a bucket of tokens that is counted in fractions."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.rates import Rate, Standing, delay, rate_faults, take

RATES = strategies.builds(Rate, strategies.integers(1, 20), strategies.integers(1, 60))
GAPS = strategies.lists(strategies.integers(0, 64) | strategies.integers(0, 64 * 60), min_size=1, max_size=80)
"""Between one request and the next, in 64ths of a second: floats hold them exactly."""
STARTS = strategies.sampled_from([0.0, 0.5, 86_400.25, 30_000_000.125])
"""Clocks of machines that were started just now, a day ago and a year ago."""


def times(start: float, gaps: list[int]) -> list[float]:
    return [start + sum(gaps[: n + 1]) / 64 for n in range(len(gaps))]


def taken(rate: Rate, at: list[float]) -> list[Standing]:
    tat, standings = 0.0, []
    for now in at:
        tat, standing = take(rate, tat, now)
        standings.append(standing)
    return standings


def after(rate: Rate, at: list[float]) -> float:
    tat = 0.0
    for now in at:
        tat, _ = take(rate, tat, now)
    return tat


def by_bucket(rate: Rate, at: list[float]) -> list[bool]:
    """A full bucket of tokens, refilled all the time: each request takes one, or is refused."""
    tokens, last, answers = Fraction(rate.requests), Fraction(at[0]), []
    for now in map(Fraction, at):
        tokens = min(tokens + (now - last) * rate.requests / rate.seconds, Fraction(rate.requests))
        last = now
        answers.append(tokens >= 1)
        tokens -= tokens >= 1
    return answers


@given(RATES, STARTS, GAPS)
def test_a_rate_allows_what_a_bucket_of_tokens_does(rate: Rate, start: float, gaps: list[int]) -> None:
    at = times(start, gaps)
    assert [standing.allowed for standing in taken(rate, at)] == by_bucket(rate, at)


@given(RATES, STARTS, GAPS)
def test_no_span_has_more_than_the_quota_and_what_came_back_in_it(rate: Rate, start: float, gaps: list[int]) -> None:
    at = times(start, gaps)
    allowed = [now for now, standing in zip(at, taken(rate, at), strict=True) if standing.allowed]
    for n, first in enumerate(allowed):
        for count, last in enumerate(allowed[n:], 1):
            assert count <= rate.requests + Fraction(last - first) * rate.requests / rate.seconds
            assert count < 2 * rate.requests or last - first >= rate.seconds


@given(RATES)
def test_a_window_can_have_one_less_than_twice_the_quota(rate: Rate) -> None:
    # the whole quota, and then one more each time that one comes back, short of the window's end
    at = [0.0] * rate.requests + [n * rate.interval for n in range(1, rate.requests)]
    assert all(standing.allowed for standing in taken(rate, at))
    assert not taken(rate, [*at, at[-1]])[-1].allowed


@pytest.mark.parametrize("rate", [Rate(1, 86_400), Rate(3, 1), Rate(100, 60), Rate(1000, 60), Rate(10_000, 3600)])
@pytest.mark.parametrize("start", [0.0, 86_400.1, 30_000_000.123])
def test_the_whole_quota_is_allowed_at_once_and_not_one_more(rate: Rate, start: float) -> None:
    standings = taken(rate, [start] * (rate.requests + 1))
    assert [standing.remaining for standing in standings] == [*reversed(range(rate.requests)), 0]
    assert [standing.allowed for standing in standings] == [True] * rate.requests + [False]


@given(RATES | strategies.just(Rate(1_000_000, 1)) | strategies.just(Rate(1, 86_400)), STARTS)
def test_who_keeps_the_pace_is_never_refused(rate: Rate, start: float) -> None:
    at = [start + n * rate.seconds / rate.requests for n in range(200)]
    assert all(standing.allowed for standing in taken(rate, at))


@given(RATES, STARTS, GAPS)
def test_as_many_as_remain_are_allowed_at_once_and_no_more(rate: Rate, start: float, gaps: list[int]) -> None:
    at = times(start, gaps)
    remaining = taken(rate, at)[-1].remaining
    more = taken(rate, at + [at[-1]] * (remaining + 1))[len(at) :]
    assert [standing.allowed for standing in more] == [True] * remaining + [False]


@given(RATES, STARTS, GAPS)
def test_who_waits_as_told_is_allowed_and_who_comes_earlier_is_not(rate: Rate, start: float, gaps: list[int]) -> None:
    at = times(start, gaps)
    at += [at[-1]] * (rate.requests + 1)
    tat, standing = after(rate, at), taken(rate, at)[-1]
    assert not standing.allowed
    assert 0 < standing.retry_after <= rate.interval * 1.01
    assert take(rate, tat, at[-1] + standing.retry_after)[1].allowed
    a_little_less = max(standing.retry_after - min(rate.interval / 50, 0.002), 0.0)
    assert not take(rate, tat, at[-1] + a_little_less)[1].allowed


@given(RATES, STARTS, GAPS)
def test_after_the_reset_the_whole_quota_is_there_and_not_earlier(rate: Rate, start: float, gaps: list[int]) -> None:
    at = times(start, gaps)
    standing = taken(rate, at)[-1]
    assert 0 < standing.reset_after <= rate.seconds
    reset = at[-1] + standing.reset_after
    assert take(rate, after(rate, at), reset)[1].remaining == rate.requests - 1
    early = take(rate, after(rate, at), reset - min(rate.interval / 50, 0.002))[1]
    assert (early.remaining, early.allowed) < (rate.requests - 1, True) or rate.requests == 1


@given(RATES, STARTS, GAPS, strategies.integers(0, 20))
def test_the_delay_behind_others_is_what_is_told_once_they_were_taken(
    rate: Rate, start: float, gaps: list[int], ahead: int
) -> None:
    at = times(start, gaps)
    told = delay(rate, after(rate, at), at[-1], ahead)
    ahead_of_it = [standing.allowed for standing in taken(rate, at + [at[-1]] * ahead)[len(at) :]]
    if all(ahead_of_it):
        assert told == pytest.approx(delay(rate, after(rate, at + [at[-1]] * ahead), at[-1]))
    else:
        assert told > rate.interval


def test_what_is_refused_costs_nothing() -> None:
    rate = Rate(2, 10)
    assert after(rate, [0.0] * 2) == after(rate, [0.0] * 50)


def test_a_narrower_rate_holds_at_once_and_what_was_owed_to_the_wider_is_one_window_at_the_most() -> None:
    tat = after(Rate(1, 86_400), [0.0])
    _, standing = take(Rate(10, 1), tat, 0.0)
    assert not standing.allowed
    assert standing.retry_after == pytest.approx(0.1, abs=0.002)


def test_json_has_requests_and_seconds() -> None:
    assert msgspec.json.encode(Rate(100, 60)) == b'{"requests":100,"seconds":60}'
    assert msgspec.json.decode(b'{"requests": 100, "seconds": 60}', type=Rate) == Rate(100, 60)


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(1_000_000, 86_400)])
def test_a_rate_within_bounds_has_no_faults(rate: Rate) -> None:
    assert list(rate_faults("/limits/rate", rate)) == []


@pytest.mark.parametrize(
    ("rate", "pointers"),
    [
        (Rate(0, 1), ["/rate/requests"]),
        (Rate(1_000_001, 1), ["/rate/requests"]),
        (Rate(1, 0), ["/rate/seconds"]),
        (Rate(1, 86_401), ["/rate/seconds"]),
        (Rate(-1, -1), ["/rate/requests", "/rate/seconds"]),
    ],
)
def test_each_fault_of_a_rate_is_pointed_at(rate: Rate, pointers: list[str]) -> None:
    assert [pointer for pointer, _ in rate_faults("/rate", rate)] == pointers
    assert all("from 1 to" in sentence for _, sentence in rate_faults("/rate", rate))
