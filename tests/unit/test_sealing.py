"""What is personal leaves a record, and comes back for whoever has the data key, there and nowhere else."""

import os
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.app.ports import DataKey
from keyfold.app.sealing import NONCE, SealBrokenError, Sealing, boxed, subjects_of
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.attempt import AccessRefused
from keyfold.domain.key_events import DocumentChange, KeyChanged, KeyIssued
from keyfold.domain.partner import PartnerInvited, PartnerOnboarded
from keyfold.domain.record import Actor, Event, Record, encode, read_record
from keyfold.domain.sealing import joined, split
from keyfold.settings import Secret

from .given import NOW
from .test_record import GOLDEN, golden

OLD, NEW = Secret(b"o" * 32), Secret(b"n" * 32)
PARTNER, KEY, OPERATOR = "prt_1", "key_1", "key_0"
ACTOR = Actor("key", OPERATOR, "203.0.113.77")
INVITED = PartnerInvited(
    workspace_id="ws_1",
    partner_id=PARTNER,
    integration_id="int_1",
    link_id="lnk_1",
    app_name="Grace",
    app_description="Hopper",
    metadata={"mail": "grace@navy.test", "none": None, "deep": {"null": None}},
)
CHANGED = KeyChanged(
    workspace_id="ws_1",
    key_id=KEY,
    before=DocumentChange(name="Ada", purpose="x", tags=()),
    after=DocumentChange(name="Grace", purpose=None, tags=("t",)),
)
_JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-9, 9) | strategies.text(max_size=3),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=3), inner),
    max_leaves=12,
)


def sealing(**peppers: Secret) -> Sealing:
    return Sealing({int(name[1:]): secret for name, secret in (peppers or {"p1": OLD}).items()}, os.urandom)


def written(
    by: Sealing, event: Event, keys: list[DataKey], *, id_: str = "evt_1", under: str | None = OPERATOR
) -> bytes:
    """The text of a record, as it goes into the log."""
    actor, data, boxes = boxed(by, id_, event, ACTOR, under, {key.subject: key for key in keys})
    return encode(
        Record(
            id=id_,
            stream=str(event.subject),
            version=1,
            type=event.type,
            time=NOW,
            actor=actor,
            correlation_id="req_1",
            data=msgspec.Raw(data),
            sealed=boxes,
        )
    )


def opened(by: Sealing, text: bytes, keys: list[DataKey]) -> tuple[str | None, Event]:
    """The address and the event, as far as these keys open them."""
    record = by.open(read_record(text), {key.subject: key for key in keys})
    return record.actor.address, msgspec.json.decode(record.data, type=EVENT_TYPES[record.type])


def keys_of(by: Sealing, *subjects: str) -> list[DataKey]:
    return [by.new_key(subject) for subject in subjects]


def test_nothing_personal_is_readable_and_all_of_it_comes_back() -> None:
    this = sealing()
    keys = keys_of(this, PARTNER, OPERATOR)
    text = written(this, INVITED, keys)
    for canary in ("Grace", "Hopper", "grace@navy", "203.0.113", "appName", "address"):
        assert canary not in text.decode()
    assert [box.under for box in read_record(text).sealed] == [PARTNER, OPERATOR]
    assert opened(this, text, keys) == (ACTOR.address, INVITED)


def test_each_box_opens_with_its_own_key_alone_and_without_one_its_fields_are_absent() -> None:
    this = sealing()
    partner, operator = keys_of(this, PARTNER, OPERATOR)
    text = written(this, INVITED, [partner, operator])
    bare = msgspec.structs.replace(INVITED, app_name=None, app_description=None, metadata={})
    assert opened(this, text, [operator]) == (ACTOR.address, bare)
    assert opened(this, text, [partner]) == (None, INVITED)
    assert opened(this, text, []) == (None, bare)


