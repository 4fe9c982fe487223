"""Limits of what people may write down with a thing, the same on every road into the domain."""

import re
from collections.abc import Iterator
from typing import Any

from keyfold.domain.record import encode

NAME_LENGTH = 256
DESCRIPTION_LENGTH = 4096
METADATA_BYTES = 16 * 1024
METADATA_LEVELS = 8
INTEGERS = range(-(2**63), 2**64)
"""What fits into 64 bits, signed or not: what other readers of the record can hold."""

Fault = tuple[str, str]
"""A JSON pointer and a sentence, as `Invalid` takes them."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_CONTROLS_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def text_faults(pointer: str, text: str | None, *, most: int, lines: bool = False) -> Iterator[Fault]:
    """What is wrong with a text of up to `most` characters; with `lines` it may have line breaks and tabs."""
    if text is not None and len(text) > most:
        yield pointer, f"This may have {most} characters at the most."
    if text is not None and (_CONTROLS_IN_LINES if lines else _CONTROLS).search(text):
        yield pointer, "This has a control character."


def metadata_faults(pointer: str, metadata: object) -> Iterator[Fault]:
    """The first thing that is wrong with an object of the client's own making."""
    if isinstance(metadata, dict):
        yield from json_faults(pointer, metadata, most=METADATA_BYTES, levels=METADATA_LEVELS)
    else:
        yield pointer, "This must be an object."


def json_faults(pointer: str, value: object, *, most: int, levels: int) -> Iterator[Fault]:
    """The first thing that keeps a JSON value of up to `most` bytes from being written down and read by everybody."""
    fault = _fault(pointer, value, 1, levels)
    if fault is None and len(encode(value)) > most:
        fault = pointer, f"This may have {most} bytes as JSON at the most."
    if fault is not None:
        yield fault


def _fault(pointer: str, value: Any, level: int, levels: int) -> Fault | None:
    match value:
        case dict() | list() if level > levels:
            return pointer, f"This may be nested {levels} levels deep at the most."
        case dict():
            inner = [(str(name), each) for name, each in value.items()]
        case list():
            inner = [(str(index), each) for index, each in enumerate(value)]
        case str() if "\0" in value:
            return pointer, "This has a NUL character."
        case int() if value not in INTEGERS:
            return pointer, "This number doesn't fit into 64 bits. Send it as a string."
        case _:
            return None
    if any("\0" in name for name, _ in inner):
        return pointer, "A name in this has a NUL character."
    deeper = (_fault(f"{pointer}/{_escaped(name)}", each, level + 1, levels) for name, each in inner)
    return next((fault for fault in deeper if fault), None)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
