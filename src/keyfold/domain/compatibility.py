"""Whether a new version of a schema accepts every event that the one before accepted.

Exact where both versions speak of the same thing in the same keywords, conservative otherwise: what can't be decided
counts as incompatible. The question is always whether all that is valid under a conjunction of old schemas is valid
under a new one. To leave a constraint of the old side out only makes more valid there, so that no answer becomes wrong.

Schemas are those that `json_schema.schema_faults` finds nothing wrong with.
"""

from collections.abc import Iterator
from typing import Any

from keyfold.domain.constraints import ABOUT, EVERY_TYPE, Olds, Schema, dicts, simple_faults, types_of, value_faults
from keyfold.domain.json_schema import (
    ANNOTATIONS,
    DEFINITIONS,
    escaped,
    mapped,
    target,
)
from keyfold.domain.limits import Fault
from keyfold.domain.merging import equal

STEPS = 10_000
"""Comparisons of two subschemas before it is called undecided."""
MOST = 50
"""Places that are named."""

_WITH_ANOTHER = frozenset({"then", "else", "minContains", "maxContains"})
"""Keywords that say nothing by themselves."""


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> list[Fault]:
    """Where the new schema may refuse what the old one accepts; none when it never does.

    The pointers lead into the new schema, each reference followed.
    """
    found = _Comparison().faults((plain(old),), plain(new), "")
    return [fault for fault, _ in zip(found, range(MOST), strict=False)]


def plain(schema: dict[str, Any]) -> Schema:
    """The same without annotations, and with what its references name in their place."""

    def of(this: Any) -> Schema:
        if isinstance(this, bool):
            return this
        said = mapped({keyword: value for keyword, value in this.items() if not _says_nothing(keyword)}, of)
        if "$ref" in said:
            referred = of(_at(schema, target(said.pop("$ref"))))
            if not said:
                return referred
            said["allOf"] = [*said.get("allOf", ()), referred]
        return said

    return of(schema)


def _says_nothing(keyword: str) -> bool:
    return keyword in ANNOTATIONS or keyword in DEFINITIONS or keyword.startswith("x-")


