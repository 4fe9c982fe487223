"""JSON Schema 2020-12 as the topic catalogue takes it: known keywords, references that stay inside, no recursion.

A schema that refers to itself would cost as much to judge as whoever sends an event likes, so there is none: with that,
and with a bound on what it comes to once its references are followed, so is the work of validating an event.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from keyfold.domain.limits import Fault

SUBSCHEMA = frozenset(
    {
        *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
SUBSCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SUBSCHEMA_MAPS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
DEFINITIONS = frozenset({"$defs", "definitions"})
ANNOTATIONS = frozenset(
    {
        *("$comment", "$id", "$schema", "contentSchema", "default", "deprecated", "description", "examples"),
        *("readOnly", "title", "writeOnly"),
    }
)
"""What says something to people, and nothing about whether an event is valid."""
ASSERTIONS = frozenset(
    {
        *("const", "contentEncoding", "contentMediaType", "dependentRequired", "enum", "exclusiveMaximum"),
        *("exclusiveMinimum", "format", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum"),
        *("minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "pattern", "required"),
        *("type", "uniqueItems"),
    }
)
KEYWORDS = SUBSCHEMA | SUBSCHEMA_LISTS | SUBSCHEMA_MAPS | ANNOTATIONS | ASSERTIONS | {"$ref"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"

EXTENT = 2_000
"""Subschemas that a schema comes to with every reference followed."""
LEVELS = 48
"""How deep they are nested."""
PATTERNS = 32
"""Regular expressions in one schema: compiled, each takes memory."""


def schema_faults(pointer: str, schema: dict[str, Any]) -> Iterator[Fault]:
    """What is wrong with a schema beside what the meta-schema says. `pointer` is where it stands."""
    nodes = dict(_nodes("", schema))
    found = [fault for at, node in nodes.items() for fault in _node_faults(at, node, nodes)]
    if sum(_patterns(node) for node in nodes.values()) > PATTERNS:
        found.append(("", f"This may have {PATTERNS} regular expressions at the most."))
    if not found:
        found = [*_extent_faults(nodes)]
    yield from ((f"{pointer}{at}", said) for at, said in found)


def children(at: str, schema: Any) -> Iterator[tuple[str, Any]]:
    """The subschemas of a schema with their places, those that nothing applies (definitions) included."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in SUBSCHEMA:
            yield f"{at}/{keyword}", value
        elif keyword in SUBSCHEMA_LISTS and isinstance(value, list):
            yield from ((f"{at}/{keyword}/{n}", each) for n, each in enumerate(value))
        elif keyword in SUBSCHEMA_MAPS and isinstance(value, dict):
            yield from ((f"{at}/{keyword}/{escaped(name)}", each) for name, each in value.items())


def mapped(schema: dict[str, Any], of: Callable[[Any], Any]) -> dict[str, Any]:
    """The same schema with each of its subschemas as `of` makes it."""
    return {keyword: _inside(keyword, value, of) for keyword, value in schema.items()}


def _inside(keyword: str, value: Any, of: Callable[[Any], Any]) -> Any:
    if keyword in SUBSCHEMA:
        return of(value)
    if keyword in SUBSCHEMA_LISTS:
        return [of(each) for each in value]
    if keyword in SUBSCHEMA_MAPS:
        return {name: of(each) for name, each in value.items()}
    return value


def relocated(schema: dict[str, Any], at: str) -> dict[str, Any]:
    """The same as a part of a larger document, where it stands at `at`: a URI fragment, such as `#/components/x`."""

    def of(this: Any) -> Any:
        if isinstance(this, bool):
            return this
        moved = mapped(this, of)
        return {**moved, "$ref": at + moved["$ref"].removeprefix("#")} if "$ref" in moved else moved

    return {keyword: value for keyword, value in of(schema).items() if keyword != "$id"}


def target(reference: str) -> str:
    """The place that a reference within the schema names."""
    return unquote(reference.removeprefix("#"))


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _nodes(at: str, schema: Any) -> Iterator[tuple[str, Any]]:
    yield at, schema
    for place, child in children(at, schema):
        yield from _nodes(place, child)


def _node_faults(at: str, schema: Any, nodes: dict[str, Any]) -> Iterator[Fault]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield at, "A schema is an object, or true or false."
        return
    for keyword in schema:
        if keyword not in KEYWORDS and not keyword.startswith("x-"):
            yield (
                f"{at}/{escaped(keyword)}",
                "No keyword of JSON Schema 2020-12 that is taken here. One of your own begins with x-.",
            )
    if at and "$id" in schema:
        yield f"{at}/$id", "Only the whole schema has an $id."
    if schema.get("$schema", DIALECT) not in (DIALECT, f"{DIALECT}#"):
        yield f"{at}/$schema", f"Schemas are of {DIALECT}."
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or target(reference) not in nodes or not reference.startswith("#"):
        yield f"{at}/$ref", "A reference names a place in this very schema: #/$defs/…"


def _patterns(schema: Any) -> int:
    if not isinstance(schema, dict):
        return 0
    named = schema.get("patternProperties")
    return ("pattern" in schema) + (len(named) if isinstance(named, dict) else 0)


class _EndlessError(Exception):
    """From this place it comes back to itself, or goes too deep."""


def _extent_faults(nodes: dict[str, Any]) -> Iterator[Fault]:
    """What it comes to with every reference followed, wherever one begins."""
    known: dict[str, tuple[int, int]] = {}

    def extent(at: str, above: frozenset[str]) -> tuple[int, int]:
        """How many schemas, and on how many levels."""
        if at in above or len(above) > LEVELS:
            raise _EndlessError(at)
        if at not in known:
            within = [extent(each, above | {at}) for each in _applied(at, nodes[at])]
            known[at] = 1 + sum(size for size, _ in within), 1 + max((depth for _, depth in within), default=0)
        return known[at]

    for at in nodes:
        try:
            size, depth = extent(at, frozenset())
        except _EndlessError:
            yield (
                at,
                f"This refers to itself, or is more than {LEVELS} levels deep. Spell out the levels that you need.",
            )
            return
        if size > EXTENT or depth > LEVELS:
            yield at, f"With its references followed this has more than {EXTENT} schemas, or {LEVELS} levels."
            return


def _applied(at: str, schema: Any) -> Iterator[str]:
    for place, _ in children(at, schema):
        if place[len(at) + 1 :].partition("/")[0] not in DEFINITIONS:
            yield place
    if isinstance(schema, dict) and "$ref" in schema:
        yield target(schema["$ref"])
