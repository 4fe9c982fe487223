"""The proof that one record is in the log, in one file that needs no log to be verified: c2sp.org/tlog-proof."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ._strict import decimal, hash_of, unbase64
from .checkpoints import Signed, open_checkpoint
from .merkle import ProofError, verify_inclusion
from .notes import Verifier

LARGEST_PROOF = 2_000_000
"""Bytes."""
_HEADER = "c2sp.org/tlog-proof@v1"
_FORM = re.compile(
    rb"c2sp\.org/tlog-proof@v1\n(?:extra ([!-~]+)\n)?index ([!-~]+)\n((?:[!-~]+\n){0,63})\n(.+)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Leaf `index` (from 0) is in the tree of the signed `checkpoint` (a whole note), to whose root `hashes` lead.

    `extra` is whatever helps to verify, such as the record itself. It is worth something once it hashes to the leaf.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def to_bytes(self) -> bytes:
        """The file, as `parse` reads it: a few KB, by convention named `*.tlog-proof`."""
        extra = [f"extra {b64encode(self.extra).decode()}"] if self.extra else []
        lines = [_HEADER, *extra, f"index {self.index}", *(b64encode(each).decode() for each in self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From a file; `ProofError` where it isn't exactly as the specification says. Nothing is verified yet."""
        if len(data) > LARGEST_PROOF or not (found := _FORM.fullmatch(data)):
            raise ProofError("not a proof of the form c2sp.org/tlog-proof@v1, or one too large")
        extra, index, hashes, checkpoint = found.groups()
        try:
            return cls(
                decimal(index.decode()),
                tuple(hash_of(each) for each in hashes.decode().split("\n")[:-1]),
                checkpoint,
                unbase64(extra.decode()) if extra else b"",
            )
        except ValueError as error:
            raise ProofError(f"not a proof: {error}") from None

    def verify(
        self, leaf: bytes, log: Sequence[Verifier], witnesses: Sequence[Verifier] = (), *, quorum: int = 0
    ) -> Signed:
        """The checkpoint that vouches for the leaf hash `leaf`; `NoteError` or `ProofError` where none does."""
        signed = open_checkpoint(self.checkpoint, log, witnesses, quorum=quorum)
        verify_inclusion(self.index, signed.checkpoint.size, leaf, self.hashes, signed.checkpoint.root)
        return signed
