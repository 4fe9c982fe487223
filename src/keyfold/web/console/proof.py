"""The log's tree: its head, who has signed it, that it has only grown; and what to check it with elsewhere."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from keyfold.domain.refusals import Invalid, NotFound
from keyfold.store.tree import Signed, TreeStore
from keyfold.web.auth import services
from keyfold.web.console.asking import read
from keyfold.web.console.listing import asked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.proof_record import proved
from keyfold.web.v1.audit import chain_of
from keyfold.web.v1.common import LAST_POSITION
from keyfold.web.v1.trail import PERMISSION
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.merkle import consistency_proof
from keyfold_client.audit.notes import NoteError, Signature, Verifier, parse_note

Size = Annotated[int, msgspec.Meta(ge=1, le=LAST_POSITION)]
_TIMED = 72
"""Bytes of a cosignature: a time, and a signature of Ed25519."""
_CALENDAR = 253_402_300_800
"""Seconds from the epoch to the year 10000, which no `datetime` has."""


class Signer(NamedTuple):
    """Who has signed a checkpoint: with a key of the log's own, or as somebody else's witness, who says when. Without
    a `vkey` nobody here can tell whether it was that witness."""

    name: str
    vkey: str | None
    is_log: bool
    at: datetime | None
    is_good: bool = True


class Head(NamedTuple):
    """The newest checkpoint."""

    checkpoint: Checkpoint
    note: str
    signers: list[Signer]
    at: datetime

    @property
    def root(self) -> str:
        return b64encode(self.checkpoint.root).decode()

    @property
    def witnesses(self) -> list[Signer]:
        return [each for each in self.signers if not each.is_log]


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Between two sizes of the tree."""

    since: Size = msgspec.field(name="from")
    until: Size = msgspec.field(name="to")


@get("/proof", opt={"permission": PERMISSION})
async def proof_page(request: Req) -> Page:
    of = services(request)
    store = TreeStore(of.postgres)
    signed, keys, witnesses = await store.shown(), await store.keys(), await store.witness_keys()
    head = None if signed is None else head_of(signed, keys, witnesses, of.clock())
    return page(
        request,
        "console/proof.html",
        head=head,
        keys=keys,
        witnesses=witnesses,
        last=await of.journal.head(),
        public=of.settings.public_url,
    )


@get("/proof/consistency", opt={"permission": PERMISSION})
async def consistency(request: Req) -> Response[list[str]]:
    """The hashes that prove that the tree has only grown from one size to another, in base64."""
    store, wanted = TreeStore(services(request).postgres), read(Stretch, asked(request))
    signed = await store.newest()
    if signed is None or not wanted.since <= wanted.until <= signed.size:
        raise Invalid("The tree isn't so large.", ("?to", f"It has {signed.size if signed else 0} leaves."))
    start, end = wanted.since, wanted.until
    found = await store.prove(signed.size, signed.root, lambda nodes: consistency_proof(start, end, nodes))
    return Response([b64encode(each).decode() for each in found], headers={"Cache-Control": "no-store"})


@get("/audit/{event_id:str}/proof", opt={"permission": PERMISSION})
async def record_proof(request: Req, event_id: FromPath[str]) -> Response[bytes]:
    """The proof of one record as a file, c2sp.org/tlog-proof."""
    of = await proved(request, (await chain_of(request, event_id)).position)
    if of.proof is None:
        raise NotFound("No checkpoint holds this record yet. Try again in some seconds.")
    headers = {"Content-Disposition": f'attachment; filename="{event_id}.tlog-proof"', "Cache-Control": "no-store"}
    return Response(of.proof.to_bytes(), media_type="application/octet-stream", headers=headers)


def head_of(signed: Signed, keys: list[str], witnesses: list[str], now: datetime) -> Head:
    """With each signature judged by the key that it names, of the log's and its witnesses' verifier keys."""
    note = parse_note(signed.cosigned_note.encode())
    ours = [Verifier.parse(each) for each in keys]
    known = {(each.name, each.key_id): each for each in (*map(Verifier.parse, witnesses), *ours)}
    signers = [_signer(note.text, each, known.get((each.name, each.key_id)), ours) for each in note.signatures]
    at = now - timedelta(seconds=signed.age)
    return Head(Checkpoint.parse(note.text), signed.cosigned_note, [each for each in signers if each], at)


def _signer(text: str, of: Signature, key: Verifier | None, ours: list[Verifier]) -> Signer | None:
    """Whose signature it is, None for one that pretends to be the log's."""
    is_log = key in ours
    at = datetime.fromtimestamp(seconds, UTC) if not is_log and (seconds := _seconds(of.blob)) is not None else None
    if key is None:
        return Signer(of.name, None, False, at)
    try:
        key.verify(text, of)
    except NoteError:
        return None if is_log else Signer(of.name, key.vkey, False, at, is_good=False)
    return Signer(of.name, key.vkey, is_log, at)


def _seconds(cosignature: bytes) -> int | None:
    """When a witness says that it signed, in seconds since the epoch; None where no calendar has it."""
    seconds = int.from_bytes(cosignature[:8])
    return seconds if len(cosignature) == _TIMED and seconds < _CALENDAR else None
