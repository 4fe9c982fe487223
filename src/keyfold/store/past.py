"""The past: what there was at a position of the log, found by the projection `history` and folded from the log."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from keyfold.app.ports import Loaded
from keyfold.domain.aggregates import AGGREGATES, Aggregate, aggregate_of, fold
from keyfold.domain.moment import Moment
from keyfold.domain.record import Record, read_record
from keyfold.store.data_keys import Opener
from keyfold.store.lists import Conditions, Page, add_conditions, page_of
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

S = TypeVar("S")

DISORDER = timedelta(seconds=10)
"""How far behind a record the time of a later one can be: more than the clocks of two processes ever differ."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_AT = """
SELECT t.id, t.workspace_id, t.integration_id, t.partner_id, t.kind, t.environment, t.issued_at, t.rotation_due_at,
       v.version, v.status, v.parent_id, v.role, v.tags, v.name, v.not_before, v.expires_at, v.retires_at, v.rotated
FROM projections.things AS t CROSS JOIN LATERAL (
    SELECT * FROM projections.versions WHERE versions.id = t.id AND versions.position <= $2
    ORDER BY versions.position DESC LIMIT 1
) AS v
WHERE t.aggregate = $3 AND t.position <= $2 AND t.id <= (
    SELECT latest_id FROM projections.things WHERE workspace_id = $1 AND aggregate = $3 AND position <= $2
    ORDER BY position DESC LIMIT 1
)
"""
_CHANGED = """
SELECT t.id, t.workspace_id, t.aggregate, t.integration_id, t.partner_id, t.environment, v.version, v.position
FROM projections.versions AS v JOIN projections.things AS t USING (id)
WHERE v.workspace_id = $1 AND v.position > $2 AND v.position <= $3 AND NOT EXISTS (
    SELECT FROM projections.versions AS earlier
    WHERE earlier.id = v.id AND earlier.position > $2 AND earlier.position < v.position
)
"""


class Event(NamedTuple):
    """What happened to a thing, and where in the log it stands."""

    position: int
    record: Record


class Changed(NamedTuple):
    """One thing as it was before and after a stretch of the log, None where there was none, and all between."""

    aggregate: Aggregate[Any]
    id: str
    before: Any
    after: Any
    events: list[Event]


class Past:
    """What is asked of a position must be included in the projection `history`; single things come from the log."""

    def __init__(self, postgres: Postgres, opener: Opener) -> None:
        self._postgres = postgres
        self._opener = opener

    async def position_at(self, workspace_id: str, time: datetime) -> int:
        """The last position at which something of the workspace was noted by then, 0 when nothing was: among those
        noted within `DISORDER` up to the newest time that isn't later."""
        return int(await self._postgres.fetchval(query("position_at"), workspace_id, time, DISORDER))

    async def time_of(self, position: int) -> datetime:
        """When the record there was written; the beginning of time for 0."""
        rows = await self._postgres.fetch(query("read_after"), position - 1, 1) if position else []
        return read_record(rows[0]["record"]).time if rows else BEGINNING

    async def began(self, stream: str) -> Moment | None:
        row = await self._postgres.fetchrow(query("began"), stream)
        return Moment(row["position"], read_record(row["record"]).time) if row else None

    async def load(self, aggregate: Aggregate[S], stream: str, position: int) -> Loaded[S]:
        """The stream as it was at a position."""
        rows = await self._postgres.fetch(query("load_before"), stream, position)
        state: S | None = None
        for record in await self._opener.open(self._postgres.fetch, [read_record(row["record"]) for row in rows]):
            state = fold(aggregate, state, record)
        return Loaded(state, len(rows))

    async def story(self, stream: str, version: int) -> list[Event]:
        """All that happened to a thing up to a version, in order."""
        return (await self._events({stream: version}))[stream]

    async def page(
        self,
        prefix: str,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        status: str | None,
        at: Moment,
        cursor: str | None,
        limit: int,
    ) -> Page:
        """What `Lists.page` gave at that moment. Conditions may ask for anything but how things were used."""
        conditions = _conditions(prefix, workspace_id, filters, status, at)
        conditions.add("id < $?", cursor)
        found = await self._postgres.fetch(
            f"SELECT id, version FROM ({_AT}) AS past WHERE {_as_columns(str(conditions))} "  # noqa: S608
            f"ORDER BY id DESC LIMIT {limit + 1}",
            *conditions.arguments,
        )
        streams = await self._events({row["id"]: row["version"] for row in found})
        return page_of([(row["id"], _folded(streams[row["id"]], at.position)) for row in found], limit)

    async def count(
        self,
        prefix: str,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        status: str | None,
        at: Moment,
        most: int,
    ) -> int:
        """How many there were of what `page` gives a page of; `most` + 1 for whatever is more."""
        conditions = _conditions(prefix, workspace_id, filters, status, at)
        some = f"SELECT 1 FROM ({_AT}) AS past WHERE {_as_columns(str(conditions))} LIMIT {most + 1}"  # noqa: S608
        return int(await self._postgres.fetchval(f"SELECT count(*) FROM ({some}) AS found", *conditions.arguments))  # noqa: S608

    async def changes(
        self,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        after: int,
        until: int,
        cursor: int | None,
        limit: int,
    ) -> Page:
        """Each thing to which something happened behind one position and up to another, by where that began."""
        conditions = Conditions(workspace_id)
        conditions.arguments += [after, until]
        for expression, value in filters.items():
            conditions.add(expression, value)
        conditions.add("position > $?", cursor)
        found = await self._postgres.fetch(
            f"SELECT changed.*, last.version AS until FROM ({_CHANGED}) AS changed CROSS JOIN LATERAL ("  # noqa: S608
            "SELECT version FROM projections.versions WHERE versions.id = changed.id AND versions.position <= $3 "
            "ORDER BY versions.position DESC LIMIT 1) AS last "
            f"WHERE {conditions} ORDER BY position LIMIT {limit + 1}",
            *conditions.arguments,
        )
        streams = await self._events({row["id"]: row["until"] for row in found})
        return page_of([(str(row["position"]), _changed(row["id"], streams[row["id"]], after)) for row in found], limit)

    async def _events(self, until: Mapping[str, int]) -> dict[str, list[Event]]:
        """All that happened to these up to a version."""
        found: dict[str, list[Event]] = {stream: [] for stream in until}
        rows = await self._postgres.fetch(query("prefixes"), [*until], [*until.values()]) if until else []
        records = await self._opener.open(self._postgres.fetch, [read_record(row["record"]) for row in rows])
        for row, record in zip(rows, records, strict=True):
            found[row["stream"]].append(Event(row["position"], record))
        return found


def _conditions(
    prefix: str, workspace_id: str, filters: Mapping[str, object], status: str | None, at: Moment
) -> Conditions:
    """Of `_AT`, whose own arguments come first."""
    word = AGGREGATES[prefix].word
    conditions = Conditions(workspace_id)
    conditions.arguments += [at.position, word]
    add_conditions(conditions, f"{word}s", filters, status, at.time)
    return conditions


def _changed(of: str, events: list[Event], after: int) -> Changed:
    between = [each for each in events if each.position > after]
    last = between[-1].position
    return Changed(aggregate_of(of), of, _folded(events, after), _folded(events, last), between)


def _folded(events: list[Event], until: int) -> Any:
    state = None
    for position, record in events:
        if position <= until:
            state = fold(aggregate_of(record.stream), state, record)
    return state


def _as_columns(conditions: str) -> str:
    """What conditions on `current` look for in a link's state, as `history` has it."""
    return conditions.replace("(state->>'expiresAt')::timestamptz", "expires_at")
