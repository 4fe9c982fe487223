"""Topics and patterns, rules, and roles."""

from itertools import product
from typing import get_args

import pytest
from hypothesis import given, strategies

from keyfold.domain.permissions import (
    INTEGRATION_KEY,
    ROLES,
    TOPIC_LENGTH,
    Options,
    Permission,
    Rule,
    Topics,
    covers,
    is_pattern,
    is_topic,
)

SEGMENTS = strategies.sampled_from(["a", "b", "ab", "A", "-", "_"])
TOPICS = strategies.lists(SEGMENTS, min_size=1, max_size=5).map("/".join)
PATTERNS = strategies.tuples(
    strategies.lists(SEGMENTS | strategies.just("*"), min_size=1, max_size=4), strategies.booleans()
).map(lambda parts: "/".join(parts[0] + ["**"] * parts[1]))


def by_brute_force(pattern: str, topic: str) -> bool:
    """Writes out every pattern without wildcards that this one stands for, as far as the topic's segments go."""
    segments = topic.split("/")
    wanted = pattern.split("/")
    rests = [[]] if wanted[-1] != "**" else [list(rest) for n in range(1, 6) for rest in product(segments, repeat=n)]
    plain = wanted[:-1] if wanted[-1] == "**" else wanted
    choices = [set(segments) if each == "*" else {each} for each in plain]
    return any([*chosen, *rest] == segments for chosen in product(*choices) for rest in rests)


@given(PATTERNS | strategies.just("**"), TOPICS)
def test_a_pattern_covers_what_a_brute_force_matcher_says(pattern: str, topic: str) -> None:
    assert covers(pattern, topic) is by_brute_force(pattern, topic)


@given(TOPICS)
def test_a_topic_covers_itself_and_two_stars_cover_everything(topic: str) -> None:
    assert covers(topic, topic)
    assert covers("**", topic)


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("app/*", ["app/a"], ["app", "app/a/b", "apps/a", "App/a"]),
        ("app/**", ["app/a", "app/a/b/c"], ["app", "apps/a"]),
        ("*/created", ["order/created"], ["created", "a/b/created"]),
        ("*", ["app"], ["app/a"]),
        ("*/**", ["a/b", "a/b/c"], ["a"]),
    ],
)
def test_a_star_is_one_segment_and_two_are_the_rest(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    assert [topic for topic in covered + not_covered if covers(pattern, topic)] == covered


@given(TOPICS)
def test_every_topic_is_a_pattern_too(topic: str) -> None:
    assert is_topic(topic)
    assert is_pattern(topic)


@given(PATTERNS)
def test_a_pattern_with_a_star_is_no_topic(pattern: str) -> None:
    assert is_pattern(pattern)
    assert is_topic(pattern) is ("*" not in pattern)


NEITHER = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "a b",
    "a.b",
    "é",
    "a\n",
    "a/\0",
    "a>",
    "$SYS/a",
    "a/b*",
    "***",
    "a/**/b",
    "**/a",
]


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_malformed_is_neither_topic_nor_pattern(text: str) -> None:
    assert (is_topic(text), is_pattern(text)) == (False, False)


def test_topics_and_patterns_have_200_characters_at_the_most() -> None:
    assert is_topic("a" * TOPIC_LENGTH)
    assert is_pattern("a" * TOPIC_LENGTH)
    assert not is_topic("a" * (TOPIC_LENGTH + 1))
    assert not is_pattern("a" * (TOPIC_LENGTH + 1))


def test_a_rule_refuses_other_actions_and_other_topics() -> None:
    rule = Rule(("send",), Options(send=Topics(("app/order/*", "app/refund/**")), receive=Topics(("**",))))
    assert rule.refuses("send", None) is None
    assert rule.refuses("send", "app/order/created") is None
    assert rule.refuses("send", "app/refund/a/b") is None
    assert rule.refuses("send", "app/order") == "topic-not-permitted"
    assert rule.refuses("receive", "app/order/created") == "action-not-permitted"


def test_each_action_has_topics_of_its_own() -> None:
    rule = Rule(options=Options(send=Topics(("out/**",)), receive=Topics(("in/**",))))
    assert [rule.refuses("send", "out/a"), rule.refuses("receive", "in/a")] == [None, None]
    assert {rule.refuses("send", "in/a"), rule.refuses("receive", "out/a")} == {"topic-not-permitted"}


def test_an_owner_has_every_permission_and_the_other_roles_no_more() -> None:
    every = set(get_args(Permission))
    assert ROLES["owner"] == every
    assert [role for role, has in ROLES.items() if not has <= every] == []


def test_roles_differ_by_what_they_are_for() -> None:
    changing = {"integrations:create", "links:withdraw", "partners:invite", "partners:offboard"}
    assert not ROLES["key-manager"] & changing
    assert not (ROLES["auditor"] | ROLES["viewer"]) & (changing | {"keys:issue", "keys:revoke"})
    assert ROLES["auditor"] - ROLES["viewer"] == {"audit:read"}
    assert not INTEGRATION_KEY & {"keys:read", "keys:issue", "keys:revoke", "audit:read", "partners:offboard"}
