"""What a key may receive: nothing beyond its own rule, the keys above it, and its integration's offer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.filters import Filter
from keyfold.domain.judgement import Subject
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import Key
from keyfold.domain.policy import Offer
from keyfold.domain.reach import Reach, beyond, coarse, reach, reach_of, receive_of
from keyfold.domain.rule import Action, History, Options, Receive, Rule
from keyfold.domain.topics import covers

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINE = Filter("customer.id", "eq", "c_1")
OPEN = Filter("state", "ne", "closed")


def key(receive: Receive | None, *, permitted: tuple[Action, ...] = ("receive",), of: str = "key_1") -> Key:
    rule = None if receive is None else Rule(permitted, Options(receive=receive))
    return Key(
        id=of,
        workspace_id="ws_1",
        kind="service",
        document=Document(name="x", rule=rule),
        integration_id="int_1",
        partner_id="prt_1",
        environment="prod",
        issued_at=NOON,
    )


def subject(*levels: Receive, offer: Receive | None = None) -> Subject:
    """The key, and the keys above it, under an offer of everything unless said otherwise."""
    return Subject(
        key(levels[0]), tuple(key(each) for each in levels[1:]), Offer(options=Options(receive=offer or Receive()))
    )


def window(**of: Any) -> Receive:
    return Receive(history=History(**of))


def test_topics_are_those_that_every_level_has() -> None:
    found = reach(
        subject(Receive(topics=("a/**", "b/x")), Receive(topics=("a/*", "b/*")), offer=Receive(topics=("*/x",)))
    )
    assert found.patterns == ("a/x", "b/x")


def test_filters_of_every_level_count_and_each_once() -> None:
    found = reach(subject(Receive(filters=(MINE,)), Receive(filters=(MINE, OPEN)), offer=Receive(filters=(OPEN,))))
    assert found.filters == (MINE, OPEN)


def test_filters_that_python_would_take_for_one_another_both_count() -> None:
    one, true = Filter("n", "eq", 1), Filter("n", "eq", True)
    assert reach(subject(Receive(filters=(one,)), Receive(filters=(true,)))).filters == (one, true)


def test_the_window_is_the_narrowest_of_every_level() -> None:
    found = reach(
        subject(
            window(since=NOON, seconds=60),
            window(since=NOON + HOUR, until=NOON + 3 * HOUR),
            offer=window(until=NOON + 2 * HOUR, seconds=30),
        )
    )
    assert (found.since, found.until, found.seconds) == (NOON + HOUR, NOON + 2 * HOUR, 30)


@pytest.mark.parametrize(
    "blocked",
    [
        Subject(key(Receive()), (), None),
        Subject(key(None), (), Offer()),
        Subject(key(Receive(), permitted=("send",)), (), Offer()),
        Subject(key(Receive()), (key(Receive(), permitted=("send",)),), Offer()),
        Subject(key(Receive()), (key(None),), Offer()),
        Subject(key(Receive()), (), Offer(permitted=("send",))),
    ],
)
def test_who_may_not_receive_at_one_level_reaches_nothing(blocked: Subject) -> None:
    found = reach(blocked)
    assert found.patterns == ()
    assert not found.takes("a", NOON, {"data": {}}, NOON)
    assert found.why_not_native is not None
    assert found.why_not_native.code == "no-topics"


@pytest.mark.parametrize(
    ("narrowed", "code"),
    [
        (Receive(), None),
        (window(since=NOON), None),
        (Receive(filters=(MINE,)), "content-filters"),
        (window(until=NOON), "history-window"),
        (window(seconds=5), "history-window"),
        (Receive(topics=("a/*", "*/b")), None),
    ],
)
def test_nats_keeps_to_topics_and_a_beginning_and_to_nothing_else(narrowed: Receive, code: str | None) -> None:
    for found in (reach(subject(narrowed)), reach(subject(Receive(), offer=narrowed))):
        why = found.why_not_native
        assert (why and why.code, found.native) == (code, code is None)
        assert why is None or why.detail.endswith(".")


def test_more_patterns_than_a_consumer_takes_arent_native_and_their_superset_covers_them() -> None:
    many = tuple(f"a/{n}/*" for n in range(60)) + tuple(f"b/{n}" for n in range(60))
    found = reach(subject(Receive(topics=many)))
    assert found.why_not_native is not None
    assert found.why_not_native.code == "too-many-topics"
    assert coarse(found.patterns) == ("a", "a/**", "b", "b/**")
    assert coarse(("*/x", *many)) == ("**",)
    assert coarse(tuple(f"t{n}/x" for n in range(101))) == ("**",)


def test_an_event_outside_the_window_isnt_taken_to_the_instant() -> None:
    this = Reach(patterns=("**",), since=NOON, until=NOON + HOUR, seconds=600)
    later, instant = NOON + timedelta(minutes=5), timedelta(microseconds=1)
    assert this.takes("a", NOON, {}, later)
    assert not this.takes("a", NOON - instant, {}, later)
    assert not this.takes("a", NOON + HOUR, {}, NOON + HOUR)
    assert this.takes("a", NOON + HOUR - instant, {}, NOON + HOUR)
    assert not this.takes("a", NOON, {}, NOON + timedelta(seconds=600) + instant)


@pytest.mark.parametrize(
    ("event", "taken"),
    [
        ({"data": {"customer": {"id": "c_1"}}}, True),
        ({"data": {"customer": {"id": "c_2"}}}, False),
        ({"customer": {"id": "c_1"}}, False),
        ({"data": "c_1"}, False),
        ({"data_base64": "e30="}, False),
        ("no object", False),
    ],
)
def test_filters_look_into_the_data(event: Any, taken: bool) -> None:
    assert Reach(patterns=("**",), filters=(MINE,)).takes("a", NOON, event, NOON) is taken


def test_a_filter_that_holds_for_what_is_missing_holds_for_no_data_that_cant_have_it() -> None:
    this = Reach(patterns=("**",), filters=(OPEN,))
    assert this.takes("a", NOON, {"data": {}}, NOON)
    assert not this.takes("a", NOON, {"data": [{"state": "closed"}]}, NOON)


def test_a_reach_lies_within_the_subject_that_it_is_of() -> None:
    of = subject(Receive(topics=("a/*",), filters=(MINE,)), offer=window(since=NOON, seconds=60))
    assert beyond(receive_of(reach(of)), of) == []
    assert reach_of(receive_of(reach(of))) == reach(of)


def test_what_goes_beyond_any_level_is_named_once() -> None:
    of = subject(Receive(topics=("a/*",)), Receive(topics=("a/*", "b"), filters=(MINE,)), offer=window(since=NOON))
    faults = beyond(Receive(topics=("a/x", "b")), of)
    assert [pointer for pointer, _ in faults] == ["/topics/1", "/filters", "/history/since"]
    assert beyond(Receive(), Subject(key(None), (), Offer())) == [("/topics", "This key receives nothing.")]


SEGMENTS = strategies.sampled_from(["a", "b", "*"])
PATTERNS = strategies.builds(
    lambda head, rest: "/".join([*head, *rest]),
    strategies.lists(SEGMENTS, min_size=1, max_size=2),
    strategies.sampled_from([[], ["**"]]),
)
RULES = strategies.lists(PATTERNS, min_size=1, max_size=4).map(tuple)
TOPICS = strategies.lists(strategies.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(RULES, RULES, RULES, TOPICS)
def test_a_topic_is_reached_exactly_where_every_level_covers_it(
    own: tuple[str, ...], parent: tuple[str, ...], offered: tuple[str, ...], topic: str
) -> None:
    found = reach(subject(Receive(topics=own), Receive(topics=parent), offer=Receive(topics=offered)))
    everywhere = all(any(covers(each, topic) for each in level) for level in (own, parent, offered))
    assert found.takes(topic, NOON, {}, NOON) is everywhere
    assert any(covers(each, topic) for each in coarse(found.patterns)) >= everywhere


def test_a_reach_is_the_same_for_as_long_as_nothing_moves() -> None:
    of = subject(Receive(filters=(MINE,)))
    assert reach(of) == reach(msgspec.structs.replace(of))
