"""An export that is written to a file: whole lines only, and gone on with where it was left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from keyfold.cli.client import Client

PATH = "/api/v1/audit/export"
_TAIL = 1 << 20
"""A line is never longer."""


class _Placed(msgspec.Struct):
    """Where a line of each format says its position."""

    position: int | None = None
    record: msgspec.Raw = msgspec.Raw()
    metadata: dict[str, Any] = {}
    event: dict[str, Any] = {}

    def place(self) -> int | None:
        place = self.position or self.metadata.get("sequence") or self.event.get("sequence")
        return place if isinstance(place, int) else None

    def format(self) -> str:
        if self.position is None:
            return "ocsf" if self.metadata else "ecs"
        return "records" if self.record else "ndjson"


_decode = msgspec.json.Decoder(_Placed).decode


class Download:
    """`last` is the position up to which the file is whole by now. Raises `click.ClickException` for a file of another
    kind, or one that says itself where it goes on."""

    def __init__(self, file: Path, format_: str, after: int | None) -> None:
        self._file = file
        self._format = format_
        found = _last_position(file, format_)
        if found is not None and after is not None:
            raise click.UsageError(f"{file} is there already, and goes on behind position {found}: leave --after out.")
        self.is_resumed = found is not None
        self.after = self.last = found if found is not None else after or 0

    def run(self, client: Client, wanted: dict[str, Any], progress: Callable[[int, int], None]) -> int:
        """Writes, and gives the number of events. Raises `click.ClickException` where it was cut off."""
        written = 0
        given = {**wanted, "format": self._format, "after": self.after}
        with self._file.open("ab") as file, client.download(PATH, **given) as (until, chunks):
            rest = b""
            for chunk in chunks:
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    file.write(whole + newline)
                    written += whole.count(b"\n") + 1
                    last = _placed(whole.rpartition(b"\n")[2])
                    self.last = (last and last.place()) or self.last
                    progress(self.last, until)
            self.last = max(self.last, until)
            progress(until, until)
        return written


def _placed(line: bytes) -> _Placed | None:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _last_position(file: Path, format_: str) -> int | None:
    """The position of the last whole line; what follows it is cut off. None where there is no line. Raises
    `click.ClickException` for a file that isn't of the format: nothing of it is changed then."""
    if not file.exists() or not file.stat().st_size:
        return None
    with file.open("r+b") as opened:
        whole, newline, rest = _tail(opened).rpartition(b"\n")
        found = _placed(whole.rpartition(b"\n")[2]) if newline else None
        place = found.place() if found else None
        if place is None and (newline or not rest.startswith(b'{"')):
            raise click.ClickException(f"{file} is no export: its last line has no position.")
        if found is not None and found.format() != format_:
            raise click.UsageError(f"{file} has lines of the format {found.format()}: name it, or another file.")
        if rest:
            opened.truncate(file.stat().st_size - len(rest))
    return place


def _tail(opened: BinaryIO) -> bytes:
    size = opened.seek(0, 2)
    opened.seek(max(0, size - _TAIL))
    return opened.read()
