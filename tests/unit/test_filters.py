"""Filters on the content of events, and which of them are refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.filters import (
    CHOICES,
    FILTERS,
    PROPERTY_NAME_LENGTH,
    Filter,
    Operator,
    all_hold,
    filter_faults,
    holds,
)
from keyfold.domain.limits import METADATA_BYTES

OPERATORS: tuple[Operator, ...] = ("eq", "ne", "lt", "lte", "gt", "gte", "exists", "in", "contains")
AT = "/options/receive/filters"
EVENT: dict[str, Any] = {
    "customer": {"id": "c_1", "vip": True, "address": {"city": "Oslo"}},
    "total": 10,
    "rate": 1.0,
    "none": None,
    "tags": ["new", 1, {"a": 1}],
    "at": "2026-03-01T12:00:00Z",
    "dotted.name": 1,
}


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("customer.id", "eq", "c_1", True),
        ("customer.id", "eq", "c_2", False),
        ("customer.id", "ne", "c_2", True),
        ("customer.id", "ne", "c_1", False),
        ("customer.address", "eq", {"city": "Oslo"}, True),
        ("customer.vip", "eq", 1, False),
        ("customer.vip", "ne", 1, True),
        ("rate", "eq", 1, True),
        ("rate", "eq", True, False),
        ("none", "eq", None, True),
        ("none", "exists", True, True),
        ("none", "exists", False, False),
        ("total", "lt", 10, False),
        ("total", "lt", 10.5, True),
        ("total", "lte", 10, True),
        ("total", "lte", 9, False),
        ("total", "gt", 10, False),
        ("total", "gt", 9.5, True),
        ("total", "gte", 10, True),
        ("total", "gte", 11, False),
        ("total", "gt", "1", False),
        ("total", "lt", "1", False),
        ("customer.vip", "gt", 0, False),
        ("customer.vip", "lte", 1, False),
        ("none", "lt", 1, False),
        ("tags", "gt", "a", False),
        ("at", "lt", "2026-03-01T12:00:01Z", True),
        ("at", "gte", "2026-03-02", False),
        ("customer.id", "in", ["c_0", "c_1"], True),
        ("customer.id", "in", ["c_0"], False),
        ("customer.vip", "in", [1], False),
        ("none", "in", [None], True),
        ("customer.id", "contains", "_", True),
        ("customer.id", "contains", "x", False),
        ("total", "contains", "1", False),
        ("customer.id", "contains", 1, False),
        ("tags", "contains", "new", True),
        ("tags", "contains", "ne", False),
        ("tags", "contains", {"a": 1}, True),
        ("tags", "contains", True, False),
        ("customer", "contains", "id", False),
    ],
)
def test_a_filter_compares_as_json_does(name: str, operator: Operator, value: Any, expected: bool) -> None:
    assert holds(Filter(name, operator, value), EVENT) is expected


@pytest.mark.parametrize("name", ["nothing", "customer.nothing", "customer.id.length", "total.a", "none.a", "tags.0"])
@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("exists", False, True),
        ("exists", True, False),
        ("ne", None, True),
        ("ne", "x", True),
        ("eq", None, False),
        ("in", [None], False),
        ("contains", "", False),
        ("lt", 1, False),
        ("lte", "x", False),
        ("gt", 1, False),
        ("gte", "", False),
    ],
)
def test_what_is_missing_only_differs(name: str, operator: Operator, value: Any, expected: bool) -> None:
    assert holds(Filter(name, operator, value), EVENT) is expected


def test_a_dot_always_descends() -> None:
    assert not holds(Filter("dotted.name", "exists", True), EVENT)
    assert holds(Filter("customer.address.city", "eq", "Oslo"), EVENT)


def test_all_filters_must_hold() -> None:
    one, other = Filter("customer.id", "eq", "c_1"), Filter("total", "gt", 10)
    assert all_hold((), EVENT)
    assert all_hold((one,), EVENT)
    assert not all_hold((one, other), EVENT)
    assert not all_hold((other, one), EVENT)


SCALARS = strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text()
VALUES = strategies.recursive(
    SCALARS,
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.sampled_from("abc"), inner, max_size=3)
    ),
)
FILTERS_AT_ALL = strategies.builds(
    Filter, strategies.sampled_from(["a", "a.b", "a.b.c", "0"]), strategies.sampled_from(OPERATORS), VALUES
)


@given(FILTERS_AT_ALL, strategies.dictionaries(strategies.sampled_from("abc"), VALUES, max_size=3))
def test_a_sound_filter_answers_whatever_the_event_has(condition: Filter, event: dict[str, Any]) -> None:
    if not [*filter_faults(AT, (condition,))]:
        assert holds(condition, event) in (True, False)


@given(strategies.sampled_from(["a", "a.b"]), VALUES, strategies.dictionaries(strategies.just("a"), VALUES))
def test_operators_agree_with_each_other(name: str, value: Any, event: dict[str, Any]) -> None:
    def is_so(operator: Operator, value: Any = value) -> bool:
        return holds(Filter(name, operator, value), event)

    assert is_so("ne") is not is_so("eq")
    assert is_so("in", [value]) is is_so("eq")
    assert is_so("exists", value=True) is not is_so("exists", value=False)
    assert is_so("exists", value=True) or not any(is_so(each) for each in ("eq", "contains", "lt", "lte", "gt", "gte"))
    assert not (is_so("lt") and is_so("gte"))
    if is_so("lte") and is_so("gte"):
        assert is_so("eq")


def test_a_deeply_nested_event_is_compared_too() -> None:
    nested: Any = {}
    for _ in range(100_000):
        nested = {"a": nested}
    assert not holds(Filter("a", "eq", {"a": {"a": {}}}), nested)
    assert holds(Filter("a", "ne", []), nested)


def test_a_filter_has_one_form_as_json() -> None:
    text = b'{"propertyName":"customer.id","operator":"eq","propertyValue":"c_1"}'
    assert msgspec.json.decode(text, type=Filter) == Filter("customer.id", "eq", "c_1")
    assert msgspec.json.encode(Filter("customer.id", "eq", "c_1")) == text
    for wrong in (text.replace(b'"eq"', b'"like"'), text.replace(b"}", b',"not":true}'), b'{"propertyName":"a"}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Filter)


def test_filters_are_the_same_only_when_they_select_the_same() -> None:
    ceiling = (Filter("paid", "eq", 1), Filter("status", "in", ["a", 1]))
    assert Filter("paid", "eq", 1.0) in ceiling
    assert Filter("paid", "eq", True) not in ceiling
    assert Filter("status", "in", ["a", True]) not in ceiling
    assert Filter("paid", "ne", 1) not in ceiling
    assert Filter("pay", "eq", 1) not in ceiling
    assert len({*ceiling, *ceiling, Filter("paid", "eq", 1.0), Filter("paid", "eq", True)}) == 3


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else "x"


@pytest.mark.parametrize(
    ("sound", "value"),
    [
        (Filter("a.b", "eq", None), nested(7)),
        (Filter("a", "ne", {"a": [1, 2.5, True]}), 2**64),
        (Filter("a", "eq", "x"), "a\0b"),
        (Filter("a", "eq", -(2**63)), {"a": {"b\0": 1}}),
        (Filter("a", "contains", 1), "x" * METADATA_BYTES),
        (Filter("a", "lt", 1), True),
        (Filter("a", "lte", 1.5), None),
        (Filter("a", "gt", "2026-01-01"), ["x"]),
        (Filter("a", "gte", 2**64 - 1), {}),
        (Filter("a", "exists", False), 0),
        (Filter("a", "exists", True), "true"),
        (Filter("a", "in", [1]), []),
        (Filter("a", "in", [*range(CHOICES)]), [*range(CHOICES + 1)]),
        (Filter("a", "in", [[1]]), "abc"),
        (Filter("a", "in", [None]), {"a": 1}),
    ],
)
def test_a_value_must_suit_its_operator(sound: Filter, value: Any) -> None:
    unsound = msgspec.structs.replace(sound, property_value=value)
    assert [*filter_faults(AT, (sound,))] == []
    pointers = [pointer for pointer, _ in filter_faults(AT, (sound, unsound))]
    assert pointers
    assert all(each.startswith(f"{AT}/1/propertyValue") or each == AT for each in pointers)


def test_a_fault_points_at_the_value_within() -> None:
    assert [*filter_faults(AT, (Filter("a", "in", [1, {"b/c": 2**64}]),))] == [
        (f"{AT}/0/propertyValue/1/b~1c", "This number doesn't fit into 64 bits. Send it as a string.")
    ]


def test_values_are_limited_together() -> None:
    half = Filter("a", "eq", "x" * (METADATA_BYTES // 2))
    assert [*filter_faults(AT, (half,))] == []
    assert [pointer for pointer, _ in filter_faults(AT, (half, half))] == [AT]


def test_values_nest_as_deep_as_metadata_does() -> None:
    assert [*filter_faults(AT, (Filter("a", "eq", nested(6)),))] == []
    assert [pointer for pointer, _ in filter_faults(AT, (Filter("a", "eq", nested(7)),))] == [
        f"{AT}/0/propertyValue" + "/0" * 6
    ]


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a\0", "a\nb", "x" * (PROPERTY_NAME_LENGTH + 1)])
def test_a_property_name_is_a_path_of_names(name: str) -> None:
    faults = [*filter_faults(AT, (Filter("a", "eq", 1), Filter(name, "eq", 1)))]
    assert [pointer for pointer, _ in faults] == [f"{AT}/1/propertyName"]


def test_a_property_name_may_have_any_other_character() -> None:
    for name in ("a-b.c d", "é.ü", "$x", "x" * PROPERTY_NAME_LENGTH):
        assert [*filter_faults(AT, (Filter(name, "eq", 1),))] == []


def test_there_are_so_many_filters_at_the_most() -> None:
    one = Filter("a", "eq", 1)
    assert [*filter_faults(AT, (one,) * FILTERS)] == []
    assert [*filter_faults(AT, (one,) * (FILTERS + 1))] == [(AT, f"Give {FILTERS} filters at the most.")]
