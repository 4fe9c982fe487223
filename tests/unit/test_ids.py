"""TypeIDs, against the specification's own examples."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, strategies

from keyfold.domain.ids import ENTROPY, is_id, new_id, time_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SPECIFIED = "prefix_01h455vb4pex5vsknk084sn02q"
"""From the TypeID specification's valid.yml, with the UUID that it stands for."""
SPECIFIED_UUID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
TIMES = strategies.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=strategies.just(UTC))  # noqa: DTZ001
ENTROPIES = strategies.binary(min_size=ENTROPY, max_size=ENTROPY)


def uuid_of(typeid: str) -> UUID:
    """Crockford's base32, decoded by the book."""
    value = 0
    for character in typeid.rpartition("_")[2]:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    return UUID(int=value)


def test_a_new_id_is_the_one_of_the_specification_for_the_same_uuid() -> None:
    milliseconds, random_a = SPECIFIED_UUID.int >> 80, SPECIFIED_UUID.int >> 64 & 0xFFF
    entropy = random_a << 62 | SPECIFIED_UUID.int & (1 << 62) - 1
    assert new_id("prefix", EPOCH + timedelta(milliseconds=milliseconds), entropy.to_bytes(ENTROPY)) == SPECIFIED


@given(TIMES, ENTROPIES)
def test_every_new_id_is_a_uuid_of_version_7_of_its_millisecond(now: datetime, entropy: bytes) -> None:
    made = new_id("key", now, entropy)
    uuid = uuid_of(made)
    assert is_id("key", made)
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert abs((uuid.int >> 80) - (now - EPOCH) / timedelta(milliseconds=1)) <= 1


@given(TIMES, strategies.timedeltas(timedelta(milliseconds=2), timedelta(days=365)), ENTROPIES, ENTROPIES)
def test_ids_sort_by_the_time_they_were_made(now: datetime, later: timedelta, first: bytes, second: bytes) -> None:
    assert new_id("key", now, first) < new_id("key", now + later, second)


@given(ENTROPIES, ENTROPIES)
def test_of_the_entropy_all_74_bits_that_fit_are_kept(first: bytes, second: bytes) -> None:
    kept = (1 << 74) - 1
    same = int.from_bytes(first) & kept == int.from_bytes(second) & kept
    assert (new_id("key", EPOCH, first) == new_id("key", EPOCH, second)) is same


@pytest.mark.parametrize(
    "text",
    [
        "prefix_00000000000000000000000000",
        "prefix_0000000000000000000000000g",
        "prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz",
        SPECIFIED,
    ],
)
def test_what_the_specification_calls_valid_is_an_id(text: str) -> None:
    assert is_id("prefix", text)


@pytest.mark.parametrize(
    "text",
    [
        "PREFIX_00000000000000000000000000",
        "_00000000000000000000000000",
        "_",
        "prefix_1234567890123456789012345",
        "prefix_123456789012345678901234567",
        "prefix_0123456789ABCDEFGHJKMNPQRS",
        "prefix_123456789-123456789-123456",
        "prefix_ooooooiiiiiiuuuuuuulllllll",
        "prefix_i23456789ol23456789oi23456",
        "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "prefix_00000000000000000000000000 ",
        "prefix_00000000000000000000000000\n",
        "other_00000000000000000000000000",
        "prefix_\u06600000000000000000000000000",
        "",
    ],
)
def test_what_the_specification_calls_invalid_and_other_prefixes_are_none(text: str) -> None:
    assert not is_id("prefix", text)


@given(TIMES, ENTROPIES)
def test_an_id_tells_the_millisecond_in_which_it_was_made(now: datetime, entropy: bytes) -> None:
    assert abs(now - time_of(new_id("key", now, entropy))) <= timedelta(milliseconds=1)
