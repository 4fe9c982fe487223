"""Rotation: a successor with all that the old key has, while that one retires without a lost request."""

import msgspec

from keyfold.app.access import Caller
from keyfold.app.keys import demand_reach, issue_key
from keyfold.app.owners import keep_owners
from keyfold.app.views import IssuedKeyView, KeyView, RotationView
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import key, partner
from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER
from keyfold.domain.key_state import Key
from keyfold.domain.policy import LONGEST_OVERLAP, KeyPolicy, OverlapStarts
from keyfold.domain.refusals import Invalid


class Overlap(msgspec.Struct, frozen=True):
    """How long the old key goes on, and from when; what is left out is as the policy says."""

    seconds: int | None = None
    starts: OverlapStarts | None = None


class Rotation:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def rotate(self, caller: Caller, key_id: str, overlap: Overlap) -> Answer[RotationView]:
        """Issues a successor. At most two of a line live: a successor that nobody has used yet is taken back, and a
        predecessor that is still retiring retires now."""
        if not 0 <= (overlap.seconds or 0) <= LONGEST_OVERLAP.total_seconds():
            raise Invalid("An overlap lasts 30 days at the most.", ("/overlapSeconds", "Give 0 to 2592000."))

        async def command(work: Work) -> RotationView:
            this = await work.load(KEY, key_id)
            caller.demand_sight(KEY.word, this)
            if caller.key_id is None:  # a key that rotates itself gains nothing by it
                await demand_reach(work, caller, this)
            policy = await policy_of(work, this)
            successor_id = work.new_id("key")
            replaced = await _unused_successor(work, this)
            retiring = key.RotateKey(
                successor_id=successor_id,
                overlap_seconds=policy.overlap_seconds if overlap.seconds is None else overlap.seconds,
                overlap_starts=overlap.starts or policy.overlap_starts,
                replaces=replaced.id if replaced else None,
            )
            old = work.append(KEY, key_id, key.decide(this, retiring, work.now))
            if replaced is not None and not replaced.has_ended(work.now):
                taken_back = key.RevokeKey("superseded by another rotation before it was used")
                events = key.decide(replaced, taken_back, work.now)
                work.append(KEY, replaced.id, events, because=work.newest(key_id))
            await _retire_predecessor(work, this)
            delegates = (*this.delegates, *(replaced.delegates if replaced else ()))
            issued = await issue_in_place(work, this, successor_id, policy, rotated=True, delegates=delegates)
            await keep_owners(work, this, old)
            if replaced is not None:  # only now that there is an owner's key in its place
                await keep_owners(work, replaced, await work.load(KEY, replaced.id))
            fields = {name: getattr(issued, name) for name in IssuedKeyView.__struct_fields__}
            return RotationView(predecessor=KeyView.of(old, work.now), **fields)

        return await self._office.carry_out(caller.cause, RotationView, command)

    async def note_first_use(self, cause: Cause, key_id: str) -> None:
        """The successor of a rotation is in use: an overlap that starts with that begins now."""

        async def command(work: Work) -> KeyView:
            this = await work.load(KEY, key_id)
            first = key.decide(this, key.NoteFirstUse(), work.now)
            used = work.append(KEY, key_id, first)
            if first and this.predecessor_id is not None:
                old = await work.load(KEY, this.predecessor_id)
                retiring = key.decide(old, key.BeginRetiring(), work.now)
                work.append(KEY, old.id, retiring, because=work.newest(key_id))
            return KeyView.of(used, work.now)

        await self._office.carry_out(cause, KeyView, command)


async def issue_in_place(
    work: Work, this: Key, new_id: str, policy: KeyPolicy, *, rotated: bool = False, delegates: tuple[str, ...] = ()
) -> IssuedKeyView:
    """A key that stands where this one stands, with the same document and never a later end: its successor, which can
    be used at once and takes over what was delegated, or a key of its own."""
    because = work.newest(this.id)
    if this.partner_id is not None:
        holder = await work.load(PARTNER, this.partner_id)
        work.append(PARTNER, holder.id, partner.decide(holder, partner.AddKey(new_id)), because=because)
    if this.parent_id is not None:
        parent = await work.load(KEY, this.parent_id)
        work.append(KEY, parent.id, key.decide(parent, key.Delegate(new_id), work.now), because=because)
    live = [each for each in [await work.load(KEY, of) for of in delegates] if not each.has_ended(work.now)]
    for each in live:
        work.append(KEY, each.id, key.decide(each, key.Adopt(new_id), work.now), because=because)
    document = msgspec.structs.replace(this.document, not_before=None) if rotated else this.document
    ends = min((each for each in (this.expires_at, policy.expiry(work.now)) if each is not None), default=None)
    new = key.IssueKey(
        key_id=new_id,
        workspace_id=this.workspace_id,
        kind=this.kind,
        document=msgspec.structs.replace(document, expires_at=ends),
        integration_id=this.integration_id,
        partner_id=this.partner_id,
        environment=this.environment,
        upkeep=policy.upkeep(work.now),
        parent_id=this.parent_id,
        depth=this.depth,
        predecessor_id=this.id if rotated else None,
        delegates=tuple(each.id for each in live),
        line_id=this.line,
    )
    return await issue_key(work, new, because=because)


async def policy_of(work: Work, this: Key) -> KeyPolicy:
    """The policy that a key in the place of this one lives by; keys that manage have the one of defaults. Raises
    `KeyUnusable` where nothing can be issued any more."""
    if this.kind != "service" or this.integration_id is None or this.environment is None:
        return KeyPolicy()
    offers = (await work.load(INTEGRATION, this.integration_id)).terms.environments
    if this.environment not in offers:
        raise key.KeyUnusable("The integration doesn't offer this environment any more, so no key can be issued in it.")
    return offers[this.environment].policy


async def _unused_successor(work: Work, this: Key) -> Key | None:
    """The successor of an earlier rotation, to be taken back. None where somebody uses it."""
    if this.succession is None:
        return None
    successor = await work.load(KEY, this.succession.successor_id)
    if successor.first_used_at is not None and not successor.has_ended(work.now):
        return None
    return successor


async def _retire_predecessor(work: Work, this: Key) -> None:
    if this.predecessor_id is not None:
        before = await work.load(KEY, this.predecessor_id)
        retired = key.decide(before, key.RetireNow(), work.now)
        work.append(KEY, before.id, retired, because=work.newest(this.id))
