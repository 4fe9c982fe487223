"""Where two views differ, as JSON pointers."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.app.changes import differing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b/c", "d~"]), inner, max_size=3),
    max_leaves=8,
)
MISSING = object()


def at(document: Any, pointer: str) -> Any:
    """What stands there (RFC 6901), of objects alone."""
    for name in pointer.split("/")[1:]:
        document = document.get(name.replace("~1", "/").replace("~0", "~"), MISSING)
    return document


def put(document: Any, pointer: str, value: Any) -> Any:
    """The same with another value there."""
    if not pointer:
        return value
    parent, _, last = pointer.rpartition("/")
    name = last.replace("~1", "/").replace("~0", "~")
    if value is MISSING:
        at(document, parent).pop(name)
    else:
        at(document, parent)[name] = value
    return document


@given(JSON, JSON)
def test_putting_what_is_at_each_pointer_makes_one_of_the_other_and_nothing_less_does(before: Any, after: Any) -> None:
    pointers = [*differing(before, after)]
    merged = msgspec.json.decode(msgspec.json.encode(before))
    for pointer in pointers:
        merged = put(merged, pointer, at(after, pointer))
    assert msgspec.json.encode(merged, order="sorted") == msgspec.json.encode(after, order="sorted")
    assert len({*pointers}) == len(pointers)


@pytest.mark.parametrize(
    ("before", "after", "pointers"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["/a/c"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["/a"]),
        ({"a": None}, {}, ["/a"]),
        ({"a": {}}, {"a": None}, ["/a"]),
        ({"isActive": True}, {"isActive": 1}, ["/isActive"]),
        ({"x/y": {"~": 1}}, {"x/y": {"~": 2}}, ["/x~1y/~0"]),
        (1, 2, [""]),
    ],
)
def test_each_place_is_named_as_deep_as_both_are_objects(before: Any, after: Any, pointers: list[str]) -> None:
    assert [*differing(before, after)] == pointers
