"""Erasing: what is personal about a partner or an operator goes for good, and that it went is a fact."""

from typing import Literal, Protocol

import msgspec

from keyfold.app.access import Caller
from keyfold.app.owners import keep_owners
from keyfold.app.partners import withdraw_links
from keyfold.app.views import View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import key, partner
from keyfold.domain.aggregates import KEY, PARTNER
from keyfold.domain.key_state import Key
from keyfold.domain.refusals import Invalid


class Found(msgspec.Struct, frozen=True):
    """What there is of somebody: `fields` counts records by event type and the place of what is sealed in them,
    `addresses` are those in records and those seen, `sightings` the rows that have the latter."""

    records: int
    fields: dict[str, int]
    addresses: list[str]
    sightings: int


class Survey(Protocol):
    async def of(self, subjects: list[str], streams: list[str]) -> Found:
        """What is sealed under these subjects, and seen of these streams. Raises `Unavailable`."""
        ...


class ErasureView(View, frozen=True, kw_only=True):
    """What goes, or has gone, with a partner or an operator. `records` stay in the log, unchanged, and can't be opened
    any more; `erased` are the streams that say so; `revoked_keys` those that this very command revoked."""

    id: str
    kind: Literal["partner", "operator"]
    dry_run: bool
    already_erased: bool
    records: int
    fields: dict[str, int]
    addresses: list[str]
    sightings: int
    erased: list[str]
    revoked_keys: list[str]


class _Erased(View, frozen=True, kw_only=True):
    subjects: list[str]
    streams: list[str]
    erased: list[str]
    revoked_keys: list[str]


class Erasures:
    """Whoever is erased leaves as well: a partner is offboarded, an operator's keys are revoked."""

    def __init__(self, office: Office, survey: Survey) -> None:
        self._office = office
        self._survey = survey

    async def partner(
        self, caller: Caller, partner_id: str, reason: str, *, dry_run: bool = False
    ) -> Answer[ErasureView]:
        """The partner with all its keys and sessions. Repeated, it changes nothing. Raises `NotFound`."""

        async def command(work: Work) -> _Erased:
            this = await work.load(PARTNER, partner_id)
            caller.demand_sight(PARTNER.word, this)
            work.append(PARTNER, this.id, partner.decide(this, partner.ErasePartner(reason)))
            keys = [await work.load(KEY, each) for each in this.keys]
            because = None if this.erased_at else work.newest(this.id)
            revoked = [each.id for each in keys if _erase(work, each, reason, because)]
            await withdraw_links(work, this, because)
            streams = [this.id, *this.keys]
            erased = [] if this.erased_at else streams
            return _Erased(subjects=[this.id], streams=streams, erased=erased, revoked_keys=revoked)

        return await self._carry_out(caller.cause, "partner", partner_id, command, dry_run=dry_run)

    async def operator(self, caller: Caller, key_id: str, reason: str, *, dry_run: bool = False) -> Answer[ErasureView]:
        """Whoever holds an account or integration key, with all keys that stood in its place or stand there now.

        Repeated, it changes nothing. Raises `NotFound`, `Invalid` for a partner's key, `LastOwner`.
        """

        async def command(work: Work) -> _Erased:
            this = await work.load(KEY, key_id)
            caller.demand_sight(KEY.word, this)
            if this.partner_id is not None:
                raise Invalid(f"This key belongs to a partner, and goes with it: erase {this.partner_id}.")
            line = await _line(work, this)
            ids = [each.id for each in line]
            revoked = []
            for each in line:
                if _erase(work, each, reason, None):
                    revoked.append(each.id)
                await keep_owners(work, each, await work.load(KEY, each.id))
            erased = [each.id for each in line if not each.erased_at]
            return _Erased(subjects=ids, streams=ids, erased=erased, revoked_keys=revoked)

        return await self._carry_out(caller.cause, "operator", key_id, command, dry_run=dry_run)

    async def _carry_out(
        self, cause: Cause, kind: Literal["partner", "operator"], of: str, command: "Command", *, dry_run: bool
    ) -> Answer[ErasureView]:
        plan = await command(Work(self._office, cause))
        found = await self._survey.of(plan.subjects, plan.streams)  # before there is nothing left to be found
        answer = (
            Answer(view=plan, position=await self._office.journal.head())
            if dry_run
            else await self._office.carry_out(cause, _Erased, command)
        )
        done = answer.view
        view = ErasureView(
            id=of,
            kind=kind,
            dry_run=dry_run,
            already_erased=not plan.erased,
            erased=done.erased,
            revoked_keys=done.revoked_keys,
            **msgspec.structs.asdict(found),
        )
        return Answer(view=view, position=answer.position)


class Command(Protocol):
    async def __call__(self, work: Work, /) -> _Erased: ...


def _erase(work: Work, this: Key, reason: str, because: str | None) -> bool:
    """Whether this revoked it."""
    events = key.decide(this, key.EraseKey(reason), work.now)
    work.append(KEY, this.id, events, because=because)
    return len(events) > 1


async def _line(work: Work, this: Key) -> list[Key]:
    """The keys that stood in one another's place, the newest first: of them, one may be an owner's."""
    line = [this]
    while line[0].succession is not None:
        line.insert(0, await work.load(KEY, line[0].succession.successor_id))
    while line[-1].predecessor_id is not None:
        line.append(await work.load(KEY, line[-1].predecessor_id))
    return line
