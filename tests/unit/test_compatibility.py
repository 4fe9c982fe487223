"""Whether a new version of a schema accepts whatever the one before accepted: by table, and by trying."""

from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, RegexOptions

from keyfold.domain.compatibility import STEPS, incompatibilities

STRING = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


WIDENED: dict[str, tuple[Any, Any]] = {
    "the same": (of(a=STRING), of(a=STRING)),
    "another order": ({"type": "string", "minLength": 1}, {"minLength": 1, "type": "string"}),
    "annotations": (of(a=STRING), {**of(a={**STRING, "title": "A", "examples": [1]}), "description": "x", "x-y": 1}),
    "anything at all": (of(a=STRING), {}),
    "from nothing": ({"not": {}}, of(a=STRING)),
    "a new optional property where no others were": (
        of(a=STRING) | {"additionalProperties": False},
        of(a=STRING, b=STRING) | {"additionalProperties": False},
    ),
    "fewer required": (of(a=STRING) | {"required": ["a", "b"]}, of(a=STRING) | {"required": ["b"]}),
    "one more type": ({"type": "string"}, {"type": ["string", "null"]}),
    "integer to number": ({"type": "integer"}, {"type": "number"}),
    "every type by name": ({}, {"type": ["null", "boolean", "object", "array", "string", "number"]}),
    "the type of its values": ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"], "type": "string"}),
    "a const among several": ({"const": 1}, {"enum": [1.0, 2]}),
    "all booleans": ({"type": "boolean"}, {"enum": [True, False, None]}),
    "enum within its type": ({"enum": ["a", 1], "type": "string"}, {"const": "a"}),
    "lower minimum": ({"minimum": 2}, {"minimum": 1}),
    "exclusive to inclusive": ({"exclusiveMinimum": 1}, {"minimum": 1}),
    "inclusive above exclusive": ({"minimum": 2}, {"exclusiveMinimum": 1.5}),
    "higher maximum": ({"exclusiveMaximum": 5}, {"maximum": 5}),
    "a bound on numbers where there are strings": ({"type": "string"}, {"minimum": 5}),
    "a divisor": ({"multipleOf": 6}, {"multipleOf": 3}),
    "whole numbers": ({"type": "integer"}, {"multipleOf": 1}),
    "longer strings": ({"minLength": 2, "maxLength": 5}, {"minLength": 1, "maxLength": 9}),
    "the same pattern and format": ({"pattern": "^a", "format": "date"}, {"pattern": "^a", "format": "date"}),
    "as many properties as are required": ({"required": ["a", "b"], "type": "object"}, {"minProperties": 2}),
    "not unique any more": ({"uniqueItems": True}, {"uniqueItems": False}),
    "wider items": ({"items": {"type": "integer"}}, {"items": {"type": "number"}}),
    "a tuple within its items": ({"prefixItems": [STRING], "items": STRING}, {"items": STRING}),
    "a place that no array has": ({"maxItems": 1}, {"prefixItems": [{}, STRING]}),
    "contains less": ({"contains": STRING, "minContains": 2}, {"contains": STRING}),
    "contains more at the most": ({"contains": STRING, "maxContains": 2}, {"contains": STRING, "maxContains": 3,
                                                                           "minContains": 0}),
    "nested": (of(a=of(b={"maximum": 1})), of(a=of(b={"maximum": 2}))),
    "additional properties of a kind": ({"additionalProperties": {"type": "integer"}, "type": "object"},
                                        of(a={"type": "number"}) | {"additionalProperties": {"type": "number"}}),
    "a property that was refused": (of(a=False), of(a=STRING)),
    "property names": ({"propertyNames": {"maxLength": 3}}, {"propertyNames": {"maxLength": 4}}),
    "a pattern of names": ({"patternProperties": {"^x": {"maximum": 1}}},
                           {"patternProperties": {"^x": {"maximum": 2}}}),
    "one of the alternatives": (STRING, {"anyOf": [{"type": "integer"}, STRING]}),
    "one more alternative": ({"anyOf": [STRING, {"type": "null"}]},
                             {"anyOf": [STRING, {"type": "null"}, {"type": "integer"}]}),
    "alternatives within a type": ({"oneOf": [STRING, {"type": "null"}]}, {"type": ["string", "null"]}),
    "all of less": ({"allOf": [STRING, {"minLength": 2}]}, {"allOf": [{"minLength": 1}], "type": "string"}),
    "forbids less": ({"not": {"type": ["string", "null"]}}, {"not": STRING}),
    "the same condition": ({"if": STRING, "then": {"minLength": 1}, "minimum": 2},
                           {"if": STRING, "then": {"minLength": 1}, "minimum": 1}),
    "a condition on nothing": (STRING, {"if": {"minLength": 3}, "then": {"minLength": 0}}),
    "needs less with it": ({"dependentRequired": {"a": ["b", "c"]}}, {"dependentRequired": {"a": ["b"]}}),
    "needs what is required": ({"type": "object", "required": ["b"]}, {"dependentRequired": {"a": ["b"]}}),
    "the same with it": ({"dependentSchemas": {"a": {"required": ["b", "c"]}}},
                         {"dependentSchemas": {"a": {"required": ["b"]}}}),
    "by reference": ({"$defs": {"a": STRING}, "properties": {"x": {"$ref": "#/$defs/a"}}},
                     {"properties": {"x": STRING}}),
    "a reference with more": ({"type": "string", "maxLength": 3},
                              {"$defs": {"b/c": {"maxLength": 4}}, "$ref": "#/$defs/b~1c", "type": "string"}),
    "contents": ({"contentMediaType": "text/plain"}, {}),
}  # fmt: skip

