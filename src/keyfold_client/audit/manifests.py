"""What a bundle says of itself, and what its files are called: see `bundles`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._strict import count_of
from .trust import LackingError

FORMAT = "keyfold-bundle/1"
MANIFEST, CHECKPOINT, RECORDS = "manifest.json", "checkpoint", "records.ndjson"
LEAVES, PROOFS, CONSISTENCY, READABLE = "leaf-hashes", "proofs.ndjson", "consistency.ndjson", "readable.ndjson"
LARGEST = 1_000_000
"""Bytes of a manifest, and of a checkpoint."""
_WHOLE = (CHECKPOINT, RECORDS, LEAVES)
_PART = (CHECKPOINT, RECORDS, PROOFS, CONSISTENCY)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself. `workspace_id` is None for a whole log; `files` are SHA-256 sums in hex."""

    origin: str
    vkeys: tuple[str, ...]
    workspace_id: str | None
    size: int
    records: int
    made_at: str
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """`LackingError` where the folder is no bundle, or lacks a file."""
        try:
            with (folder / MANIFEST).open("rb") as file:
                given = json.loads(file.read(LARGEST))
            if given["format"] != FORMAT:
                raise LackingError(f"{folder} is of the format {given['format']}, this understands {FORMAT}.")
            workspace_id = None if given["workspace"] == "all" else _text(given["workspace"])
            files = {name: _text(each["sha256"]) for name, each in given["files"].items()}
            made = cls(
                _text(given["origin"]),
                tuple(map(_text, given["vkeys"])),
                workspace_id,
                count_of(given["size"]),
                count_of(given["records"]),
                _text(given["madeAt"]),
                files,
            )
        except OSError as error:
            raise LackingError(f"{folder} is no bundle: {MANIFEST} can't be read ({error.strerror}).") from None
        except KeyError as error:
            raise LackingError(f"{folder} is no bundle: {MANIFEST} lacks the member {error.args[0]}.") from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            why = error if type(error) is ValueError else "it isn't JSON of its form"
            raise LackingError(f"{folder} is no bundle: {MANIFEST} can't be read ({why}).") from None
        for name in made.needed:
            if not (folder / name).is_file():
                raise LackingError(f"{folder} lacks {name}. Get the bundle again, whole.")
        return made

    @property
    def needed(self) -> tuple[str, ...]:
        return _WHOLE if self.workspace_id is None else _PART

    def as_json(self, sizes: dict[str, int]) -> dict[str, Any]:
        files = {name: {"bytes": sizes[name], "sha256": digest} for name, digest in self.files.items()}
        return {
            "format": FORMAT,
            "origin": self.origin,
            "vkeys": [*self.vkeys],
            "workspace": self.workspace_id or "all",
            "size": self.size,
            "records": self.records,
            "madeAt": self.made_at,
            "files": files,
        }


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"not a text: {json.dumps(value)[:40]}")
