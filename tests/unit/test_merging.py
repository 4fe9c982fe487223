"""Merging and comparing JSON values: RFC 7396 by its own examples, the rest by properties."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, strategies

from keyfold.domain.merging import autofill, equal, is_filled_by, merge_patch

NAMES = strategies.sampled_from(["a", "b", "c"])
SCALARS = strategies.sampled_from([None, True, False, 0, 1, 1.0, 2, "", "a", "1"])
VALUES = strategies.recursive(
    SCALARS, lambda inner: strategies.lists(inner, max_size=2) | strategies.dictionaries(NAMES, inner, max_size=3)
)
OBJECTS = strategies.dictionaries(NAMES, VALUES, max_size=3)
APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """What an object says, by path; an object counts as a leaf only when nothing is in it."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {at: leaf for name, each in value.items() for at, leaf in leaves(each, (*path, name)).items()}


def at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


@pytest.mark.parametrize(("target", "patch", "result"), APPENDIX_A)
def test_a_patch_does_what_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(VALUES, OBJECTS)
def test_a_patch_applied_twice_changes_nothing_more(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert equal(merge_patch(once, patch), once)


@given(OBJECTS, OBJECTS)
def test_null_removes_and_nothing_else_does(target: Any, patch: Any) -> None:
    merged = merge_patch(target, patch)
    assert merged.keys() == {*target, *patch} - {name for name, value in patch.items() if value is None}
    assert all(equal(merged[name], target[name]) for name in target.keys() - patch.keys())


@given(VALUES, VALUES, OBJECTS, OBJECTS)
def test_merging_changes_neither_argument(target: Any, patch: Any, event: Any, properties: Any) -> None:
    before = deepcopy((target, patch, event, properties))
    merge_patch(target, patch)
    autofill(event, properties)
    assert (target, patch, event, properties) == before


def test_autofill_merges_objects_and_replaces_the_rest() -> None:
    event = {
        "customer": {"id": "mine", "at": {"zip": "1", "city": "Oslo"}},
        "tags": ["a"],
        "note": {"by": "me"},
        "total": 1,
    }
    properties = {"customer": {"id": "c_1", "at": {"zip": "2"}}, "tags": ["b"], "note": None, "region": {"of": "eu"}}
    assert autofill(event, properties) == {
        "customer": {"id": "c_1", "at": {"zip": "2", "city": "Oslo"}},
        "tags": ["b"],
        "note": None,
        "total": 1,
        "region": {"of": "eu"},
    }


@given(OBJECTS, OBJECTS, OBJECTS)
def test_what_is_filled_in_last_stands_entirely(event: Any, below: Any, above: Any) -> None:
    filled = autofill(autofill(event, below), above)
    for path, leaf in leaves(above).items():
        found = at(filled, path)
        assert isinstance(found, dict) if leaf == {} else equal(found, leaf)


@given(OBJECTS, OBJECTS)
def test_what_the_properties_do_not_name_stays(event: Any, properties: Any) -> None:
    filled = autofill(event, properties)
    assert filled.keys() == {*event, *properties}
    assert all(equal(filled[name], event[name]) for name in event.keys() - properties.keys())


@given(OBJECTS, OBJECTS)
def test_what_was_filled_in_counts_as_filled(event: Any, properties: Any) -> None:
    assert is_filled_by(autofill(event, properties), properties)


@given(OBJECTS, OBJECTS, OBJECTS)
def test_whoever_fills_what_another_fills_leaves_it_nothing_to_do(event: Any, whole: Any, part: Any) -> None:
    whole_of_both = autofill(whole, part)
    filled = autofill(event, whole_of_both)
    assert equal(autofill(filled, part), filled)
    assert is_filled_by(whole, part) is equal(autofill(whole, part), whole)


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [False]}, {"a": [0]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, False),
        ({}, {"a": None}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": {"b": 1}}, {"a": {}}, True),
        ({"a": 1}, {"a": {}}, False),
        ({"a": {}}, {"a": 1}, False),
        ({"a": 1}, {}, True),
    ],
)
def test_every_leaf_must_be_there_with_an_equal_value(whole: Any, part: Any, expected: bool) -> None:
    assert is_filled_by(whole, part) is expected


def told_apart(value: Any) -> Any:
    """The value in a form in which Python's own comparison is JSON's."""
    match value:
        case bool():
            return str, str(value)
        case int() | float():
            return float, value
        case dict():
            return dict, {name: told_apart(each) for name, each in value.items()}
        case list():
            return list, [told_apart(each) for each in value]
        case _:
            return type(value), value


@given(VALUES, VALUES)
def test_values_are_equal_as_json_has_it(one: Any, other: Any) -> None:
    assert equal(one, other) is (told_apart(one) == told_apart(other))
    assert equal(one, deepcopy(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (False, 0),
        ([1], [True]),
        ({"a": 0}, {"a": False}),
        (None, False),
        ("1", 1),
        (2**53 + 1, 2.0**53),
        ({"a": 1}, {"a": 1, "b": 2}),
    ],
)
def test_values_of_different_types_or_contents_differ(one: Any, other: Any) -> None:
    assert not equal(one, other)
    assert not equal(other, one)
