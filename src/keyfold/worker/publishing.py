"""Where checkpoints go as soon as they are signed: to whoever hears them on NATS, and to a file."""

import asyncio
import os
from pathlib import Path

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import CHECKPOINT
from keyfold.store.tree import Signed
from keyfold.worker.loop import Halt
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.notes import NoteError, parse_note


class Publishing:
    """`file` is replaced whole each time; empty for none. `trouble` says why the last one couldn't be."""

    def __init__(self, bus: Bus, file: str) -> None:
        self._bus = bus
        self._file = Path(file) if file else None
        self._published = 0
        self.trouble = ""

    async def publish(self, size: int, note: str) -> None:
        """Nobody may rely on it: the checkpoint is kept, and comes again with the next."""
        if size <= self._published:
            return
        self._published = size
        await self._bus.tell(CHECKPOINT, note.encode())
        if self._file is not None:
            try:
                await asyncio.to_thread(_replace, self._file, note.encode())
                self.trouble = ""
            except OSError as error:
                self.trouble = f"the checkpoint can't be written to {self._file}: {error.strerror}"

    async def demand_known(self, newest: Signed | None) -> None:
        """That the file's checkpoint isn't beyond the newest one, nor another of its size. Raises `Halt`, `OSError`."""
        if self._file is None or not self._file.exists():
            return
        note = await asyncio.to_thread(self._file.read_bytes)
        try:
            shown = Checkpoint.parse(parse_note(note).text)
        except NoteError as error:
            raise Halt(f"{self._file} holds no checkpoint: {error}") from error
        size, root = (newest.size, newest.root) if newest else (0, b"")
        if shown.size > size:
            raise Halt(
                f"{self._file} has a checkpoint of {shown.size}, the log of {size}. Was an older backup restored?"
            )
        if shown.size == size and shown.root != root:
            raise Halt(f"{self._file} has another checkpoint of size {size} than the log: one of them was changed.")


def _replace(file: Path, content: bytes) -> None:
    fresh = file.with_name(f"{file.name}.new")
    with fresh.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    fresh.replace(file)