def _at(schema: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        schema = schema[int(name)] if isinstance(schema, list) else schema[name]
    return schema


class _Comparison:
    """One question with all that it leads to, within its steps."""

    def __init__(self) -> None:
        self._left = STEPS

    def faults(self, olds: Olds, new: Schema, at: str) -> Iterator[Fault]:
        """Where something that is valid under all of `olds` may not be valid under `new`."""
        self._left -= 1
        if self._left < 0:
            yield at, "It can't be decided here: the schemas are too large to compare."
            return
        if new is True or new == {} or any(equal(old, new) for old in olds):
            return
        olds = _conjunction(olds)
        if not types_of(olds) or any(equal(old, new) for old in olds):
            return
        if new is False:
            yield at, "Nothing is valid here any more."
            return
        found = [*self._keywords(olds, new, at)]
        if found and not self._holds_in_each_case(olds, new):
            yield from found

    def _implied(self, olds: Olds, new: Schema) -> bool:
        return next(self.faults(olds, new, ""), None) is None

    def _holds_in_each_case(self, olds: Olds, new: Schema) -> bool:
        """Whether some alternative of the old side decides it, case by case."""
        for n, old in enumerate(olds):
            for keyword in ("anyOf", "oneOf"):
                if isinstance(old, dict) and keyword in old:
                    rest = (*olds[:n], _without(old, keyword), *olds[n + 1 :])
                    if all(self._implied((*rest, case), new) for case in old[keyword]):
                        return True
        return False

    def _keywords(self, olds: Olds, new: dict[str, Any], at: str) -> Iterator[Fault]:
        types = types_of(olds)
        for keyword, value in new.items():
            if types & ABOUT.get(keyword, EVERY_TYPE) and keyword not in _WITH_ANOTHER:
                yield from self._keyword(olds, new, keyword, value, f"{at}/{keyword}")

    def _keyword(  # noqa: C901, PLR0912  # one case for each kind of keyword
        self, olds: Olds, new: dict[str, Any], keyword: str, value: Any, at: str
    ) -> Iterator[Fault]:
        match keyword:
            case "type" | "enum" | "const":
                yield from value_faults(olds, keyword, value, at)
            case "allOf":
                for n, each in enumerate(value):
                    yield from self.faults(olds, each, f"{at}/{n}")
            case "anyOf":
                if not any(self._implied(olds, each) for each in value):
                    yield at, "It can't be shown that one of these accepts all that was valid."
            case "not":
                if not any(self._implied((value,), old["not"]) for old in _having(olds, "not")):
                    yield at, "This may forbid what was valid."
            case "if":
                yield from self._conditional(olds, new, at)
            case "properties" | "patternProperties" | "additionalProperties" | "propertyNames" | "dependentSchemas":
                yield from self._of_object(olds, new, keyword, value, at)
            case "prefixItems" | "items" | "contains":
                yield from self._of_array(olds, new, keyword, value, at)
            case "unevaluatedProperties" | "unevaluatedItems":
                if value is not True and value != {}:
                    yield at, "It can't be decided with this keyword what was valid before. Spell out the properties."
            case _:
                yield from simple_faults(olds, keyword, value, at)

    def _conditional(self, olds: Olds, new: dict[str, Any], at: str) -> Iterator[Fault]:
        """Each branch must accept all of what was valid, unless the whole condition was there before."""
        whole = {name: new[name] for name in ("if", "then", "else") if name in new}
        if not any(equal(whole, {name: old[name] for name in whole if name in old}) for old in _having(olds, "if")):
            for name in ("then", "else"):
                yield from self.faults(olds, new.get(name, True), f"{at.removesuffix('/if')}/{name}")

    def _of_object(self, olds: Olds, new: dict[str, Any], keyword: str, value: Any, at: str) -> Iterator[Fault]:
        match keyword:
            case "properties":
                for name, each in value.items():
                    yield from self.faults(_property(olds, name), each, f"{at}/{escaped(name)}")
            case "patternProperties":
                for pattern, each in value.items():
                    if not any(self._implied(_named_like(old, pattern), each) for old in dicts(olds)):
                        yield from self._anywhere(olds, {}, each, f"{at}/{escaped(pattern)}")
            case "additionalProperties":
                yield from self._anywhere(olds, new, value, at)
            case "propertyNames":
                names = tuple(old["propertyNames"] for old in _having(olds, "propertyNames"))
                yield from self.faults(({"type": "string"}, *names), value, at)
            case _:
                for name, each in value.items():
                    there = tuple(
                        old["dependentSchemas"][name]
                        for old in _having(olds, "dependentSchemas")
                        if name in old["dependentSchemas"]
                    )
                    yield from self.faults((*olds, *there), each, f"{at}/{escaped(name)}")

    def _anywhere(self, olds: Olds, new: dict[str, Any], value: Schema, at: str) -> Iterator[Fault]:
        """That every property which the new schema doesn't name itself has been within `value`."""
        if not any(self._all_within(old, new, value) for old in dicts((*olds, {}))):
            yield at, "This may refuse properties, or values of them, that were valid."

    def _all_within(self, old: dict[str, Any], new: dict[str, Any], value: Schema) -> bool:
        named: list[Schema] = [
            each for name, each in old.get("properties", {}).items() if name not in new.get("properties", {})
        ]
        patterns = new.get("patternProperties", {})
        named += [each for name, each in old.get("patternProperties", {}).items() if name not in patterns]
        return all(self._implied((each,), value) for each in (*named, old.get("additionalProperties", True)))

    def _of_array(self, olds: Olds, new: dict[str, Any], keyword: str, value: Any, at: str) -> Iterator[Fault]:
        first = len(new.get("prefixItems", ()))
        match keyword:
            case "prefixItems":
                for n, each in enumerate(value):
                    if not _ends_before(olds, n):
                        yield from self.faults(_item(olds, n), each, f"{at}/{n}")
            case "items":
                longest = max((len(old.get("prefixItems", ())) for old in dicts(olds)), default=0)
                for n in range(first, max(first, longest) + 1):
                    if not _ends_before(olds, n):
                        yield from self.faults(_item(olds, n), value, at)
            case _:
                if not any(self._contains(old, new) for old in dicts((*olds, {}))):
                    yield at, "This may refuse arrays that were valid."

    def _contains(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        least, most = new.get("minContains", 1), new.get("maxContains")
        had = "contains" in old
        enough = least == 0 or (
            had and old.get("minContains", 1) >= least and self._implied((old["contains"],), new["contains"])
        )
        few = most is None or (
            had and old.get("maxContains", most + 1) <= most and self._implied((new["contains"],), old["contains"])
        )
        return enough and few


def _conjunction(olds: Olds) -> Olds:
    """The same with each `allOf` beside the rest."""
    flat: list[Schema] = []
    for old in olds:
        if isinstance(old, dict) and "allOf" in old:
            flat += _conjunction((_without(old, "allOf"), *old["allOf"]))
        else:
            flat.append(old)
    return tuple(flat)


def _property(olds: Olds, name: str) -> Olds:
    """What held for a property of this name."""
    found: list[Schema] = []
    for old in dicts(olds):
        if name in old.get("properties", {}):
            found.append(old["properties"][name])
        elif "additionalProperties" in old and not old.get("patternProperties"):
            found.append(old["additionalProperties"])
    return tuple(found)


def _named_like(old: dict[str, Any], pattern: str) -> Olds:
    there = old.get("patternProperties", {})
    return (there[pattern],) if pattern in there else ()


def _item(olds: Olds, n: int) -> Olds:
    """What held for the item at this index."""
    found: list[Schema] = []
    for old in dicts(olds):
        first = old.get("prefixItems", ())
        if n < len(first):
            found.append(first[n])
        elif "items" in old:
            found.append(old["items"])
    return tuple(found)


def _ends_before(olds: Olds, n: int) -> bool:
    return any(old.get("maxItems", n + 1) <= n for old in dicts(olds))


def _having(olds: Olds, keyword: str) -> Iterator[dict[str, Any]]:
    return (old for old in dicts(olds) if keyword in old)


def _without(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != keyword}
