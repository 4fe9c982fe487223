"""One record, proved by one file of a few KB that needs no log: c2sp.org/tlog-proof, with the record as its `extra`."""

from collections.abc import Callable
from pathlib import Path

from .memory import Memory
from .merkle import ProofError, leaf_hash, root
from .notes import NoteError
from .proofs import LARGEST_PROOF, Proof
from .trust import AlteredError, Asked, LackingError, Verified, parsed_checkpoint


def verify_record(file: Path, asked: Asked, remember: Callable[[str], Memory]) -> tuple[Verified, int, bytes]:
    """What vouches for the record, its position, and the record; `AlteredError`, `LackingError`.

    It may be older than what was seen since, of which it must be a part then.
    """
    with file.open("rb") as opened:
        data = opened.read(LARGEST_PROOF + 1)
    try:
        proof = Proof.parse(data)
    except ProofError as error:
        raise LackingError(f"{file} is no bundle, no proof and no address: {error}.") from None
    position, memory = proof.index + 1, remember(parsed_checkpoint(proof.checkpoint).origin)
    trust = asked.trust(proof.checkpoint, memory.vkeys, ())
    signed = trust.open(proof.checkpoint)
    try:
        proof.verify(leaf_hash(proof.extra), trust.log)
    except (ProofError, NoteError):
        raise AlteredError(
            "The record isn't the one that was signed here, or its proof isn't this log's.", position
        ) from None
    known, size = memory.checkpoint, signed.checkpoint.size
    if known is not None and size <= max(memory.hashed, known.size if known.size == size else 0):
        seen = known.root if known.size == size else root(size, memory.node)
        if seen != signed.checkpoint.root:
            raise AlteredError("The log was forked: what was seen of it has another tree at this size.", position)
    since = min(memory.size, size)
    return Verified(signed, trust.signers(signed), 1, None, trust.first_use, since), position, proof.extra
