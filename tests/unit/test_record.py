"""The record, and every payload that was ever written.

`golden/<type>.json` holds a record as it was stored, the state of its stream before (unless it begins it), and the
state after; `<type>.<variant>.json` one more of that type, with fields that came later or exclude others. A file stays
as it is for good: what was written once is read for ever. States aren't kept anywhere: where their shape has moved
since, they are in `golden/states` as they are now.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.aggregates import AGGREGATES, EVENT_TYPES, UnknownEventError, aggregate_of, fold, read_event
from keyfold.domain.record import Actor, Record, encode, read_record

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {path.name.removesuffix(".json"): path for path in FOLDER.glob("*.json")}
GROWN = {"integration.created.v1": ["/rules/dev/policy", "/rules/prod/policy"]}
"""What is always written by now and wasn't by older versions: optional, or those could not be read."""


class Golden(msgspec.Struct):
    record: msgspec.Raw
    after: msgspec.Raw
    before: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class States(msgspec.Struct):
    after: msgspec.Raw
    before: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def golden(name: str) -> Golden:
    return msgspec.json.decode(GOLDEN[name].read_bytes(), type=Golden)


def states(name: str) -> States:
    moved = FOLDER / "states" / f"{name}.json"
    return msgspec.json.decode((moved if moved.exists() else GOLDEN[name]).read_bytes(), type=States)


def test_every_event_type_has_a_golden_file() -> None:
    assert EVENT_TYPES.keys() - GOLDEN.keys() == set()


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_what_was_written_is_still_read_and_comes_to_the_same_state(name: str) -> None:
    record = read_record(bytes(golden(name).record))
    aggregate = aggregate_of(record.stream)
    before = states(name).before
    state = None if before is msgspec.UNSET else msgspec.json.decode(before, type=aggregate.state)
    assert f"{name}.".startswith(f"{record.type}.")
    assert fold(aggregate, state, record) == msgspec.json.decode(states(name).after, type=aggregate.state)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_what_is_written_today_has_the_same_shape(name: str) -> None:
    record = read_record(bytes(golden(name).record))
    written, today = msgspec.json.decode(record.data), msgspec.json.decode(encode(read_event(record)))
    assert sorted(missing(written, today)) == [], "a new shape needs a new version"
    assert sorted(missing(today, written)) == GROWN.get(name, []), "a new shape needs a new version"


def missing(these: Any, those: Any, at: str = "") -> Iterator[str]:
    """Where these have what those don't have, or not so."""
    if isinstance(these, dict) and isinstance(those, dict):
        for name, value in these.items():
            yield from missing(value, those.get(name, msgspec.UNSET), f"{at}/{name}")
    elif these != those:
        yield at


def test_the_golden_files_of_a_type_leave_no_field_at_its_default_whatever_is_in_it() -> None:
    filled: set[tuple[type, str]] = set()
    reached: set[type] = set()
    for name in GOLDEN:
        for part in parts(read_event(read_record(bytes(golden(name).record)))):
            reached.add(type(part))
            fields = msgspec.structs.fields(part)
            filled |= {(type(part), field.name) for field in fields if getattr(part, field.name) != default(field)}
    fields_of_all = {(each, name) for each in reached for name in each.__struct_fields__}  # type: ignore[attr-defined]
    assert reached >= {*EVENT_TYPES.values()}
    assert fields_of_all - filled == set()


def parts(value: Any) -> Iterator[msgspec.Struct]:
    """The struct, and every one that is somewhere in it."""
    if isinstance(value, msgspec.Struct):
        yield value
        value = [getattr(value, name) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        value = [*value.values()]
    for each in value if isinstance(value, list | tuple) else ():
        yield from parts(each)


def default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def test_states_survive_being_stored() -> None:
    for name in GOLDEN:
        aggregate = aggregate_of(read_record(bytes(golden(name).record)).stream)
        state = msgspec.json.decode(states(name).after, type=aggregate.state)
        assert msgspec.json.decode(encode(state), type=aggregate.state) == state


TEXTS = strategies.text(strategies.characters(exclude_categories=["Cs"]))
RECORDS = strategies.builds(
    Record,
    number=strategies.integers(0, 2**63 - 1),
    id=TEXTS,
    stream=TEXTS,
    version=strategies.integers(1, 2**31),
    type=TEXTS,
    time=strategies.datetimes(timezones=strategies.just(UTC)),
    actor=strategies.builds(
        Actor, strategies.sampled_from(["key", "portal", "operator", "system"]), TEXTS, TEXTS | strategies.none()
    ),
    correlation_id=TEXTS,
    causation_id=TEXTS | strategies.none(),
    data=strategies.dictionaries(TEXTS, TEXTS).map(lambda data: msgspec.Raw(encode(data))),
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    text = encode(record)
    assert encode(read_record(text)) == text
    assert read_record(text.decode()).time == record.time


def test_a_record_keeps_the_exact_text_of_its_data() -> None:
    data = b'{"b" : 1,"a":[1.0,  "\\u00e9"]}'
    record = Record(
        id="evt_1",
        stream="key_1",
        version=1,
        type="key.issued.v1",
        time=datetime(2026, 3, 1, tzinfo=UTC),
        actor=Actor("system", "rule"),
        correlation_id="req_1",
        data=msgspec.Raw(data),
    )
    assert bytes(read_record(encode(record)).data) == data


def test_the_fields_of_a_record_are_written_in_one_order_and_in_utc() -> None:
    assert encode(
        Record(
            id="evt_1",
            stream="key_1",
            version=1,
            type="key.revoked.v1",
            time=datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
            actor=Actor("key", "key_2", "192.0.2.7"),
            correlation_id="req_1",
            data=msgspec.Raw(b"{}"),
        )
    ) == (
        b'{"id":"evt_1","stream":"key_1","version":1,"type":"key.revoked.v1","time":"2026-03-01T12:00:00.000005Z",'
        b'"actor":{"kind":"key","id":"key_2","address":"192.0.2.7"},"correlationId":"req_1","data":{}}'
    )


def test_a_type_that_nobody_knows_is_an_error_that_names_it() -> None:
    record = read_record(bytes(golden("key.issued.v1").record))
    with pytest.raises(UnknownEventError, match=r"key\.issued\.v99"):
        read_event(msgspec.structs.replace(record, type="key.issued.v99"))


def test_data_of_another_shape_is_an_error() -> None:
    record = read_record(bytes(golden("key.issued.v1").record))
    with pytest.raises(msgspec.ValidationError):
        read_event(msgspec.structs.replace(record, data=msgspec.Raw(b'{"keyId":5}')))


def test_each_aggregate_is_found_by_the_prefix_of_its_ids() -> None:
    for prefix, aggregate in AGGREGATES.items():
        assert aggregate_of(f"{prefix}_00000000000000000000000000") is aggregate


def test_a_time_with_another_offset_is_the_same_moment() -> None:
    record = read_record(bytes(golden("key.issued.v1").record))
    east = record.time.astimezone(timezone(timedelta(hours=9)))
    assert read_record(encode(msgspec.structs.replace(record, time=east))).time == record.time
