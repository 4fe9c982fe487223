"""Refused attempts on their way into the log: the first of a kind at once, all that follow as a number."""

from datetime import datetime
from typing import NamedTuple

from keyfold.app.tallies import Tallies, Tally
from keyfold.app.work import Cause, Office, Work
from keyfold.domain.aggregates import ATTEMPT
from keyfold.domain.attempt import AccessRefused, Attempt, Road
from keyfold.domain.judgement import Subject
from keyfold.domain.key_state import Key
from keyfold.domain.record import Actor


class Kind(NamedTuple):
    """What makes attempts alike."""

    key_id: str
    code: str
    road: Road


class Last(NamedTuple):
    key: Key
    address: str | None


class Attempts:
    """What one process has refused and not yet written down."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._tallies: Tallies[Kind, Last] = Tallies(office.clock, self._write)
        self.flush = self._tallies.flush

    def note(self, subject: Subject, code: str, *, road: Road, address: str | None, at: datetime) -> None:
        self._tallies.note(Kind(subject.key.id, code, road), Last(subject.key, address), at)

    async def _write(self, kind: Kind, tally: Tally[Last]) -> None:
        key, address = tally.last

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
                address=address,
                count=tally.count,
                since=tally.since,
                until=tally.until,
            )
            return work.append(ATTEMPT, attempt_id, [event])

        actor = Actor(kind="key", id=key.id, address=address)
        cause = Cause(actor, self._office.new_id("req"), subject=key.subject)
        await self._office.carry_out(cause, Attempt, command)
