"""Records as they are exported: lines of exactly `{"position":N,"record":…}`, the record's own bytes in between.

Those bytes are what is hashed, so a line is never decoded and written again: every byte of it is either of the record,
or given by the form.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice, repeat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .trust import AlteredError

BLOCK = 4096
"""Lines that are read at once."""
_LINE = re.compile(rb'\{"position":([1-9][0-9]{0,18}),"record":(\{[^\n]*\})\}\n')
_NUMBER = re.compile(rb'\{"number":([1-9][0-9]{0,18}),"')


class Line(NamedTuple):
    """A record at its position, 1, 2, 3 … of the log."""

    position: int
    record: bytes

    @classmethod
    def parse(cls, line: bytes) -> "Line | None":
        """From a line with its newline; None where it isn't exactly of the form."""
        found = _LINE.fullmatch(line)
        return cls(int(found[1]), found[2]) if found else None

    def __bytes__(self) -> bytes:
        return b'{"position":%d,"record":%b}\n' % self


class Place(NamedTuple):
    """What a record says of itself: which record of which workspace it is."""

    number: int
    workspace_id: str


def place_of(record: bytes) -> Place | None:
    """None where the record doesn't begin with its number, or isn't of a workspace."""
    found = _NUMBER.match(record)
    try:
        data = json.loads(record)["data"]
        return Place(int(found[1]), data["workspaceId"]) if found and isinstance(data["workspaceId"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def whole_log(file: BinaryIO) -> Iterator[list[bytes]]:
    """Leaf hashes of a file that holds positions 1, 2, 3 … without a gap, some thousand at a time.

    `AlteredError` names the first position whose line isn't there as it has to be.
    """
    position = 1
    # as many at a time as have equally long positions, so that their records begin at one place
    while lines := list(islice(file, min(BLOCK, 10 ** len(str(position)) - position))):
        begin = len(b'{"position":%d,"record":' % position)
        heads = map(b'{"position":%d,"record":'.__mod__, range(position, position + len(lines)))
        if not (all(map(bytes.startswith, lines, heads)) and all(map(bytes.endswith, lines, repeat(b"}}\n")))):
            _complain(lines, position)
        # the form of a leaf's hash is written out here: a call for each would be a tenth of the whole time
        yield [sha256(b"\0" + line[begin:-2]).digest() for line in lines]
        position += len(lines)


def _complain(lines: list[bytes], position: int) -> None:
    for expected, text in enumerate(lines, position):
        line = Line.parse(text)
        if line is None:
            raise AlteredError("Its line isn't of the form that records are exported in, or was cut off.", expected)
        if line.position != expected:
            where = "is missing" if line.position > expected else "is followed by another place"
            raise AlteredError(f"It {where}: position {line.position} stands there instead.", expected)


def lines_of(path: Path) -> Iterator[bytes]:
    """Lines with their newlines; the last may lack it."""
    with path.open("rb") as file:
        yield from file
