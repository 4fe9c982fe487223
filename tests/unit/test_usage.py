"""What a process remembers of how keys are used until it is written."""

from datetime import timedelta

import msgspec
import pytest

from keyfold.app.usage import KeyUsage, Observed, Sight, Usage, Use

from .given import NOW

SECOND = timedelta(seconds=1)
NOTHING = Observed({}, {})


def test_uses_are_counted_by_key_outcome_and_action_with_the_last_time() -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW)
    usage.note("key_1", "valid", NOW, action="send")
    usage.note("key_1", "valid", NOW + SECOND, action="send")
    usage.note("key_1", "revoked", NOW)
    usage.note("key_2", "valid", NOW)
    assert usage.drain().uses == {
        ("key_1", "valid", ""): Use(1, NOW),
        ("key_1", "valid", "send"): Use(2, NOW + SECOND),
        ("key_1", "revoked", ""): Use(1, NOW),
        ("key_2", "valid", ""): Use(1, NOW),
    }


def test_an_address_is_kept_once_a_key_with_its_first_and_last_time() -> None:
    usage = Usage()
    for key_id, at in (("key_1", NOW), ("key_1", NOW + SECOND), ("key_2", NOW)):
        usage.note(key_id, "valid", at, address="192.0.2.1")
    usage.note("key_1", "valid", NOW, address="2001:db8::1")
    assert usage.drain().sights == {
        ("key_1", "192.0.2.1"): Sight(NOW, NOW + SECOND),
        ("key_2", "192.0.2.1"): Sight(NOW, NOW),
        ("key_1", "2001:db8::1"): Sight(NOW, NOW),
    }


def test_a_clock_that_is_set_back_takes_no_last_time_back() -> None:
    usage = Usage()
    for at in (NOW, NOW - SECOND):
        usage.note("key_1", "valid", at, address="192.0.2.1")
    assert usage.drain() == ({("key_1", "valid", ""): Use(2, NOW)}, {("key_1", "192.0.2.1"): Sight(NOW - SECOND, NOW)})


@pytest.mark.parametrize("text", ["", "\0", "192.0.2.1\0", "\ud800", "localhost", "fe80::1%eth0", "1" * 46, "1\n"])
def test_a_text_that_is_no_address_is_not_kept_but_the_use_is_counted(text: str) -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW, address=text)
    assert usage.drain() == ({("key_1", "valid", ""): Use(1, NOW)}, {})
    assert usage.dropped == 0


def test_what_was_drained_is_not_drained_again() -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW, address="192.0.2.1")
    assert usage.drain() != NOTHING
    assert usage.drain() == NOTHING


def test_what_is_put_back_is_added_to_what_was_noted_since() -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW, address="192.0.2.1")
    usage.note("key_2", "valid", NOW)
    observed = usage.drain()
    usage.note("key_1", "valid", NOW + SECOND, address="192.0.2.1")
    usage.note("key_3", "valid", NOW)
    usage.put_back(observed)
    assert usage.drain() == (
        {
            ("key_1", "valid", ""): Use(2, NOW + SECOND),
            ("key_2", "valid", ""): Use(1, NOW),
            ("key_3", "valid", ""): Use(1, NOW),
        },
        {("key_1", "192.0.2.1"): Sight(NOW, NOW + SECOND)},
    )


def test_when_there_is_no_room_what_is_new_is_dropped_and_what_is_known_still_counted() -> None:
    usage = Usage(capacity=2)
    for key_id in ("key_1", "key_2", "key_3", "key_2"):
        usage.note(key_id, "valid", NOW, address="192.0.2.1")
    assert usage.dropped == 2
    observed = usage.drain()
    assert observed.uses == {("key_1", "valid", ""): Use(1, NOW), ("key_2", "valid", ""): Use(2, NOW)}
    assert [*observed.sights] == [("key_1", "192.0.2.1"), ("key_2", "192.0.2.1")]


def test_addresses_take_no_room_from_the_counts() -> None:
    usage = Usage(capacity=2)
    for number in range(9):
        usage.note("key_1", "valid", NOW, address=f"192.0.2.{number}")
    usage.note("key_2", "valid", NOW)
    assert usage.drain().uses == {("key_1", "valid", ""): Use(9, NOW), ("key_2", "valid", ""): Use(1, NOW)}
    assert usage.dropped == 7


def test_putting_back_keeps_to_the_bound_as_well_and_the_older_stays() -> None:
    """However often a flush fails."""
    usage = Usage(capacity=2)
    for key_id in ("key_1", "key_2"):
        usage.note(key_id, "valid", NOW)
    for round_ in range(3):
        observed = usage.drain()
        usage.note(f"key_new_{round_}", "valid", NOW)
        usage.note(f"key_new_{round_}", "valid", NOW)
        usage.put_back(observed)
    assert [key_id for key_id, _, _ in usage.drain().uses] == ["key_1", "key_2"]
    assert usage.dropped == 6


def test_the_usage_of_a_key_is_camel_case_json() -> None:
    usage = KeyUsage(last_used_at=NOW, counts={"valid": 2}, last_used_by_action={"send": NOW})
    assert msgspec.to_builtins(usage) == {
        "lastUsedAt": "2026-03-01T12:00:00Z",
        "counts": {"valid": 2},
        "lastUsedByAction": {"send": "2026-03-01T12:00:00Z"},
    }
