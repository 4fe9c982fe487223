"""Who saw what, on its way into the log: readings of a kind counted together, and exports one by one."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from keyfold.app.access import Caller
from keyfold.app.tallies import Tallies, Tally
from keyfold.app.work import Cause, Office, Work
from keyfold.domain.aggregates import EXPORT, READING
from keyfold.domain.key_state import Key
from keyfold.domain.reading import AuditExportBegun, AuditRead, Export, ExportFormat, Reading, What, ended
from keyfold.domain.record import Actor


class Kind(NamedTuple):
    """What makes readings alike."""

    workspace_id: str
    actor_id: str
    what: What


class Begun(NamedTuple):
    """An export under way, and the event that says so."""

    export_id: str
    event_id: str | None


class Readings:
    """What one process has shown and not yet written down. The trail that shows the record of a reading isn't read by
    that, so nothing here makes more of itself."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._tallies: Tallies[Kind, Cause] = Tallies(office.clock, self._write)
        self.flush = self._tallies.flush

    def note(self, caller: Caller, what: What) -> None:
        kind = Kind(caller.workspace_id, caller.cause.actor.id, what)
        self._tallies.note(kind, caller.cause, self._office.clock())

    def note_verification(self, by: Key, address: str | None, at: datetime) -> None:
        """Asked by the holder of this key, a million times a minute maybe."""
        kind = Kind(by.workspace_id, by.id, "verification")
        if not self._tallies.again(kind, at):
            actor = Actor(kind="key", id=by.id, address=address)
            self._tallies.note(kind, Cause(actor, "", subject=by.subject), at)

    async def _write(self, kind: Kind, tally: Tally[Cause]) -> None:
        async def command(work: Work) -> Reading:
            reading_id = work.new_id(READING.prefix)
            event = AuditRead(
                workspace_id=kind.workspace_id,
                reading_id=reading_id,
                what=kind.what,
                count=tally.count,
                since=tally.since,
                until=tally.until,
            )
            return work.append(READING, reading_id, [event])

        cause = msgspec.structs.replace(tally.last, correlation_id=self._office.new_id("req"), replay=None)
        await self._office.carry_out(cause, Reading, command)


class Exports:
    """Each is written down twice: before anything goes out, and when it has ended."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def begin(
        self, caller: Caller, of: ExportFormat, filters: dict[str, str], *, after: int, until: int
    ) -> Begun:
        """Raises `Unavailable`, `RecordTooLarge`: then nothing may go out."""
        begun: list[str | None] = []

        async def command(work: Work) -> Export:
            export_id = work.new_id(EXPORT.prefix)
            event = AuditExportBegun(
                workspace_id=caller.workspace_id,
                export_id=export_id,
                format=of,
                filters=filters,
                after=after,
                until=until,
            )
            state = work.append(EXPORT, export_id, [event])
            begun[:] = [work.newest(export_id)]
            return state

        state = (await self._office.carry_out(caller.cause, Export, command)).view
        return Begun(state.id, begun[0])

    async def end(self, caller: Caller, this: Begun, count: int, last: int | None, *, is_complete: bool) -> None:
        async def command(work: Work) -> Export:
            event = ended(await work.load(EXPORT, this.export_id), count, last, is_complete=is_complete)
            return work.append(EXPORT, this.export_id, [event], because=this.event_id)

        await self._office.carry_out(caller.cause, Export, command)