NARROWED: dict[str, tuple[Any, Any, list[str]]] = {
    "required": (of(a=STRING), of(a=STRING) | {"required": ["a"]}, ["/required"]),
    "a narrower type": ({"type": ["string", "null"]}, STRING, ["/type"]),
    "number to integer": ({"type": "number"}, {"type": "integer"}, ["/type"]),
    "a type where there was none": ({}, STRING, ["/type"]),
    "a value gone": ({"enum": [1, 2]}, {"enum": [1]}, ["/enum"]),
    "true is not 1": ({"const": True}, {"const": 1}, ["/const"]),
    "a const where there was a type": (STRING, {"type": "string", "const": "a"}, ["/const"]),
    "higher minimum": ({"minimum": 1}, {"minimum": 2}, ["/minimum"]),
    "inclusive to exclusive": ({"minimum": 1}, {"exclusiveMinimum": 1}, ["/exclusiveMinimum"]),
    "lower maximum": ({"maximum": 2}, {"exclusiveMaximum": 2}, ["/exclusiveMaximum"]),
    "no divisor": ({"multipleOf": 3}, {"multipleOf": 6}, ["/multipleOf"]),
    "fractions": ({"multipleOf": 0.5}, {"multipleOf": 0.25}, ["/multipleOf"]),
    "shorter": ({"maxLength": 5}, {"maxLength": 4}, ["/maxLength"]),
    "a length": ({}, {"minLength": 1}, ["/minLength"]),
    "another pattern": ({"pattern": "^a"}, {"pattern": "^ab?"}, ["/pattern"]),
    "a format": (STRING, {**STRING, "format": "email"}, ["/format"]),
    "no more properties": (of(a=STRING), of(a=STRING) | {"additionalProperties": False}, ["/additionalProperties"]),
    "a removed property where no others may be": (
        of(a=STRING, b=STRING) | {"additionalProperties": False},
        of(a=STRING) | {"additionalProperties": False},
        ["/additionalProperties"],
    ),
    "a new property where others were": (of(a=STRING), of(a=STRING, b=STRING), ["/properties/b/type"]),
    "deep, and named as it is": (
        of(**{"a/b": {"items": of(c={"maximum": 2})}}),
        of(**{"a/b": {"items": of(c={"maximum": 1})}}),
        ["/properties/a~1b/items/properties/c/maximum"],
    ),
    "fewer items": ({"maxItems": 3}, {"maxItems": 2}, ["/maxItems"]),
    "unique": ({}, {"uniqueItems": True}, ["/uniqueItems"]),
    "a narrower tuple": ({"prefixItems": [STRING, {}]}, {"prefixItems": [STRING, STRING]}, ["/prefixItems/1/type"]),
    "a tuple's rest": ({"prefixItems": [{}], "items": STRING}, {"items": STRING}, ["/items/type"]),
    "contains": ({}, {"contains": STRING}, ["/contains"]),
    "contains less at the most": ({"contains": STRING, "maxContains": 3}, {"contains": STRING, "maxContains": 2},
                                  ["/contains"]),
    "an alternative gone": ({"anyOf": [STRING, {"type": "null"}]}, {"anyOf": [STRING]}, ["/anyOf"]),
    "exactly one": ({"anyOf": [STRING, {"minLength": 1}]}, {"oneOf": [STRING, {"minLength": 1}]}, ["/oneOf"]),
    "forbids more": ({"not": STRING}, {"not": {"type": ["string", "null"]}}, ["/not"]),
    "a condition": ({}, {"if": STRING, "then": {"minLength": 1}}, ["/then/minLength"]),
    "needs more with it": ({"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["b", "c"]}},
                           ["/dependentRequired"]),
    "names": ({}, {"propertyNames": {"maxLength": 3}}, ["/propertyNames/maxLength"]),
    "a pattern of names": ({}, {"patternProperties": {"^x": STRING}}, ["/patternProperties/^x"]),
    "what is left over": (of(a=STRING, b=STRING) | {"unevaluatedProperties": False},
                          of(a=STRING) | {"unevaluatedProperties": False}, ["/unevaluatedProperties"]),
    "nothing any more": (of(a=STRING), of(a=False), ["/properties/a"]),
    "several": (of(a={"maximum": 2}), of(a={"maximum": 1}) | {"required": ["a"]},
                ["/properties/a/maximum", "/required"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WIDENED)
def test_what_accepts_as_much_is_compatible(case: str) -> None:
    old, new = WIDENED[case]
    assert incompatibilities(old, new) == []


@pytest.mark.parametrize("case", NARROWED)
def test_what_may_refuse_is_named_by_its_place(case: str) -> None:
    old, new, places = NARROWED[case]
    assert [place for place, _ in incompatibilities(old, new)] == places


def test_a_comparison_that_would_take_too_long_is_called_undecided() -> None:
    old: dict[str, Any] = {"anyOf": [{"minLength": n} for n in range(40)]}
    deep: dict[str, Any] = {"maxLength": 1}
    for _ in range(6):
        old, deep = {"allOf": [old, old]}, {"anyOf": [deep] * 8}
    assert STEPS < 8**6
    assert incompatibilities(old, deep)


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 6) | st.sampled_from([0.5, 1.0, 2.5, "", "a", "ab", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "object", "array", "string", "integer", "number"])
SMALL = st.integers(0, 3)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    by_name = st.dictionaries(NAMES, inner, max_size=2)
    several = st.lists(inner, min_size=1, max_size=2)
    bound = st.sampled_from([-1, 0, 1, 2.5])
    counts = {f"{end}{of}": SMALL for end in ("min", "max") for of in ("Length", "Items", "Properties")}
    bounds = dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), bound)
    values: dict[str, st.SearchStrategy[Any]] = {
        **counts,
        **bounds,
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=4, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "multipleOf": st.sampled_from([0.5, 1, 2, 3, 4, 6]),
        "pattern": st.sampled_from(["^a", "b"]),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "properties": by_name,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "[bc]"]), inner, max_size=2),
        "additionalProperties": inner,
        "unevaluatedProperties": inner,
        "propertyNames": inner,
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=1),
        "dependentSchemas": by_name,
        "prefixItems": several,
        "items": inner,
        "unevaluatedItems": inner,
        "contains": inner,
        "minContains": SMALL,
        "maxContains": SMALL,
        "uniqueItems": st.booleans(),
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
    }
    pairs = [st.tuples(st.just(name), value) for name, value in values.items()]
    return st.lists(st.one_of(pairs), min_size=1, max_size=3).map(dict)


