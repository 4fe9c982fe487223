"""The headers of rate limits: their exact text, and what a reader of structured fields makes of it."""

import re

from hypothesis import given, strategies

from keyfold.domain.rates import Rate, Standing, take
from keyfold.web.ratelimit import rate_headers

ITEM = re.compile(
    r'"(?P<name>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?P<parameters>(?:; *[a-z*][a-z0-9_.*-]*=\d{1,15})*)'
)

RATE = Rate(100, 60)
HALF = Standing(allowed=True, remaining=50, reset_after=30.0, retry_after=0.0)
NONE = Standing(allowed=False, remaining=0, reset_after=60.0, retry_after=0.6)


def parsed(field: str) -> dict[str, dict[str, int]]:
    """A list of strings with integer parameters, as RFC 9651 (4.2) reads it: all of it, or an error."""
    items: dict[str, dict[str, int]] = {}
    at = 0
    while True:
        item = ITEM.match(field, at)
        assert item, f"no item at {at} of {field}"
        pairs = [pair.strip().split("=") for pair in item["parameters"].split(";")[1:]]
        items[item["name"]] = {key: int(value) for key, value in pairs}
        at = item.end()
        if at == len(field):
            return items
        comma = re.compile(r"[ \t]*,[ \t]*").match(field, at)
        assert comma, f"no comma at {at} of {field}"
        at = comma.end()


def test_one_policy_is_told_with_what_remains_and_until_when() -> None:
    assert rate_headers({"key": (RATE, HALF)}) == {
        "RateLimit-Policy": '"key";q=100;w=60',
        "RateLimit": '"key";r=50;t=30',
    }


def test_several_policies_are_a_list() -> None:
    standing = Standing(allowed=True, remaining=9_999, reset_after=0.36, retry_after=0.0)
    assert rate_headers({"key": (RATE, HALF), "workspace": (Rate(10_000, 3600), standing)}) == {
        "RateLimit-Policy": '"key";q=100;w=60, "workspace";q=10000;w=3600',
        "RateLimit": '"key";r=50;t=30, "workspace";r=9999;t=1',
    }


def test_a_refusal_says_when_to_come_back_and_its_window_ends_no_later() -> None:
    assert rate_headers({"key": (RATE, NONE), "workspace": (RATE, HALF)}) == {
        "RateLimit-Policy": '"key";q=100;w=60, "workspace";q=100;w=60',
        "RateLimit": '"key";r=0;t=1, "workspace";r=50;t=30',
        "Retry-After": "1",
    }


def test_of_two_refusals_the_longer_counts() -> None:
    longer = Standing(allowed=False, remaining=0, reset_after=3600.0, retry_after=7.2)
    headers = rate_headers({"key": (RATE, NONE), "workspace": (Rate(500, 3600), longer)})
    assert (headers["RateLimit"], headers["Retry-After"]) == ('"key";r=0;t=1, "workspace";r=0;t=8', "8")


def test_what_floats_add_to_whole_seconds_is_not_rounded_up() -> None:
    assert rate_headers({"key": (RATE, HALF._replace(reset_after=30.000000001))})["RateLimit"] == '"key";r=50;t=30'
    assert rate_headers({"key": (RATE, HALF._replace(reset_after=30.01))})["RateLimit"] == '"key";r=50;t=31'


def test_without_policies_there_are_no_headers() -> None:
    assert rate_headers({}) == {}


@given(
    strategies.lists(
        strategies.tuples(strategies.integers(1, 1_000_000), strategies.integers(1, 86_400), strategies.integers(0, 3)),
        min_size=1,
        max_size=3,
    )
)
def test_the_headers_read_back_as_structured_fields(policies: list[tuple[int, int, int]]) -> None:
    standings = {}
    for n, (requests, seconds, before) in enumerate(policies):
        rate, tat = Rate(requests, seconds), 0.0
        for _ in range(before):
            tat, _ = take(rate, tat, 0.0)
        standings[f"policy-{n}"] = (rate, take(rate, tat, 0.0)[1])
    headers = rate_headers(standings)
    policy, limit = parsed(headers["RateLimit-Policy"]), parsed(headers["RateLimit"])
    assert policy == {name: {"q": rate.requests, "w": rate.seconds} for name, (rate, _) in standings.items()}
    assert list(limit) == list(standings)
    for name, (rate, standing) in standings.items():
        assert limit[name]["r"] == standing.remaining
        assert 1 <= limit[name]["t"] <= rate.seconds
    refused = [name for name, (_, standing) in standings.items() if not standing.allowed]
    assert ("Retry-After" in headers) is bool(refused)
    assert all(int(headers["Retry-After"]) >= max(limit[name]["t"], standings[name][1].retry_after) for name in refused)