def test_who_acts_on_their_own_things_has_one_box() -> None:
    this, refused = sealing(), AccessRefused(
        workspace_id="ws_1", attempt_id="att_1", key_id=KEY, partner_id=PARTNER, code="expired", road="nats",
        address="203.0.113.77", count=1, since=NOW, until=NOW,
    )  # fmt: skip
    keys = keys_of(this, PARTNER)
    text = written(this, refused, keys, under=PARTNER)
    assert [box.under for box in read_record(text).sealed] == [PARTNER]
    assert "203.0.113.77" not in text.decode()
    assert opened(this, text, keys) == ("203.0.113.77", refused)


def test_before_and_after_of_a_change_are_sealed_but_that_something_was_cleared_is_not() -> None:
    this = sealing()
    keys = keys_of(this, KEY, OPERATOR)
    text = written(this, CHANGED, keys)
    assert b'"before":{"tags":[]},"after":{"purpose":null,"tags":["t"]}' in text
    assert opened(this, text, keys)[1] == CHANGED


def test_what_has_no_data_key_is_left_out() -> None:
    text = written(sealing(), INVITED, [], under=None)
    assert read_record(text).sealed == ()
    assert "Grace" not in text.decode()
    assert "203.0.113" not in text.decode()
    assert [*subjects_of(INVITED, ACTOR, None)] == [PARTNER]


def test_an_event_with_nothing_personal_is_written_as_it_always_was() -> None:
    event = PartnerOnboarded(workspace_id="ws_1", partner_id=PARTNER, integration_id="int_1", link_id="l", key_ids=[])
    actor, data, boxes = boxed(sealing(), "evt_1", event, Actor("operator", "root"), None, {})
    assert (actor, data, boxes) == (Actor("operator", "root"), encode(event), ())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_record_from_before_there_were_boxes_reads_as_it_was_written(name: str) -> None:
    record = read_record(bytes(golden(name).record))
    assert record.sealed == ()
    assert sealing().open(record, {}) is record
    assert "sealed" not in msgspec.json.decode(encode(record))


def test_a_box_opens_in_no_other_record_and_under_no_other_subject() -> None:
    this = sealing()
    partner, other = keys_of(this, PARTNER, "prt_2")
    record = read_record(written(this, INVITED, [partner], under=None))
    moved = msgspec.structs.replace(record, id="evt_2")
    box = record.sealed[0]
    for wrong in (
        moved,
        msgspec.structs.replace(record, sealed=(msgspec.structs.replace(box, under="prt_2"),)),
        msgspec.structs.replace(record, sealed=(msgspec.structs.replace(box, box=box.box[:-4] + "AAAA"),)),
        msgspec.structs.replace(record, sealed=(msgspec.structs.replace(box, box="§"),)),
        msgspec.structs.replace(record, sealed=(msgspec.structs.replace(box, box="AAAA"),)),
    ):
        with pytest.raises(SealBrokenError, match=f"in {wrong.id} wasn't made for it"):
            this.open(wrong, {PARTNER: partner, "prt_2": other})
    # even with the same data key under both names
    unwrapped = this._unwrap(partner)
    same = rewrapped(this, "prt_2", unwrapped)
    renamed = msgspec.structs.replace(record, sealed=(msgspec.structs.replace(box, under="prt_2"),))
    with pytest.raises(SealBrokenError):
        this.open(renamed, {"prt_2": same})


def rewrapped(this: Sealing, subject: str, key: bytes) -> DataKey:
    nonce = os.urandom(NONCE)
    wrapped = this._wrapping[1].encrypt(nonce, key, subject.encode())
    return DataKey(subject, 1, nonce + wrapped)


