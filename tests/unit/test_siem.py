"""Records as OCSF and ECS: every type of event that there is, against what the schemas demand.

`data/ocsf-1.6.0.json` and `data/ecs-9.4.0.json` hold of the published schemas (github: ocsf/ocsf-schema, elastic/ecs)
what is checked here: required attributes, constraints, types and enumerations.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfold.audit import siem
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.record import encode, read_record

FOLDER = Path(__file__).parent
GOLDEN = sorted((FOLDER / "golden").glob("*.json"))
OCSF = json.loads((FOLDER / "data" / "ocsf-1.6.0.json").read_bytes())
ECS = json.loads((FOLDER / "data" / "ecs-9.4.0.json").read_bytes())
ACTORS = [
    {"kind": "key", "id": "key_1", "address": "192.0.2.7"},
    {"kind": "key", "id": "key_1", "address": "::ffff:192.0.2.7"},
    {"kind": "portal", "id": "pse_1", "address": "unknown"},
    {"kind": "operator", "id": "alice"},
    {"kind": "system", "id": "schedule"},
]
PLAIN = {"string_t": str, "integer_t": int, "long_t": int, "boolean_t": bool, "timestamp_t": int, "ip_t": str}


def records(path: Path) -> list[str]:
    """The golden record of a type, as whoever could have caused it."""
    record = json.loads(path.read_bytes())["record"]
    return [json.dumps(record | {"actor": actor}) for actor in ACTORS]


def ocsf(text: str) -> Any:
    return json.loads(encode(siem.ocsf(4711, read_record(text), text)))


def ecs(text: str) -> Any:
    return json.loads(encode(siem.ecs(4711, read_record(text), text)))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_event_is_a_valid_one_of_ocsf(path: Path) -> None:
    for text in records(path):
        event = ocsf(text)
        of = OCSF["classes"][str(event["class_uid"])]
        demand(event, of, "")
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert (event["class_name"], event["category_uid"]) == (of["name"], of["category_uid"])
        assert event["category_name"] == of["category_name"]
        caption = of["activities"][str(event["activity_id"])]
        assert event["activity_id"] == 99 or event["activity_name"] == caption
        assert event["type_name"] == f"{of['name']}: {caption}"
        assert str(event["severity_id"]) in OCSF["enums"]["severity_id"]
        assert str(event["status_id"]) in OCSF["enums"]["status_id"]
        assert event["metadata"]["version"] == OCSF["version"]
        assert event["raw_data"] == text


def demand(value: Any, of: Any, at: str) -> None:
    """That it has what its class or object requires, and nothing that this doesn't know, all the way down."""
    assert of["required"] == [each for each in of["required"] if each in value], at
    assert not of["at_least_one"] or {*of["at_least_one"]} & {*value}, at
    assert {*value} <= {*of["attributes"]}, at
    for name, inner in value.items():
        kind = of["attributes"][name]
        if kind in OCSF["objects"]:
            demand(inner, OCSF["objects"][kind], f"{at}/{name}")
        elif kind in PLAIN:
            assert type(inner) is PLAIN[kind], f"{at}/{name}"
        assert str(inner) in of.get("enums", {}).get(name, [str(inner)]), f"{at}/{name}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_event_has_the_names_and_the_values_of_ecs(path: Path) -> None:
    for text in records(path):
        document = ecs(text)
        event = document["event"]
        for category in event["category"]:
            assert {*event["type"]} <= {*ECS["category"][category]}, event["action"]
        assert event["kind"] in ECS["kind"]
        assert event["outcome"] in ECS["outcome"]
        assert {*event["type"]} <= {*ECS["type"]}
        assert event["original"] == text
        assert document["ecs"]["version"] in ECS["version"]
        del document["keyfold"]  # our own, as ECS wants it: under a name of its own
        for name, value in leaves(document):
            kind = ECS["fields"][name]
            assert isinstance(value, list) == kind.endswith("[]"), name
            assert kind.removesuffix("[]") != "long" or type(value) is int, name


def leaves(value: Any, at: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [each for name, inner in value.items() for each in leaves(inner, f"{at}.{name}" if at else name)]
    return [(at, value)]


def test_every_type_of_event_is_named() -> None:
    """One that isn't would still come through, as an API Activity."""
    names = {each.rpartition(".")[0] for each in EVENT_TYPES}
    assert names - {*siem._MEANINGS} == set()
    assert {*siem._MEANINGS} - names == set()
    text = json.dumps(json.loads(GOLDEN[0].read_bytes())["record"] | {"type": "moon.landed.v1"})
    assert ocsf(text)["class_uid"] == 6003


def test_what_was_refused_failed_and_what_was_counted_says_how_often_and_when() -> None:
    text = records(FOLDER / "golden" / "access.refused.v1.json")[0]
    event, document = ocsf(text), ecs(text)
    assert (event["class_uid"], event["status_id"], event["status_code"], event["count"]) == (3002, 2, "revoked", 3)
    assert event["end_time"] - event["start_time"] == 2000
    assert (document["event"]["outcome"], document["event"]["reason"]) == ("failure", "revoked")
    assert document["event"]["end"] == "2026-03-01T12:20:00Z"


def test_where_it_came_from_is_an_address_only_where_it_is_one() -> None:
    key, mapped, unknown, operator, _ = records(FOLDER / "golden" / "key.revoked.v1.json")
    assert ocsf(key)["src_endpoint"] == ocsf(mapped)["src_endpoint"] == {"ip": "192.0.2.7"}
    assert ocsf(unknown)["src_endpoint"] == {"name": "unknown"}
    assert "source" not in ecs(operator)
    assert ecs(mapped)["source"] == {"address": "::ffff:192.0.2.7", "ip": "192.0.2.7"}
    assert ecs(unknown)["source"] == {"address": "unknown"}


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        ocsf("{}")
