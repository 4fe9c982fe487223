"""Ceilings: whatever is let through lies within, against brute force; whatever goes beyond is named."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings, strategies

from keyfold.domain.ceilings import ExceedsCeiling, demand_sound, excesses, rule_faults
from keyfold.domain.filters import Filter, all_hold
from keyfold.domain.merging import autofill, equal
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import (
    ACTIONS,
    Action,
    Asked,
    CachedQueries,
    Dataset,
    Datasets,
    History,
    Options,
    Queries,
    Receive,
    Rule,
    SavedQueries,
    Send,
)

JANUARY, JUNE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
MINE, OPEN = Filter("customer.id", "eq", "c_1"), Filter("state", "in", ["open"])
CEILING = Rule(("send",), Options(send=Send(("app/order/*", "app/stock/**")), receive=Receive(("app/**",))))
WIDE = Rule(ACTIONS)


def of(**sections: Any) -> Rule:
    return Rule(ACTIONS, Options(**sections))


def narrowed(ceiling: Rule, permitted: tuple[Action, ...] | None, asked: Asked) -> Rule:
    rule = ceiling.with_asked(permitted, asked)
    demand_sound(rule)
    if excess := [*excesses(rule, ceiling)]:
        raise ExceedsCeiling("More.", *excess)
    return rule


def test_what_isnt_asked_for_is_as_the_ceiling_has_it() -> None:
    assert narrowed(CEILING, None, {}) == CEILING


def test_less_than_the_ceiling_is_given_as_asked() -> None:
    rule = narrowed(CEILING, ("send", "send"), {"send": {"topics": ("app/order/created",), "autofill": {"a": 1}}})
    assert rule == Rule(("send",), Options(send=Send(("app/order/created",), {"a": 1}), receive=Receive(("app/**",))))


def test_each_excess_is_named_and_what_a_key_may_not_do_anyway_isnt_judged() -> None:
    asked: Asked = {"send": {"topics": ("app/order/created", "app/order/**")}, "receive": {"topics": ("**",)}}
    with pytest.raises(ExceedsCeiling) as refusal:
        narrowed(CEILING, ("receive", "send"), asked)
    assert [pointer for pointer, _ in refusal.value.fields] == ["/permitted", "/options/send/topics/1"]
    assert narrowed(CEILING, (), asked).permitted == ()


def test_what_is_no_pattern_is_invalid_and_not_too_much() -> None:
    with pytest.raises(Invalid) as refusal:
        narrowed(CEILING, None, {"send": {"topics": ("app//x", "**")}})
    assert [pointer for pointer, _ in refusal.value.fields] == ["/options/send/topics/0"]


@pytest.mark.parametrize(
    ("ceiling", "within", "beyond", "pointer"),
    [
        (Send(autofill={"c": {"id": 1}}), Send(autofill={"c": {"id": 1, "n": 2}, "x": 3}), Send(), "send/autofill"),
        (Send(autofill={"n": 1}), Send(autofill={"n": 1.0}), Send(autofill={"n": True}), "send/autofill"),
        (Send(("a/*", "b/**")), Send(("b/c/*", "a/x")), Send(("a/x", "a/**")), "send/topics/1"),
        (Receive(("a/*",)), Receive(("a/b",)), Receive(), "receive/topics/0"),
        (Receive(filters=(MINE,)), Receive(filters=(OPEN, MINE)), Receive(filters=(OPEN,)), "receive/filters"),
        (
            Receive(filters=(Filter("n", "eq", 1),)),
            Receive(filters=(Filter("n", "eq", 1),)),
            Receive(filters=(Filter("n", "eq", True),)),
            "receive/filters",
        ),
        (Queries((MINE,)), Queries((MINE, OPEN)), Queries(), "queries/filters"),
        (SavedQueries(filters=(MINE,)), SavedQueries(filters=(MINE,)), SavedQueries(), "savedQueries/filters"),
        (SavedQueries(("a", "b")), SavedQueries(("b",)), SavedQueries(("b", "c")), "savedQueries/allowed"),
        (SavedQueries(("a",)), SavedQueries(()), SavedQueries(), "savedQueries/allowed"),
        (SavedQueries(blocked=("a",)), SavedQueries(blocked=("b", "a")), SavedQueries(), "savedQueries/blocked"),
        (CachedQueries(("a",)), CachedQueries(("a",)), CachedQueries(), "cachedQueries/allowed"),
        (CachedQueries(), CachedQueries(("a",)), None, ""),
        (CachedQueries(blocked=("a",)), CachedQueries(blocked=("a",)), CachedQueries(), "cachedQueries/blocked"),
        (Datasets(("read",)), Datasets(()), Datasets(("list", "read")), "datasets/operations"),
        (Datasets(blocked=("a",)), Datasets(blocked=("a",)), Datasets(), "datasets/blocked"),
        (Datasets(allowed={"a": Dataset()}), Datasets(allowed={}), Datasets(), "datasets/allowed"),
        (
            Datasets(allowed={"a": Dataset({"id": ("1", "2")})}),
            Datasets(allowed={"a": Dataset({"id": ("2",), "more": ("x",)})}),
            Datasets(allowed={"a": Dataset({"id": ("2", "3")})}),
            "datasets/allowed/a/indexBy/id",
        ),
        (
            Datasets(allowed={"a": Dataset({"id": ("",)})}),
            Datasets(allowed={"a": Dataset({"id": ("",)})}),
            Datasets(allowed={"a": Dataset()}),
            "datasets/allowed/a/indexBy/id",
        ),
        (History(since=JANUARY), History(since=JUNE), History(since=JANUARY - MOMENT), "receive/history/since"),
        (History(since=JANUARY), History(since=JANUARY), History(), "receive/history/since"),
        (History(until=JUNE), History(until=JANUARY), History(until=JUNE + MOMENT), "receive/history/until"),
        (History(until=JUNE), History(until=JUNE), History(), "receive/history/until"),
        (History(seconds=60), History(seconds=60), History(seconds=61), "receive/history/seconds"),
        (History(seconds=60), History(seconds=1), History(), "receive/history/seconds"),
    ],
)
def test_each_section_is_held_to_its_ceiling(ceiling: Any, within: Any, beyond: Any, pointer: str) -> None:
    def rule(section: Any) -> Rule:
        if isinstance(section, History):
            return of(receive=Receive(history=section))
        return of(**{next(name for name, kind in get_type_hints(Options).items() if type(section) is kind): section})

    assert [*excesses(rule(within), rule(ceiling))] == []
    assert [*excesses(rule(ceiling), rule(ceiling))] == []
    assert [*excesses(rule(ceiling), WIDE)] == []
    if beyond is not None:
        assert [at for at, _ in excesses(rule(beyond), rule(ceiling))] == [f"/options/{pointer}"]


@pytest.mark.parametrize(
    ("rule", "pointers"),
    [
        (WIDE, []),
        (of(send=Send(("a",) * 100)), []),
        (of(send=Send(("a",) * 101), receive=Receive(())), ["/options/send/topics", "/options/receive/topics"]),
        (of(send=Send(autofill={"a": 2**64})), ["/options/send/autofill/a"]),
        (of(receive=Receive(filters=(Filter("a..b", "eq", 1),))), ["/options/receive/filters/0/propertyName"]),
        (of(queries=Queries((Filter("a", "exists", 1),))), ["/options/queries/filters/0/propertyValue"]),
        (
            of(saved_queries=SavedQueries(filters=(Filter("a", "in", []),))),
            ["/options/savedQueries/filters/0/propertyValue"],
        ),
        (
            of(saved_queries=SavedQueries(("a", "\0"), ("x" * 201,))),
            ["/options/savedQueries/allowed/1", "/options/savedQueries/blocked/0"],
        ),
        (of(cached_queries=CachedQueries(("a",) * 200, ("b",) * 201)), ["/options/cachedQueries/blocked"]),
        (of(cached_queries=CachedQueries(("a",) * 201)), ["/options/cachedQueries/allowed"]),
        (
            of(datasets=Datasets(allowed={"\0": Dataset()}, blocked=("\0",))),
            ["/options/datasets/allowed/0", "/options/datasets/blocked/0"],
        ),
        (of(receive=Receive(history=History(JANUARY, JUNE, 1))), []),
        (
            of(receive=Receive(history=History(datetime(2026, 1, 1), datetime(2026, 1, 1), 0))),  # noqa: DTZ001
            [f"/options/receive/history/{name}" for name in ("since", "until", "seconds")],
        ),
    ],
)
def test_what_cant_be_kept_is_named(rule: Rule, pointers: list[str]) -> None:
    assert [at for at, _ in rule_faults("", rule)] == pointers
    assert [at for at, _ in rule_faults("/environments/prod", rule)] == [f"/environments/prod{at}" for at in pointers]
    if pointers:
        with pytest.raises(Invalid):
            demand_sound(rule)


def test_moments_are_compared_as_moments_whatever_their_offset() -> None:
    west = timezone(-timedelta(hours=5))
    ceiling = of(receive=Receive(history=History(since=JANUARY, until=JUNE)))
    same = of(receive=Receive(history=History(JANUARY.astimezone(west), JUNE.astimezone(west))))
    assert [*excesses(same, ceiling)] == []


SEGMENTS = strategies.sampled_from(["a", "b"])
TOPICS = strategies.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
PATTERNS = strategies.sampled_from(["**", "a/**", "a/*", "*", "*/b", "a", "a/b", "a/b/**", "*/*", "*/**", "b/*/a"])
VALUES = strategies.sampled_from([0, 1, True, "x", None, {"b": 1}, {}])
FILTERS = strategies.builds(
    Filter, strategies.sampled_from(["a", "a.b"]), strategies.sampled_from(["eq", "ne"]), VALUES
)
SENDS = strategies.builds(
    Send,
    strategies.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    strategies.dictionaries(strategies.sampled_from("ab"), VALUES, max_size=2),
)
RECEIVES = strategies.builds(
    Receive,
    strategies.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    strategies.lists(FILTERS, max_size=2).map(tuple),
)
PERMITTED = strategies.lists(strategies.sampled_from(ACTIONS), max_size=4).map(tuple)
RULES = strategies.builds(Rule, PERMITTED, strategies.builds(Options, send=SENDS, receive=RECEIVES))
EVENTS = strategies.dictionaries(strategies.sampled_from("abc"), VALUES, max_size=3)


@settings(max_examples=400)
@given(RULES, RULES, TOPICS, EVENTS)
def test_what_is_let_through_may_nothing_that_the_ceiling_refuses(
    ceiling: Rule, wanted: Rule, topic: str, event: dict[str, Any]
) -> None:
    mixed = msgspec.structs.replace(wanted.options.send, autofill=ceiling.options.send.autofill)
    filtered = msgspec.structs.replace(wanted.options.receive, filters=ceiling.options.receive.filters)
    for options in (wanted.options, Options(send=mixed, receive=filtered)):
        asked = {
            name: {field: getattr(section, field) for field in section.__struct_fields__}
            for name, section in (("send", options.send), ("receive", options.receive))
        }
        try:
            rule = narrowed(ceiling, wanted.permitted, asked)
        except ExceedsCeiling:
            continue
        for action in ACTIONS:
            assert rule.refuses(action, topic) is not None or ceiling.refuses(action, topic) is None
        if "send" in rule.permitted:
            sent = autofill(event, rule.options.send.autofill)
            assert equal(autofill(sent, ceiling.options.send.autofill), sent)
        if "receive" in rule.permitted and all_hold(rule.options.receive.filters, event):
            assert all_hold(ceiling.options.receive.filters, event)
