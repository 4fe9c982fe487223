"""JSON values: merged into one another, and compared as JSON compares them."""

from typing import Any


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: true is not 1, 1 is 1.0, the order of an object's names is nothing."""
    kind = type(one)
    if kind is dict:
        return type(other) is dict and one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if kind is list:
        return type(other) is list and len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other) and (kind is bool) is (type(other) is bool)


def merge_patch(target: Any, patch: Any) -> Any:
    """The target as a JSON Merge Patch (RFC 7396) changes it: null removes, objects merge, the rest replaces.

    Neither argument is changed; the result shares with them what they agree on. It recurses as deep as the patch goes,
    so hold a client's patch to `metadata_faults` first.
    """
    if not isinstance(patch, dict):
        return patch
    merged = {**target} if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def autofill(event: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """The event with the properties filled in, which win: objects merge, the rest replaces, lists and null included.

    Neither argument is changed; the result shares with them what they agree on.
    """
    filled = {**event}
    for name, value in properties.items():
        there = filled.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            filled[name] = autofill(there, value)
        else:
            filled[name] = value
    return filled


def is_filled_by(whole: Any, part: Any) -> bool:
    """Whether `whole` fills everything that `part` does, with the same values, so that no event shows a difference.

    An empty object in `part` asks for some object in its place.
    """
    if not isinstance(part, dict):
        return equal(whole, part)
    return isinstance(whole, dict) and all(name in whole and is_filled_by(whole[name], part[name]) for name in part)
