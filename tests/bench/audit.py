"""Verification of a whole log's bundle against hashlib alone on the lines of the same file."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from hashlib import sha256
from pathlib import Path

from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.bundles import verify_bundle
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.exporting import finish, unfinished
from keyfold_client.audit.manifests import CHECKPOINT, LEAVES, RECORDS
from keyfold_client.audit.memory import Memory
from keyfold_client.audit.merkle import leaf_hashes
from keyfold_client.audit.records import Line
from keyfold_client.audit.trust import Asked

from .measure import Outcome, Side, compared
from .profiling import profile
from .stage import Stage

_PADDING = "Abcdefghijklmnopqrstuvwxyz0123456789" * 11
"""As much as makes a record as long as they are on average."""


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted."""
    if not stage.options.wants("audit-verify"):
        return
    count = 50_000 if stage.options.quick else 200_000
    records = [_record(number) for number in range(1, count + 1)]
    bundle = _bundle(stage.folder / "log", records)
    ours: Side = partial(_timed, partial(_verify, bundle), count)
    theirs: Side = partial(_timed, partial(_hash, bundle / RECORDS), count)
    figures = await stage.interleaved({"ours": ours, "theirs": theirs})
    yield compared("audit-verify", figures["ours"], figures["theirs"])
    if stage.options.profile:
        await profile("audit-verify", ours)


def _record(number: int) -> bytes:
    said = {"number": number, "id": f"evt_{number:026}", "stream": f"key_{number:026}", "type": "key.issued.v1"}
    whole = {**said, "data": {"workspaceId": f"ws_{1:026}", "purpose": _PADDING}}
    return json.dumps(whole, separators=(",", ":")).encode()


def _bundle(out: Path, records: list[bytes]) -> Path:
    signer, leaves = Signer("log.example/bench", bytes(32)), leaf_hashes(records)
    checkpoint = Checkpoint(signer.name, len(records), grow(0, {}, leaves).root)
    note = signed_note(checkpoint.text, [signer]).encode()
    part = unfinished(out)
    part.mkdir()
    (part / CHECKPOINT).write_bytes(note)
    (part / LEAVES).write_bytes(b"".join(leaves))
    with (part / RECORDS).open("wb") as file:
        file.writelines(bytes(Line(position, record)) for position, record in enumerate(records, 1))
    finish(out, note, [signer.verifier_key], None, len(records), (CHECKPOINT, RECORDS, LEAVES))
    return out


async def _timed(work: partial[None], count: int) -> float:
    """Records a second."""
    started = time.perf_counter()
    await asyncio.to_thread(work)
    return count / (time.perf_counter() - started)


def _verify(bundle: Path) -> None:
    """By an auditor who sees the log for the first time, and remembers all of it."""
    with tempfile.TemporaryDirectory() as state:
        verify_bundle(bundle, Asked(), lambda origin: Memory(Path(state), origin))


def _hash(file: Path) -> None:
    with file.open("rb") as lines:
        for line in lines:
            sha256(line).digest()
