"""The life of an access key after its birth: changed, suspended, reinstated, revoked, reported as compromised.

What ends or pauses a key does so, in the same transaction, with every key that was delegated by it.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from keyfold.app.access import Caller
from keyfold.app.keys import demand_reach, demand_role
from keyfold.app.owners import keep_owners
from keyfold.app.views import KeyView
from keyfold.app.work import Answer, Office, Work, demand_version
from keyfold.domain import key
from keyfold.domain.aggregates import INTEGRATION, KEY
from keyfold.domain.key import SuspendKey
from keyfold.domain.key_ceiling import Ceiling, demand_below
from keyfold.domain.key_events import Document, Suspender
from keyfold.domain.key_state import USABLE, Key
from keyfold.domain.policy import Offer
from keyfold.domain.refusals import Forbidden, Refusal

NOTHING = Offer(permitted=())
"""What an integration gives in an environment that it doesn't offer any more."""


class ParentSuspended(Refusal):
    code, status, title = "parent-suspended", 409, "The key above it is suspended"


class KeyLife:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def change(
        self, caller: Caller, key_id: str, document: Document, *, version: int, is_active: bool = True
    ) -> Answer[KeyView]:
        """Gives the key this document, if it is still at the version that the change was made from."""

        async def command(work: Work) -> KeyView:
            this = await self._load(work, caller, key_id)
            demand_version(work, key_id, version)
            await demand_reach(work, caller, this)
            changed = work.append(KEY, key_id, key.decide(this, key.ChangeKey(document), work.now))
            await demand_reach(work, caller, changed)
            if changed.document.role != this.document.role:
                await demand_role(work, changed)
            demand_below(changed.document, await limits_above(work, caller, this), before=this.document)
            if is_active != (this.status != "suspended"):
                reason = "" if is_active else "isActive was set to false"
                suspension = SuspendKey(reason, by=_by(caller))
                changed = await (
                    _reinstate(work, changed, _by(caller)) if is_active else suspend_key(work, changed, suspension)
                )
            await keep_owners(work, this, changed)
            return KeyView.of(changed, work.now)

        return await self._office.carry_out(caller.cause, KeyView, command)

    async def suspend(self, caller: Caller, key_id: str, reason: str) -> Answer[KeyView]:
        """Until it is reinstated. Doing it again changes nothing."""

        async def command(work: Work) -> KeyView:
            this = await self._load(work, caller, key_id)
            return await self._ended(work, this, await suspend_key(work, this, SuspendKey(reason, by=_by(caller))))

        return await self._office.carry_out(caller.cause, KeyView, command)

    async def reinstate(self, caller: Caller, key_id: str) -> Answer[KeyView]:
        """Brings a suspended key back, and what was suspended with it."""

        async def command(work: Work) -> KeyView:
            this = await self._load(work, caller, key_id)
            await demand_reach(work, caller, this)
            return await self._ended(work, this, await _reinstate(work, this, _by(caller)))

        return await self._office.carry_out(caller.cause, KeyView, command)

    async def revoke(self, caller: Caller, key_id: str, reason: str) -> Answer[KeyView]:
        """Revokes a key for good. Doing it again changes nothing."""

        async def command(work: Work) -> KeyView:
            this = await self._load(work, caller, key_id)
            return await self._ended(work, this, await revoke_key(work, this, reason))

        return await self._office.carry_out(caller.cause, KeyView, command)

    async def _load(self, work: Work, caller: Caller, key_id: str) -> Key:
        this = await work.load(KEY, key_id)
        caller.demand_sight(KEY.word, this)
        if this.document.role == "owner" and not caller.is_owner:
            raise Forbidden("Only an owner can do this with an owner's key.")
        return this

    @staticmethod
    async def _ended(work: Work, before: Key, after: Key) -> KeyView:
        await keep_owners(work, before, after)
        return KeyView.of(after, work.now)


async def revoke_key(work: Work, this: Key, reason: str) -> Key:
    """The revoked key; every key that it delegated is revoked with it."""
    revoked = work.append(KEY, this.id, key.decide(this, key.RevokeKey(reason), work.now))
    async for each in delegated(work, this):
        events = key.decide(each, key.RevokeKey(f"parent revoked: {reason}"), work.now)
        work.append(KEY, each.id, events, because=work.newest(this.id))
    return revoked


async def delegated(work: Work, this: Key, into: Callable[[Key], bool] = lambda _: True) -> AsyncIterator[Key]:
    """Every key under this one that hasn't ended, the nearer ones first, as far as `into` says to go on."""
    level = [this]
    while level:
        below: list[Key] = []
        for parent in level:
            for each in [await work.load(KEY, key_id) for key_id in parent.delegates]:
                # one that was adopted is another's by now
                if each.parent_id == parent.id and not each.has_ended(work.now):
                    yield each
                    if into(each):
                        below.append(each)
        level = below


async def suspend_key(work: Work, this: Key, command: SuspendKey) -> Key:
    """The suspended key; every key that it delegated is suspended with it."""
    suspended = work.append(KEY, this.id, key.decide(this, command, work.now))
    below = SuspendKey(f"parent suspended: {command.reason}", by="parent")
    async for each in delegated(work, this):
        work.append(KEY, each.id, key.decide(each, below, work.now), because=work.newest(this.id))
    return suspended


def _by(caller: Caller) -> Suspender:
    return "partner" if caller.only_narrows else "own"


async def _reinstate(work: Work, this: Key, by: Suspender) -> Key:
    if this.parent_id is not None and (await work.load(KEY, this.parent_id)).status_at(work.now) not in USABLE:
        raise ParentSuspended("Reinstate the key above it, and this one comes back with it.")
    reinstated = work.append(KEY, this.id, key.decide(this, key.ReinstateKey(by), work.now))
    # what was suspended for a reason of its own stays so, and all below it
    async for each in delegated(work, this, into=lambda each: each.suspender == "parent"):
        events = key.decide(each, key.ReinstateKey(by="parent"), work.now)
        work.append(KEY, each.id, events, because=work.newest(this.id))
    return reinstated


async def limits_above(work: Work, caller: Caller, this: Key) -> list[Ceiling]:
    """What stands above a key is its parent, or else its integration's rule; for a partner, also what the key has."""
    limits = [Ceiling.of(this.document)] if caller.only_narrows else []
    if this.environment is None:
        return limits
    if this.parent_id is not None:
        parent = await work.load(KEY, this.parent_id)
        above = msgspec.structs.replace(Ceiling.of(parent.document), not_before=None)
    else:
        terms = (await work.load(INTEGRATION, str(this.integration_id))).terms
        offer = terms.environments.get(this.environment, NOTHING)
        above = Ceiling(rule=offer.rule, expires_at=offer.policy.expiry(this.issued_at))
    return [above, *limits]
