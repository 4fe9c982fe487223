"""TypeIDs: `<prefix>_<26 characters>`, the characters being a UUIDv7 in Crockford's base32.

Sources: TypeID specification 0.3, RFC 9562 section 5.7.
"""

import re
from datetime import UTC, datetime, timedelta

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_SHIFTS = range(120, -1, -10)
_VERSION_AND_VARIANT = 7 << 76 | 0b10 << 62
SUFFIX = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
ENTROPY = 10
"""Bytes of entropy that a new id takes."""


def new_id(prefix: str, now: datetime, entropy: bytes) -> str:
    """A TypeID made at `now` from `ENTROPY` bytes, of which UUIDv7 keeps 74 bits."""
    random = int.from_bytes(entropy)
    value = (
        int(now.timestamp() * 1000) << 80
        | _VERSION_AND_VARIANT
        | (random >> 62 & 0xFFF) << 64
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    return _id(prefix, value)


def time_of(this: str) -> datetime:
    """When a TypeID was made, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=int.from_bytes(uuid_of(this)) >> 80)


def uuid_of(this: str) -> bytes:
    """The 16 bytes that a TypeID names."""
    value = 0
    for character in this.rpartition("_")[2]:
        value = value << 5 | _ALPHABET.index(character)
    return value.to_bytes(16)


def id_of(prefix: str, uuid: bytes) -> str:
    """The TypeID that names these 16 bytes."""
    return _id(prefix, int.from_bytes(uuid))


def _id(prefix: str, value: int) -> str:
    return f"{prefix}_{''.join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])}"


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` is a TypeID with exactly this prefix."""
    return re.fullmatch(rf"{prefix}_{SUFFIX}", text) is not None
