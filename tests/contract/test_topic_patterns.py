"""Topics and patterns, against brute force."""

from itertools import permutations, product

import pytest
from hypothesis import given, settings, strategies

from keyfold.domain.topics import TOPIC_LENGTH, common, covers, is_pattern, is_topic, within

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


FEW = strategies.sampled_from(["a", "b"])
SHORT_PATTERNS = strategies.lists(FEW | strategies.just("*"), min_size=0, max_size=2).flatmap(
    lambda head: strategies.sampled_from(["a", "b", "*", "**"]).map(lambda last: "/".join([*head, last]))
)
ALL_SHORT_TOPICS = ["/".join(segments) for n in range(1, 6) for segments in product("abc", repeat=n)]
"""Of `a` and `b`, which patterns name, and `c`, which stands for all that they don't; longer than any ceiling below."""


@settings(max_examples=300)
@given(SHORT_PATTERNS, strategies.lists(SHORT_PATTERNS, max_size=4).map(tuple))
def test_within_says_what_trying_every_topic_says(pattern: str, ceilings: tuple[str, ...]) -> None:
    covered = (topic for topic in ALL_SHORT_TOPICS if covers(pattern, topic))
    assert within(pattern, ceilings) is all(any(covers(each, topic) for each in ceilings) for topic in covered)


@pytest.mark.parametrize(
    ("pattern", "ceilings", "expected"),
    [
        ("app/*/created", ("app/**",), True),
        ("app/**", ("app/*",), False),
        ("app/**", ("app/*", "app/*/**"), True),
        ("app/*", ("app/a", "app/b"), False),
        ("**", ("*", "*/**"), True),
        ("**", ("*/**",), False),
        ("a", (), False),
    ],
)
def test_ceilings_count_together(pattern: str, ceilings: tuple[str, ...], expected: bool) -> None:
    assert within(pattern, ceilings) is expected


def test_the_longest_patterns_are_compared_at_once() -> None:
    long = "/".join("a" * 99)
    assert within(f"{long}/**", ("**",))
    assert not within("**", (long, f"{long}/**"))


SEVERAL_PATTERNS = strategies.lists(SHORT_PATTERNS, max_size=4).map(tuple)


@settings(max_examples=300)
@given(SEVERAL_PATTERNS, SEVERAL_PATTERNS)
def test_common_covers_exactly_what_both_cover(ones: tuple[str, ...], others: tuple[str, ...]) -> None:
    shared = common(ones, others)
    for topic in ALL_SHORT_TOPICS:
        by_both = all(any(covers(each, topic) for each in patterns) for patterns in (ones, others))
        assert any(covers(each, topic) for each in shared) is by_both


@settings(max_examples=300)
@given(SEVERAL_PATTERNS, SEVERAL_PATTERNS)
def test_no_common_pattern_is_malformed_or_lies_within_another(ones: tuple[str, ...], others: tuple[str, ...]) -> None:
    shared = common(ones, others)
    assert all(map(is_pattern, shared))
    assert [(one, other) for one, other in permutations(shared, 2) if within(one, (other,))] == []


@pytest.mark.parametrize(
    ("ones", "others", "expected"),
    [
        (("app/**",), ("app/order/*",), ("app/order/*",)),
        (("app/*/created",), ("app/order/*",), ("app/order/created",)),
        (("app/**",), ("*/*",), ("app/*",)),
        (("*/b/**",), ("a/**",), ("a/b/**",)),
        (("a/**",), ("*/*/*/**",), ("a/*/*/**",)),
        (("a/**",), ("a",), ()),
        (("a/*",), ("a/*/*",), ()),
        (("b/*", "a/*"), ("*/x", "*/y"), ("b/x", "b/y", "a/x", "a/y")),
        (("a/b", "a/*"), ("**", "a/*"), ("a/*",)),
        (("**",), ("a", "**", "a"), ("**",)),
        (("**",), (), ()),
    ],
)
def test_what_patterns_have_in_common(
    ones: tuple[str, ...], others: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert common(ones, others) == expected


def test_the_largest_rules_have_their_common_patterns_at_once() -> None:
    ones, others = (tuple(text.format(n) for n in range(100)) for text in ("a{}/*/*/**", "*/b{}/*/**"))
    assert len(common(ones, others)) == 100 * 100
