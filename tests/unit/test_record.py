"""The record, and every payload that was ever written.

`golden/<type>.json` holds a record as it was stored, the state of its stream before (unless it begins it), and the
state after. A file stays when its event gets a new version: what was written once is read for ever.
"""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.aggregates import AGGREGATES, EVENT_TYPES, UnknownEventError, aggregate_of, fold, read_event
from keyfold.domain.record import Actor, Record, encode, read_record

GOLDEN = {path.name.removesuffix(".json"): path for path in (Path(__file__).parent / "golden").iterdir()}


class Golden(msgspec.Struct):
    record: msgspec.Raw
    after: msgspec.Raw
    before: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def golden(name: str) -> Golden:
    return msgspec.json.decode(GOLDEN[name].read_bytes(), type=Golden)


def test_every_event_type_has_a_golden_file() -> None:
    assert EVENT_TYPES.keys() - GOLDEN.keys() == set()


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_what_was_written_is_still_read_and_comes_to_the_same_state(name: str) -> None:
    record = read_record(bytes(golden(name).record))
    aggregate = aggregate_of(record.stream)
    before = golden(name).before
    state = None if before is msgspec.UNSET else msgspec.json.decode(before, type=aggregate.state)
    assert record.type == name
    assert fold(aggregate, state, record) == msgspec.json.decode(golden(name).after, type=aggregate.state)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_what_is_written_today_has_the_same_shape(name: str) -> None:
    record = read_record(bytes(golden(name).record))
    written = encode(read_event(record))
    assert msgspec.json.decode(written) == msgspec.json.decode(record.data), "a new shape needs a new version"


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_a_golden_file_leaves_no_field_at_its_default(name: str) -> None:
    given_fields = msgspec.json.decode(golden(name).record)["data"].keys()
    fields = {field.encode_name for field in msgspec.structs.fields(EVENT_TYPES[name])}
    # no key has both: an account's has a role, the one in the file is a partner's
    assert fields - given_fields - {"role"} == set()


def test_states_survive_being_stored() -> None:
    for name in GOLDEN:
        aggregate = aggregate_of(read_record(bytes(golden(name).record)).stream)
        state = msgspec.json.decode(golden(name).after, type=aggregate.state)
        assert msgspec.json.decode(encode(state), type=aggregate.state) == state


TEXTS = strategies.text(strategies.characters(exclude_categories=["Cs"]))
RECORDS = strategies.builds(
    Record,
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
