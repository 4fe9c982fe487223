"""Readers that take one spelling of a value and no other, so that what was signed can't be written in a second way."""

import base64
import binascii
import re

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
LARGEST = 2**63 - 1
"""What sizes, indexes and times may be at most: the specifications count in 63 bits."""


def decimal(text: str) -> int:
    """An ASCII decimal from 0 to `LARGEST` without sign or leading zeros; `ValueError` otherwise."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > LARGEST:
        raise ValueError(f"not a plain decimal: {text[:40]!r}")
    return value


def unbase64(text: str) -> bytes:
    """The bytes behind standard padded base64 (RFC 4648 section 4) in its canonical form; `ValueError` otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise ValueError(f"not canonical base64: {text[:40]!r}")
    return data


def hash_of(text: str) -> bytes:
    """A SHA-256 hash in base64; `ValueError` otherwise."""
    if len(data := unbase64(text)) != 32:
        raise ValueError(f"not a hash of 32 bytes: {text[:60]!r}")
    return data
