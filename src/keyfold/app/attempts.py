"""Refused attempts on their way into the log: the first of a kind at once, all that follow as a number."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from keyfold.app.work import Cause, Office, Work
from keyfold.domain.aggregates import ATTEMPT
from keyfold.domain.attempt import AccessRefused, Attempt, Road
from keyfold.domain.judgement import Subject
from keyfold.domain.record import Actor

EVERY = timedelta(minutes=10)
"""The time between two records of attempts that are alike."""
CAPACITY = 10_000
"""Kinds of attempts that a process keeps apart. Of more, the oldest are written down early."""
AT_ONCE = 100
"""Records that one flush writes at the most."""


class Kind(NamedTuple):
    """What makes attempts alike."""

    key_id: str
    code: str
    road: Road


class _Tally(msgspec.Struct):
    subject: Subject
    address: str | None
    count: int
    since: datetime
    until: datetime
    due: datetime


class Attempts:
    """What one process has refused and not yet written down."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._tallies: OrderedDict[Kind, _Tally] = OrderedDict()

    def note(self, subject: Subject, code: str, *, road: Road, address: str | None, at: datetime) -> None:
        kind = Kind(subject.key.id, code, road)
        tally = self._tallies.get(kind)
        if tally is None:
            tally = self._tallies[kind] = _Tally(subject, address, 0, at, at, due=at)
        if not tally.count:
            tally.since = at
        tally.count, tally.until, tally.address = tally.count + 1, at, address

    async def flush(self) -> None:
        """Writes what is due, and forgets the kinds that have not come again. Raises `Unavailable`, `Conflict`."""
        now = self._office.clock()
        surplus = len(self._tallies) - CAPACITY
        due = [each for n, each in enumerate(self._tallies.items()) if n < surplus or each[1].due <= now][:AT_ONCE]
        for kind, tally in due:
            if tally.count:
                count = tally.count
                await self._write(kind, tally, count)
                tally.count, tally.since, tally.due = tally.count - count, now, now + EVERY
                self._tallies.move_to_end(kind)
            else:
                del self._tallies[kind]

    async def _write(self, kind: Kind, tally: _Tally, count: int) -> None:
        key = tally.subject.key

        async def command(work: Work) -> Attempt:
            attempt_id = work.new_id("att")
            event = AccessRefused(
                workspace_id=key.workspace_id,
                attempt_id=attempt_id,
                key_id=key.id,
                integration_id=key.integration_id,
                partner_id=key.partner_id,
                code=kind.code,
                road=kind.road,
                address=tally.address,
                count=count,
                since=tally.since,
                until=tally.until,
            )
            return work.append(ATTEMPT, attempt_id, [event])

        actor = Actor(kind="key", id=key.id, address=tally.address)
        await self._office.carry_out(Cause(actor, self._office.new_id("req")), Attempt, command)
