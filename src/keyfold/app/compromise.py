"""A key that others may have: reported, replaced, and what else it, or whoever had it, has touched."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from keyfold.app.access import Caller
from keyfold.app.key_life import delegated
from keyfold.app.keys import demand_reach
from keyfold.app.owners import keep_owners
from keyfold.app.rotation import issue_in_place, policy_of
from keyfold.app.views import IssuedKeyView, KeyView, View
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import key
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_state import Key
from keyfold.domain.refusals import Forbidden

Why = Literal["issued-by", "issued-from", "used-from"]


class Trace(NamedTuple):
    """Another key that this one has to do with: issued by it, issued from an address that it came from, or used from
    one, and when last."""

    key_id: str
    why: Why
    address: str | None
    at: datetime


class Traces(Protocol):
    async def of(self, workspace_id: str, key_id: str, since: datetime) -> list[Trace]:
        """What a key of this workspace has to do with since then, newest first. Among those used from an address are
        keys of all workspaces. Raises `Unavailable`."""
        ...


class RelatedView(View, frozen=True, kw_only=True, omit_defaults=True):
    key_id: str
    why: Why
    address: str | None = None
    at: datetime


class CompromisedView(View, frozen=True, kw_only=True):
    """`replacement` has its secret, shown this once. `related` are other keys that may be in the wrong hands too."""

    key: KeyView
    replacement: IssuedKeyView | None
    related: list[RelatedView]


class Compromise:
    def __init__(self, office: Office, traces: Traces) -> None:
        self._office = office
        self._traces = traces

    async def report(
        self, caller: Caller, key_id: str, reason: str, *, replace: bool, since: datetime | None
    ) -> Answer[CompromisedView]:
        """Ends a key at once, and every key that it delegated. With `replace`, one like it is issued in its place."""
        # before anything is done: a failure afterwards would keep the replacement's secret from everybody
        related = await self.related(caller, key_id, since)

        async def command(work: Work) -> CompromisedView:
            this = await work.load(KEY, key_id)
            if this.document.role == "owner" and not caller.is_owner:
                raise Forbidden("Only an owner can do this with an owner's key.")
            compromised = work.append(KEY, key_id, key.decide(this, key.ReportCompromised(reason), work.now))
            replacement = await _replace(work, caller, this) if replace else None
            async for each in delegated(work, this):
                events = key.decide(each, key.RevokeKey(f"parent compromised: {reason}"), work.now)
                work.append(KEY, each.id, events, because=work.newest(key_id))
            await keep_owners(work, this, compromised)
            return CompromisedView(key=KeyView.of(compromised, work.now), replacement=replacement, related=related)

        return await self._office.carry_out(caller.cause, CompromisedView, command)

    async def related(self, caller: Caller, key_id: str, since: datetime | None) -> list[RelatedView]:
        """Which other keys were issued or used by the same actor or address, since then or since the key was issued.

        Those that the caller sees; some seconds old at the most. Raises `NotFound`, `Unavailable`.
        """
        this = await Work(self._office, caller.cause).load(KEY, key_id)
        caller.demand_sight(KEY.word, this)
        traces = await self._traces.of(this.workspace_id, key_id, since or this.issued_at)
        visible = await self._visible(caller, {trace.key_id for trace in traces})
        return [RelatedView(**trace._asdict()) for trace in traces if trace.key_id in visible]

    async def _visible(self, caller: Caller, ids: Iterable[str]) -> set[str]:
        loaded = await asyncio.gather(*[self._office.journal.load(KEY, each) for each in ids])
        return {each.state.id for each in loaded if each.state is not None and caller.sees(each.state)}


async def _replace(work: Work, caller: Caller, this: Key) -> IssuedKeyView:
    """A key of its own with the same document. It stands where the old one stood, and gains nothing."""
    await demand_reach(work, caller, this)
    if this.has_ended(work.now):
        raise key.KeyEnded(f"This key is {this.status_at(work.now)}: there is nothing to replace. Issue a new one.")
    if this.succession is not None:
        raise key.AlreadyRotated(f"{this.succession.successor_id} has replaced this key. Report it without `replace`.")
    if this.status_at(work.now) == "suspended":  # or whoever reports it would bring it back
        raise key.KeyUnusable("This key is suspended. Reinstate it first, or report it without `replace`.")
    return await issue_in_place(work, this, work.new_id("key"), await policy_of(work, this))
