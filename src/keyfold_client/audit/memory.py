"""What an auditor has seen of a log, kept in a folder, so that the next look can demand that it still holds.

A folder for each origin: `state.json` has the last checkpoint and the keys that signed it, `hashes` the leaf hashes of
all that was checked against it, 32 bytes each, and `workspaces/<id>` the place and leaf hash of each of a workspace's
records, 40 bytes each. What stands behind the counts of `state.json` is left of a look that didn't end: worth nothing.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from .checkpoints import Checkpoint
from .merkle import Frontier, ProofError
from .trust import AlteredError, LackingError, parsed_checkpoint

_HASH = 32
_ENTRY = 40
_SLICE = 4096


class Entry(NamedTuple):
    """Where a record of a workspace is, and its leaf hash."""

    position: int
    leaf: bytes


@dataclass(frozen=True)
class _State:
    origin: str
    checkpoint: str = ""
    vkeys: list[str] = field(default_factory=list)
    hashed: int = 0
    frontier: list[str] = field(default_factory=list)
    workspaces: dict[str, int] = field(default_factory=dict)
    readers: dict[str, str] = field(default_factory=dict)


class Memory:
    """What is remembered of the log called `origin`, below `folder`. `LackingError` where it can't be read."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder / f"{quote(origin, safe='')[:80]}-{sha256(origin.encode()).hexdigest()[:8]}"
        self._file = self.folder / "state.json"
        try:
            self._state = _State(**json.loads(self._file.read_bytes())) if self._file.exists() else _State(origin)
            nodes = [b64decode(each) for each in self._state.frontier]
            self.frontier = Frontier(self._state.hashed, nodes)
            self.checkpoint = parsed_checkpoint(self._state.checkpoint.encode()) if self._state.checkpoint else None
            self._demand_sound()
        except (OSError, ValueError, TypeError, AttributeError, AlteredError) as error:
            raise LackingError(
                f"What was remembered in {self.folder} can't be read ({error}). Restore it, or begin anew by deleting "
                "it: then nothing is known of earlier checkpoints."
            ) from None

    def _demand_sound(self) -> None:
        size = 0 if self.checkpoint is None else self.checkpoint.size
        if self._state.hashed > size or (self.hashes_file.stat().st_size if self.hashed else 0) < self.hashed * _HASH:
            raise ValueError("it lacks hashes")
        if self.checkpoint and self.hashed == size and self.frontier.root() != self.checkpoint.root:
            raise ProofError("its hashes aren't those of its checkpoint")

    @property
    def hashes_file(self) -> Path:
        return self.folder / "hashes"

    @property
    def hashed(self) -> int:
        """How many leaf hashes are kept: those of leaves 0 to here."""
        return self._state.hashed

    @property
    def size(self) -> int:
        """Of the last checkpoint; 0 before the first."""
        return 0 if self.checkpoint is None else self.checkpoint.size

    @property
    def vkeys(self) -> tuple[str, ...]:
        return tuple(self._state.vkeys)

    def hashes(self, start: int, end: int) -> bytes:
        """The kept hashes of leaves `start` to `end`, as far as there are any."""
        end = min(end, self.hashed)
        if start >= end:
            return b""
        with self.hashes_file.open("rb") as file:
            file.seek(start * _HASH)
            return file.read((end - start) * _HASH)

    def node(self, level: int, index: int) -> bytes:
        """A subtree of what was kept, as `merkle.Nodes`."""
        frontier, end = Frontier(), (index + 1) << level
        for start in range(index << level, end, _SLICE):
            data = self.hashes(start, min(start + _SLICE, end))
            frontier.extend(data[at : at + _HASH] for at in range(0, len(data), _HASH))
        return frontier.root()

    def workspace_of(self, reader: str) -> str | None:
        """The workspace that a key, by its id, reads the records of, if it was seen before."""
        return self._state.readers.get(reader)

    def entries(self, workspace_id: str) -> list[Entry]:
        """Of a workspace's records, numbers 1, 2, 3 …"""
        count = self._state.workspaces.get(workspace_id, 0)
        if not count:
            return []
        data = self._workspace_file(workspace_id).read_bytes()[: count * _ENTRY]
        if len(data) < count * _ENTRY:
            raise LackingError(
                f"{self._workspace_file(workspace_id)} was cut off. Restore {self.folder}, or delete it."
            )
        return [
            Entry(int.from_bytes(data[at : at + 8]), data[at + 8 : at + _ENTRY]) for at in range(0, len(data), _ENTRY)
        ]

    def _workspace_file(self, workspace_id: str) -> Path:
        return self.folder / "workspaces" / quote(workspace_id, safe="")

    def demand_growth(self, checkpoint: Checkpoint) -> None:
        """That the log hasn't become smaller. `AlteredError`."""
        if checkpoint.size < self.size:
            raise AlteredError(
                f"The log has {checkpoint.size:,} records and had {self.size:,} when it was last seen: from here on "
                "they are gone. Was an older backup restored? (A bundle that was made back then is checked with a "
                "--state of its own.)",
                checkpoint.size + 1,
            )

    def demand_same(self, workspace_id: str, entries: Sequence[Entry]) -> None:
        """That a workspace's records are where they were, as they were, all of them. `AlteredError`."""
        known = self.entries(workspace_id)
        for number, (old, new) in enumerate(zip(known, entries, strict=False), 1):
            if old != new:
                place = min(old.position, new.position)
                raise AlteredError(f"Record {number} of {workspace_id} isn't what it was when it was last seen.", place)
        if len(entries) < len(known):
            raise AlteredError("This record was there when it was last seen.", known[len(entries)].position)

    @contextmanager
    def keeping(self) -> Iterator[BinaryIO]:
        """The file of hashes, to write on from where they end. Nothing counts before `keep` has said so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.hashes_file.open("r+b" if self.hashes_file.exists() else "w+b") as file:
            file.truncate(self.hashed * _HASH)
            file.seek(0, 2)
            yield file
            file.flush()
            os.fsync(file.fileno())

    def keep(
        self,
        note: bytes,
        vkeys: Sequence[str],
        frontier: Frontier | None = None,
        workspace: tuple[str, Sequence[Entry], str | None] | None = None,
    ) -> None:
        """Remembers a checkpoint, the keys that count from now on, and what was verified against it: all leaves (whose
        hashes are written), one workspace's records (its id, all of them, and the id of the key that reads them)."""
        state = replace(self._state, checkpoint=note.decode(), vkeys=[*vkeys])
        if frontier is not None:
            nodes = [b64encode(each).decode() for each in frontier.nodes]
            state = replace(state, hashed=frontier.size, frontier=nodes)
            self.frontier = frontier
        self.folder.mkdir(parents=True, exist_ok=True)
        if workspace is not None:
            workspace_id, entries, reader = workspace
            file = self._workspace_file(workspace_id)
            file.parent.mkdir(exist_ok=True)
            _replace(file, b"".join(each.position.to_bytes(8) + each.leaf for each in entries))
            state = replace(state, workspaces={**state.workspaces, workspace_id: len(entries)})
            if reader is not None:
                state = replace(state, readers={**state.readers, reader: workspace_id})
        _replace(self._file, json.dumps(asdict(state), indent=1).encode())
        self._state, self.checkpoint = state, parsed_checkpoint(note)


def _replace(file: Path, content: bytes) -> None:
    """Writes all of it, or nothing."""
    temporary = file.with_name(f"{file.name}.new")
    with temporary.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def state_folder() -> Path:
    """Where it is kept unless somebody says otherwise."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "keyfold" / "audit"
