"""The schemas that the catalogue takes: known keywords, references that stay inside, no recursion, bounded work."""

from typing import Any

import pytest

from keyfold.app.schemas import Judge
from keyfold.domain.json_schema import EXTENT, LEVELS, PATTERNS, relocated, schema_faults
from keyfold.domain.refusals import Invalid


def wide(doublings: int) -> dict[str, Any]:
    """Refers to itself nowhere, and comes to 2 to this power of schemas all the same."""
    levels: dict[str, Any] = {
        f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}]} for n in range(doublings)
    }
    return {"$defs": {**levels, f"l{doublings}": {}}, "$ref": "#/$defs/l0"}


def chain(length: int) -> dict[str, Any]:
    links: dict[str, Any] = {f"l{n}": {"$ref": f"#/$defs/l{n + 1}"} for n in range(length)}
    return {"$defs": {**links, f"l{length}": {}}, "$ref": "#/$defs/l0"}


@pytest.mark.parametrize(
    ("schema", "places"),
    [
        ({"requried": ["a"]}, ["/requried"]),
        ({"properties": {"requried": {"nullable": True}}}, ["/properties/requried/nullable"]),
        ({"items": {"$anchor": "a"}}, ["/items/$anchor"]),
        ({"$dynamicRef": "#a"}, ["/$dynamicRef"]),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ["/$schema"]),
        ({"not": {"$id": "https://x.test"}}, ["/not/$id"]),
        ({"$ref": "https://x.test/schema"}, ["/$ref"]),
        ({"$ref": "other.json#/$defs/a", "$defs": {"a": {}}}, ["/$ref"]),
        ({"$ref": "#/$defs/b", "$defs": {"a": {}}}, ["/$ref"]),
        ({"$ref": 5}, ["/$ref"]),
        ({"x-own": {"$ref": "#/nowhere"}}, []),
        ({"const": {"$ref": "#/nowhere", "requried": 1}}, []),
        ({"$id": "https://x.test/a", "$defs": {"a b/c": {}}, "$ref": "#/$defs/a%20b~1c"}, []),
        ({"items": 5}, ["/items"]),
        ({"properties": {"a": {"$ref": "#"}}}, [""]),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, ["/$defs/a"]),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, ["/$defs/a"]),
        (wide(8), []),
        (wide(10), [""]),
        (chain(LEVELS - 2), []),
        (chain(1000), [""]),
        ({"patternProperties": {f"^{n}": {} for n in range(PATTERNS)}}, []),
        ({"patternProperties": {f"^{n}": {} for n in range(PATTERNS)}, "pattern": "a"}, [""]),
    ],
)
def test_what_a_schema_cant_have_is_named_by_its_place(schema: Any, places: list[str]) -> None:
    assert 2**8 < EXTENT < 3 * 2**10
    assert [place for place, _ in schema_faults("", schema)] == places


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "text"}, "/schema/type"),
        ({"properties": {"a/b": {"minLength": -1}}}, "/schema/properties/a~1b/minLength"),
        ({"pattern": "(?=a)b"}, "/schema/pattern"),
        ({"pattern": r"(a)\1"}, "/schema/pattern"),
        ({"pattern": "(a"}, "/schema/pattern"),
        ({"pattern": r"\w{1000}{100}"}, "/schema/pattern"),
        ({"required": "a"}, "/schema/required"),
        ({"typo": 1}, "/schema/typo"),
    ],
)
def test_what_the_meta_schema_or_the_compiler_refuses_is_named_by_its_place(schema: Any, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        Judge(schema)
    assert [pointer for pointer, _ in refused.value.fields] == [place]


def test_a_judge_names_where_data_is_not_as_the_schema_says_and_repeats_none_of_it() -> None:
    judge = Judge({"properties": {"a/b": {"type": "integer"}, "at": {"format": "date-time"}}, "required": ["c"]})
    faults = judge.faults("/data", {"a/b": "s3cret", "at": "s3cret"})
    assert {pointer for pointer, _ in faults} == {"/data", "/data/at", "/data/a~1b"}
    assert "s3cret" not in str(faults)
    assert judge.faults("", {"a/b": 1, "at": "2026-03-01T12:00:00Z", "c": None}) == []
    assert len(Judge({"items": {"type": "string"}}).faults("", [*range(100)])) == 20
    assert judge.faults("", b"no JSON") == [("", "This is no JSON.")]


def test_a_pattern_that_would_explode_takes_linear_time() -> None:
    judge = Judge({"pattern": "^(a+)+$"})
    assert judge.faults("", "a" * 100_000 + "b")
    assert judge.accepts("a" * 100_000)


def test_a_schema_is_put_into_a_larger_document_with_its_references() -> None:
    schema = {
        "$id": "https://x.test/a",
        "$defs": {"a": {}},
        "properties": {"$ref": {"$ref": "#/$defs/a"}, "b": True},
        "const": {"$ref": "#/$defs/a"},
    }
    assert relocated(schema, "#/x/y") == {
        "$defs": {"a": {}},
        "properties": {"$ref": {"$ref": "#/x/y/$defs/a"}, "b": True},
        "const": {"$ref": "#/$defs/a"},
    }
