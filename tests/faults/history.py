"""What was asked of a system and what came of it: the history that is recorded, and what is found afterwards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

Result = Literal["ok", "refused", "unknown"]
"""`unknown`: nobody was answered, or was told that nobody knows (503)."""


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One invocation. `began` and `ended` are seconds of the machine's monotonic clock.

    Attempts with the same `command` are one command, and carry its idempotency key; `request` is the request id, by
    which its facts are found in the log. `key` is the access key that it changes, asks about or uses.
    """

    what: str
    began: float
    ended: float
    result: Result
    code: str = ""
    key: str = ""
    command: str = ""
    request: str = ""
    position: int = 0
    replayed: bool = False
    made: tuple[str, ...] = ()
    event: str = ""
    topic: str = ""
    sequence: int = 0


class Fault(msgspec.Struct, frozen=True):
    """What was broken, from when until all was said to be well again."""

    what: str
    began: float
    ended: float


class Fact(NamedTuple):
    """A row of the log. `request` is the correlation id of its record."""

    position: int
    stream: str
    version: int
    type: str
    request: str
    record: bytes


class Stored(NamedTuple):
    """An app event in its stream."""

    sequence: int
    key: str
    event: str


class Checkpoint(NamedTuple):
    """One that somebody has seen."""

    size: int
    root: bytes


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What there is when all is well again.

    `asked_from` is the first position that clients can have brought about; `lifecycle` the messages of that stream by
    their sequences; `received` the events that each consumer got which was never revoked; `differences` those of a
    projection from a fresh fold of the log; `newest` the checkpoint at the end; `standing` what each API says of each
    access key at last: the codes of its verifications.
    """

    asked_from: int
    facts: Sequence[Fact]
    lifecycle: Sequence[tuple[int, bytes]]
    stored: Sequence[Stored]
    received: Mapping[str, frozenset[str]]
    differences: Mapping[str, Sequence[object]]
    checkpoints: Sequence[Checkpoint]
    newest: Checkpoint
    standing: Mapping[str, Sequence[str]]


class History:
    """All calls in the order of their ends, and the faults meanwhile."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []

    def write(self, file: Path) -> None:
        """One JSON object a line."""
        lines = [*self.calls, *self.faults]
        file.write_bytes(msgspec.json.Encoder().encode_lines(sorted(lines, key=lambda each: each.began)))