def test_a_data_key_opens_under_no_other_name_and_with_no_other_pepper() -> None:
    this = sealing()
    [key] = keys_of(this, PARTNER)
    record = read_record(written(this, INVITED, [key], under=None))
    stolen = msgspec.structs.replace(key, subject="prt_2")
    renamed = msgspec.structs.replace(record, sealed=(msgspec.structs.replace(record.sealed[0], under="prt_2"),))
    with pytest.raises(SealBrokenError, match="The data key of prt_2 doesn't open"):
        sealing().open(renamed, {"prt_2": stolen})
    with pytest.raises(SealBrokenError, match="KEYFOLD_PEPPERS has another pepper 1"):
        sealing(p1=NEW).open(record, {PARTNER: key})
    with pytest.raises(SealBrokenError, match="wrapped by pepper 1, which KEYFOLD_PEPPERS doesn't have"):
        sealing(p2=NEW).open(record, {PARTNER: key})


def test_peppers_are_rotated_and_what_the_old_one_wrapped_still_opens() -> None:
    [old] = keys_of(sealing(p1=OLD), PARTNER)
    text = written(sealing(p1=OLD), INVITED, [old], under=None)
    both = sealing(p1=OLD, p2=NEW)
    assert opened(both, text, [old])[1] == INVITED
    assert (old.pepper, both.new_key(PARTNER).pepper) == (1, 2)


def test_the_same_text_is_never_sealed_alike_and_a_key_shows_nothing_of_itself() -> None:
    this = sealing()
    [key] = keys_of(this, PARTNER)
    one, other = (read_record(written(this, INVITED, [key], under=None)).sealed[0].box for _ in range(2))
    assert one != other
    assert one[:16] != other[:16], "the nonces"
    assert repr(key) == "DataKey(prt_1)"
    assert this.new_key(PARTNER).wrapped != key.wrapped


def test_what_is_forgotten_is_unwrapped_anew_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.app.sealing.CAPACITY", 2)
    this = sealing()
    keys = keys_of(this, "a", "b", "c")
    for key in keys:
        this._cipher(key)
    assert [*this._unwrapped] == ["b", "c"]
    this.forget(["c", "nobody"])
    assert [*this._unwrapped] == ["b"]


def test_every_personal_field_names_one_that_its_event_has() -> None:
    for event in EVENT_TYPES.values():
        for path in event.personal:
            kind: Any = event
            for name in path.split("."):
                fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
                assert name in fields, (event, path)
                kind = fields[name]
    assert {*KeyIssued.personal} == {"name", "purpose"}


@given(
    strategies.dictionaries(strategies.sampled_from("abc"), _JSON),
    strategies.sampled_from([("a",), ("a", "b.a"), ("a.b", "a.c")]),
)
def test_what_is_split_is_whole_again(data: dict[str, Any], personal: tuple[str, ...]) -> None:
    before = msgspec.json.encode(data)
    rest, taken = split(data, personal)
    assert joined(rest, taken) == data
    assert msgspec.json.encode(data) == before
    for path in personal:
        there: Any = rest
        for name in path.split("."):
            there = there.get(name) if isinstance(there, dict) else None
        assert there is None


def test_what_sealing_and_opening_cost(record_property: Any) -> None:
    """Measured, not judged."""
    this, n = sealing(), 2_000
    keys = keys_of(this, PARTNER, OPERATOR)
    plain = PartnerOnboarded(workspace_id="ws_1", partner_id=PARTNER, integration_id="int_1", link_id="l", key_ids=[])
    for what, event in (("an address", plain), ("an invitation and an address", INVITED)):
        began = time.perf_counter()
        texts = [written(this, event, keys) for _ in range(n)]
        sealed = time.perf_counter()
        records = [read_record(text) for text in texts]
        read = time.perf_counter()
        by_subject = {key.subject: key for key in keys}
        for record in records:
            this.open(record, by_subject)
        done = time.perf_counter()
        us = [f"{(after - before) / n * 1e6:.1f}" for before, after in ((began, sealed), (sealed, read), (read, done))]
        record_property("measured", f"{what}: written in {us[0]} µs, read in {us[1]} µs, opened in {us[2]} µs")
