"""Records as they are exported: lines of exactly `{"position":N,"record":…}`, the record's own bytes in between.

Those bytes are what is hashed, so a line is never decoded and written again: every byte of it is either of the record,
or given by the form.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice, repeat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .trust import AlteredError

UNPLACED = "The record was signed, but says neither its number nor its workspace."
BLOCK = 4096
"""Lines that are read at once."""
_LINE = re.compile(rb'\{"position":([1-9][0-9]{0,18}),"record":(\{[^\n]*\})\}\n')
_NUMBER = re.compile(rb'\{"number":([1-9][0-9]{0,18}),"')
_WORKSPACE = b'"data":{"workspaceId":"'
"""Inside of a string of JSON its quotes would be escaped: where it first stands, the event's data begins."""


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
    found, (_, _, rest) = _NUMBER.match(record), record.partition(_WORKSPACE)
    name, quote, _ = rest.partition(b'"')
    return Place(int(found[1]), name.decode(errors="backslashreplace")) if found and name and quote else None


def misplaced(number: int, wanted: int) -> str:
    """Why a workspace's record can't have this number, or nothing."""
    if number < wanted:
        return f"Number {number} was given twice: one of the two was forged."
    missing = f"{wanted}" if number == wanted + 1 else f"{wanted} to {number - 1}"
    return "" if number == wanted else f"Number {missing} of the workspace is missing"


class Numbers:
    """The numbers that the records of a whole log say, each workspace's for itself: 1, 2, 3 … `wrong` is the first
    position, and why, that a workspace's own auditor would find there."""

    def __init__(self) -> None:
        self.wrong: tuple[int, str] | None = None
        self._last = dict[bytes, int]()

    def follow(self, lines: list[bytes], position: int, begin: int) -> None:
        """Lines from a position on, whose records begin at `begin`."""
        last, before, shift = self._last, self._last.get, len(_WORKSPACE)
        for at, line in enumerate(lines, position):
            start = line.find(_WORKSPACE) + shift
            name = line[start : line.find(b'"', start)]
            last[name] = number = before(name, 0) + 1
            if start < shift or not name or not line.startswith(b'{"number":%d,"' % number, begin):
                self.wrong = self.wrong or (at, _wrong(line[begin:-2], number))


def _wrong(record: bytes, wanted: int) -> str:
    place = place_of(record)
    if place is None:
        return UNPLACED
    return f"{misplaced(place.number, wanted).removesuffix('.')}, in {place.workspace_id}."


def whole_log(file: BinaryIO, numbers: Numbers) -> Iterator[list[bytes]]:
    """Leaf hashes of a file that holds positions 1, 2, 3 … without a gap, some thousand at a time, whose `numbers` are
    followed.

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
        if numbers.wrong is None:
            numbers.follow(lines, position, begin)
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
