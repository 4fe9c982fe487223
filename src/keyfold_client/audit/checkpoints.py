"""Checkpoints: what a log says of itself at one size, signed. c2sp.org/tlog-checkpoint."""

from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple, Self

from ._strict import decimal, hash_of
from .merkle import EMPTY
from .notes import COSIGNATURE, ED25519, NoteError, Signature, Verifier, check_text, open_note


class Checkpoint(NamedTuple):
    """The root of the log called `origin` when it had `size` leaves."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note; `NoteError` where it isn't exactly as the specification says."""
        lines = check_text(text).removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines):
            raise NoteError("a checkpoint is origin, size and root, a line each, and no line is empty")
        origin, size, root, *extensions = lines
        try:
            checkpoint = cls(origin, decimal(size), hash_of(root), tuple(extensions))
        except ValueError as error:
            raise NoteError(f"not a checkpoint: {error}") from None
        if checkpoint.size == 0 and checkpoint.root != EMPTY:
            raise NoteError("a log without records has another root")
        return checkpoint

    @property
    def text(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


class Signed(NamedTuple):
    """A checkpoint with the verified signatures of its log, and of witnesses that are known."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    cosignatures: tuple[Signature, ...]


def open_checkpoint(
    note: bytes, log: Sequence[Verifier], witnesses: Sequence[Verifier] = (), *, quorum: int = 0
) -> Signed:
    """The checkpoint in `note`, which a key of `log` has signed under the name that is its origin.

    `NoteError` where it isn't that, where a known key's signature is wrong, or where fewer than `quorum` of the
    `witnesses` have cosigned it (c2sp.org/tlog-cosignature). A key or a name is one witness, however often it comes.
    """
    if any(key.kind != ED25519 for key in log) or any(key.kind != COSIGNATURE for key in witnesses):
        raise NoteError("a log's key signs plainly (type 1), a witness's with a time (type 4)")
    opened = open_note(note, [*log, *witnesses])
    checkpoint = Checkpoint.parse(opened.text)
    own = {key.key_id for key in log if key.name == checkpoint.origin}
    signatures = tuple(each for each in opened.signatures if each.name == checkpoint.origin and each.key_id in own)
    if not signatures:
        raise NoteError(f"no key of {checkpoint.origin} that is known here has signed this checkpoint")
    cosignatures = tuple(each for each in opened.signatures if each.timestamp is not None)
    cosigners = [key for key in witnesses if (key.name, key.key_id) in {(by.name, by.key_id) for by in cosignatures}]
    count = min(len({key.name for key in cosigners}), len({key.key for key in cosigners}))
    if count < quorum:
        raise NoteError(f"{count} known witnesses have cosigned this checkpoint, {quorum} are needed")
    return Signed(checkpoint, signatures, cosignatures)
