"""Readers that take one spelling of a value and no other, so that what was signed can't be written in a second way."""

import base64
import binascii
import json
import re
from typing import Any

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
LARGEST = 2**63 - 1
"""What sizes, indexes and times may be at most: the specifications count in 63 bits."""


def decimal(text: str) -> int:
    """An ASCII decimal from 0 to `LARGEST` without sign or leading zeros; `ValueError` otherwise."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > LARGEST:
        raise ValueError(f"not a plain decimal: {text[:40]!r}")
    return value


def count_of(value: object) -> int:
    """A number of JSON that counts something, from 0 to `LARGEST`; `ValueError` for any other value."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"not a plain number: {json.dumps(value)[:40]}")
    return value


def members(line: bytes, *names: str) -> list[Any]:
    """The values of a JSON object that has just these members; `ValueError` otherwise."""
    try:
        given = json.loads(line, object_pairs_hook=_object)
    except RecursionError:
        given = None
    if not isinstance(given, dict) or {*given} != {*names}:
        raise ValueError(f"not an object of {', '.join(names)}")
    return [given[name] for name in names]


def list_of_hashes(value: object) -> list[bytes]:
    """SHA-256 hashes in base64; `ValueError` for anything else than a list of such."""
    if isinstance(value, list):
        return [hash_of(each) for each in value]
    raise ValueError("not a list of hashes")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(given := dict(pairs)) < len(pairs):
        raise ValueError("a member stands there twice")
    return given


def unbase64(text: str) -> bytes:
    """The bytes behind standard padded base64 (RFC 4648 section 4) in its canonical form; `ValueError` otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise ValueError(f"not canonical base64: {text[:40]!r}")
    return data


def hash_of(text: object) -> bytes:
    """A SHA-256 hash in base64; `ValueError` otherwise."""
    if not isinstance(text, str) or len(data := unbase64(text)) != 32:
        raise ValueError(f"not a hash of 32 bytes: {str(text)[:60]!r}")
    return data
