"""Filters: conditions on the content of the events that a key receives."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, assert_never

import msgspec

from keyfold.domain.limits import Fault, metadata_faults, text_faults
from keyfold.domain.merging import equal

Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "exists", "in", "contains"]

FILTERS = 20
PROPERTY_NAME_LENGTH = 200
CHOICES = 100
"""The most values that an `in` chooses from."""

_NUMBERS = (int, float)
_MISSING = object()
"""Equals no JSON value, contains none, and compares with none."""


class Filter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A condition on one property, named by its path: `customer.id` is `id` in the object `customer`.

    A dot always descends, so a name that has one can't be reached; nor can what is in a list.
    """

    property_name: str
    operator: Operator
    property_value: Any

    # Python's own comparison takes true for 1, and a key could so swap its ceiling's filter for another one
    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Filter)
            and self.property_name == other.property_name
            and self.operator == other.operator
            and equal(self.property_value, other.property_value)
        )

    def __hash__(self) -> int:
        return hash((self.property_name, self.operator))


def all_hold(filters: tuple[Filter, ...], event: Mapping[str, Any]) -> bool:
    """Whether every filter holds for the event, a JSON object."""
    return all(holds(each, event) for each in filters)


def holds(condition: Filter, event: Mapping[str, Any]) -> bool:
    """Whether a sound filter holds for the event, a JSON object. Nothing in the event makes this raise.

    A property that is missing differs from everything (`ne`) and otherwise fails; null is a value, and there. Values
    are equal as JSON has it. Strings go by code point, so times only in one form and offset; what can't be compared
    fails. `contains` looks for a text in a string, or for a value in a list.
    """
    found, value = _property(event, condition.property_name), condition.property_value
    match condition.operator:
        case "exists":
            return (found is not _MISSING) is value
        case "ne":
            return not equal(found, value)
        case "eq":
            return equal(found, value)
        case "in":
            return any(equal(found, each) for each in value)
        case "contains":
            return _contains(found, value)
        case "lt" | "lte" | "gt" | "gte" as operator:
            return _compares(found, operator, value)
        case _:
            assert_never(condition.operator)


def _property(event: Mapping[str, Any], path: str) -> Any:
    found: Any = event
    try:
        for name in path.split("."):
            found = found[name]
    except (KeyError, TypeError):  # of these values only an object takes a text as its index
        return _MISSING
    return found


def _contains(found: Any, value: Any) -> bool:
    if type(found) is list:
        return any(equal(each, value) for each in found)
    return type(found) is str and type(value) is str and value in found


def _compares(found: Any, operator: Literal["lt", "lte", "gt", "gte"], value: Any) -> bool:
    texts = type(found) is str and type(value) is str
    if not texts and not (type(found) in _NUMBERS and type(value) in _NUMBERS):
        return False
    match operator:
        case "lt":
            return bool(found < value)
        case "lte":
            return bool(found <= value)
        case "gt":
            return bool(found > value)
        case "gte":
            return bool(found >= value)
        case _:
            assert_never(operator)


def filter_faults(pointer: str, filters: tuple[Filter, ...]) -> Iterator[Fault]:
    """What is wrong with the filters at this pointer. Their values together are as small and flat as metadata."""
    if len(filters) > FILTERS:
        yield pointer, f"Give {FILTERS} filters at the most."
        return
    for n, each in enumerate(filters):
        name = each.property_name
        yield from text_faults(f"{pointer}/{n}/propertyName", name, most=PROPERTY_NAME_LENGTH)
        if "" in name.split("."):
            yield f"{pointer}/{n}/propertyName", "Give names with dots between, such as customer.id."
        if fault := _value_fault(each):
            yield f"{pointer}/{n}/propertyValue", fault
    yield from metadata_faults(
        pointer, {str(n): {"propertyValue": each.property_value} for n, each in enumerate(filters)}
    )


def _value_fault(this: Filter) -> str | None:
    value = this.property_value
    match this.operator:
        case "eq" | "ne" | "contains":
            return None
        case "exists":
            return None if type(value) is bool else "exists takes true or false."
        case "in":
            sound = type(value) is list and 1 <= len(value) <= CHOICES
            return None if sound else f"in takes a list of 1 to {CHOICES} values."
        case "lt" | "lte" | "gt" | "gte":
            return None if type(value) in (*_NUMBERS, str) else f"{this.operator} takes a number or a string."
        case _:
            assert_never(this.operator)