SCHEMAS = keywords(keywords(keywords(st.booleans() | st.just({"type": "string"})) | st.booleans()) | st.booleans())


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """A schema, and one near to it: with a keyword gone, come, or another, somewhere."""
    old = draw(SCHEMAS)
    return old, draw(st.one_of(SCHEMAS, st.just(old).flatmap(nearby)))


def nearby(schema: Any) -> st.SearchStrategy[Any]:
    if not isinstance(schema, dict) or not schema:
        return SCHEMAS
    changes = [SCHEMAS.map(lambda more: {**schema, **more}), SCHEMAS.map(lambda more: {**more, **schema})]
    for keyword, value in schema.items():
        changes.append(st.just({name: each for name, each in schema.items() if name != keyword}))
        if keyword in ("properties", "patternProperties", "dependentSchemas"):
            changes += [put(schema, keyword, put(value, name, nearby(each))) for name, each in value.items()]
        elif isinstance(value, dict) and keyword not in ("const", "dependentRequired"):
            changes.append(put(schema, keyword, nearby(value)))
        elif keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
            more = st.tuples(st.just(value), SCHEMAS).map(lambda both: [*both[0], both[1]])
            changes += [put(schema, keyword, more), st.just({**schema, keyword: [{"type": "object"}, *value]})]
    return st.one_of(changes)


def put(whole: dict[str, Any], name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same with something else by this name."""
    return value.map(lambda drawn: {**whole, name: drawn})


def compiled(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(schema, pattern_options=RegexOptions(), validate_formats=True)


@given(pairs(), st.lists(VALUES, min_size=10, max_size=30))
@example(({"properties": {"a": {}}, "unevaluatedProperties": False}, {"unevaluatedProperties": False}), [{"a": 1}])
@settings(max_examples=80, deadline=None)
def test_what_is_called_compatible_refuses_nothing_that_was_valid(pair: tuple[Any, Any], values: list[Any]) -> None:
    old, new = pair
    if incompatibilities(old, new):
        event("incompatible")
        return
    before, after = compiled(old), compiled(new)
    refused = [value for value in values if before.is_valid(value) and not after.is_valid(value)]
    event("compatible")
    assert refused == []
