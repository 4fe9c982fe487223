"""Constraints of JSON schemas that are weighed by their values alone: types, enumerations, bounds, required names."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from keyfold.domain.limits import Fault
from keyfold.domain.merging import equal

Schema: TypeAlias = "bool | dict[str, Any]"
Olds: TypeAlias = "tuple[Schema, ...]"
"""What was valid before was so under all of these."""

_NUMBERS = frozenset({"integer", "fraction"})
EVERY_TYPE = _NUMBERS | {"null", "boolean", "object", "array", "string"}
ABOUT: dict[str, frozenset[str]] = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _NUMBERS),
    **dict.fromkeys(
        ("minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType"), frozenset({"string"})
    ),
    **dict.fromkeys(("minItems", "maxItems", "uniqueItems", "prefixItems", "items", "contains"), frozenset({"array"})),
    **dict.fromkeys(("unevaluatedItems",), frozenset({"array"})),
    **dict.fromkeys(("minProperties", "maxProperties", "required", "dependentRequired"), frozenset({"object"})),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), frozenset({"object"})),
    **dict.fromkeys(("propertyNames", "dependentSchemas", "unevaluatedProperties"), frozenset({"object"})),
}
"""The types that a keyword says something about; it holds for every other."""
_LOWER = {"minLength": 0, "minItems": 0, "minProperties": 0}
_UPPER = ("maxLength", "maxItems", "maxProperties")


def types_of(olds: Olds) -> frozenset[str]:
    """The types that something valid under all of them may have; `number` is two of them."""
    types = EVERY_TYPE
    for old in olds:
        if old is False or (isinstance(old, dict) and old.get("not") in (True, {})):
            return frozenset()
        if isinstance(old, dict):
            if "type" in old:
                types &= _expanded(old["type"])
            for values in _listed(old):
                types &= {_type(each) for each in values}
    return types


def value_faults(olds: Olds, keyword: str, value: Any, at: str) -> Iterator[Fault]:
    if keyword == "type":
        if lost := types_of(olds) - _expanded(value):
            names = {"fraction": "number"}
            yield at, f"Of this type it was valid before: {', '.join(sorted(names.get(each, each) for each in lost))}."
        return
    accepted = value if keyword == "enum" else [value]
    before = _finite(olds)
    if before is None:
        yield at, "Other values were valid before."
        return
    for each in before:
        if not any(equal(each, one) for one in accepted):
            yield at, "A value that was valid before is left out."
            return


def _finite(olds: Olds) -> list[Any] | None:
    """The values that are valid under all of them, and maybe more, where there are but a few."""
    types = types_of(olds)
    for old in dicts(olds):
        for values in _listed(old):
            return [each for each in values if _type(each) in types]
    if types <= {"null", "boolean"}:
        return [*([None] if "null" in types else []), *([True, False] if "boolean" in types else [])]
    return None


def simple_faults(olds: Olds, keyword: str, value: Any, at: str) -> Iterator[Fault]:
    """Keywords that are weighed by their values alone."""
    if not any(_is_as_strict(old, keyword, value) for old in dicts((*olds, {}))):
        yield at, "This is stricter than before, or it can't be shown that it isn't."


def _is_as_strict(old: dict[str, Any], keyword: str, value: Any) -> bool:  # noqa: C901, PLR0911  # by keyword
    """Whether what is valid under `old` alone keeps to this."""
    match keyword:
        case "minProperties" if len({*old.get("required", ())}) >= value:
            return True
        case "minLength" | "minItems" | "minProperties":
            return bool(old.get(keyword, _LOWER[keyword]) >= value)
        case "minimum":
            return _bounded(old, keyword, lambda bound: bound >= value, lambda bound: bound >= value)
        case "exclusiveMinimum":
            return _bounded(old, "minimum", lambda bound: bound > value, lambda bound: bound >= value)
        case "maximum":
            return _bounded(old, keyword, lambda bound: bound <= value, lambda bound: bound <= value)
        case "exclusiveMaximum":
            return _bounded(old, "maximum", lambda bound: bound < value, lambda bound: bound <= value)
        case _ if keyword in _UPPER:
            return keyword in old and bool(old[keyword] <= value)
        case "multipleOf":
            return _is_multiple(old, value)
        case "required":
            return {*value} <= {*old.get("required", ())}
        case "dependentRequired":
            has, needs = old.get("dependentRequired", {}), {*old.get("required", ())}
            return all({*names} <= {*has.get(name, ())} | needs for name, names in value.items())
        case "uniqueItems":
            return value is False or old.get("uniqueItems") is True
        case _:
            return keyword in old and equal(old[keyword], value)


def _bounded(old: dict[str, Any], inclusive: str, keeps: Any, keeps_exclusive: Any) -> bool:
    exclusive = f"exclusive{inclusive.capitalize()}"
    return (inclusive in old and keeps(old[inclusive])) or (exclusive in old and keeps_exclusive(old[exclusive]))


def _is_multiple(old: dict[str, Any], value: Any) -> bool:
    """Among whole numbers only: with fractions, rounding has a say in what is valid."""
    before = old.get("multipleOf", 1 if _types(old) <= {"integer"} else None)
    if before is None or equal(before, value):
        return before is not None
    return isinstance(before, int) and isinstance(value, int) and before % value == 0


def _types(old: dict[str, Any]) -> frozenset[str]:
    return _expanded(old["type"]) if "type" in old else EVERY_TYPE


def dicts(olds: Olds) -> Iterator[dict[str, Any]]:
    return (old for old in olds if isinstance(old, dict))


def _listed(old: dict[str, Any]) -> Iterator[list[Any]]:
    if "enum" in old:
        yield old["enum"]
    if "const" in old:
        yield [old["const"]]


def _expanded(named: Any) -> frozenset[str]:
    names = {named} if isinstance(named, str) else {*named}
    return frozenset(names - {"number"} | (_NUMBERS if "number" in names else frozenset()))


def _type(value: Any) -> str:  # noqa: PLR0911  # one for each
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
