"""One record, and the proof that it is what was signed."""

from base64 import b64encode
from typing import NamedTuple

from keyfold.domain.refusals import NotFound
from keyfold.store.tree import TreeStore
from keyfold.web.auth import caller, services
from keyfold.web.console.pages import Req
from keyfold.web.v1.trail import within_trail
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.merkle import inclusion_proof, leaf_hash
from keyfold_client.audit.notes import parse_note
from keyfold_client.audit.proofs import Proof


class Proved(NamedTuple):
    """A record as it stands in the log, with its proof; None while no checkpoint holds it."""

    record: str
    leaf: str
    proof: Proof | None
    checkpoint: Checkpoint | None

    @property
    def hashes(self) -> list[str]:
        """From the leaf's sibling up to the root's child, in base64."""
        return [b64encode(each).decode() for each in self.proof.hashes] if self.proof else []

    @property
    def root(self) -> str:
        return b64encode(self.checkpoint.root).decode() if self.checkpoint else ""


async def proved(request: Req, position: int) -> Proved:
    """The record there, if the caller may read it. Raises `NotFound`, `Unavailable`."""
    by, of = await caller(request), services(request)
    found = await of.lists.trail(by.workspace_id, within_trail(by, {}), after=position - 1, until=position, limit=1)
    if not found:
        raise NotFound.of("event", f"at {position}")
    record = found[0][1]
    leaf = leaf_hash(record.encode())
    store = TreeStore(of.postgres)
    signed = await store.shown()
    if signed is None or signed.size < position:
        return Proved(record, b64encode(leaf).decode(), None, None)
    note = signed.cosigned_note.encode()
    checkpoint = Checkpoint.parse(parse_note(note).text)
    index = position - 1
    path = await store.prove(signed.size, signed.root, lambda nodes: inclusion_proof(index, signed.size, nodes))
    proof = Proof(index, tuple(path), note, record.encode())
    return Proved(record, b64encode(leaf).decode(), proof, checkpoint)
