"""Lists, read from the projections: filtered, newest first, a page at a time."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from keyfold.app.bulk import Chosen
from keyfold.domain.record import Record, read_record
from keyfold.domain.refusals import Unavailable
from keyfold.store.postgres import PATIENCE, Postgres
from keyfold.store.projections.current import TABLES
from keyfold.store.queries import query

LIVE = "coalesce(expires_at > $now, true) AND coalesce(retires_at > $now, true)"
BEGUN = f"status = 'active' AND {LIVE} AND coalesce(not_before <= $now, true)"
_DECIDED = "status IN ('active', 'suspended')"
_LINK_END = "(state->>'expiresAt')::timestamptz"
_BY_TIME = {
    ("keys", "active"): f"{BEGUN} AND NOT rotated",
    ("keys", "retiring"): f"{BEGUN} AND rotated",
    ("keys", "pending"): f"status = 'active' AND {LIVE} AND not_before > $now",
    ("keys", "suspended"): f"status = 'suspended' AND {LIVE}",
    ("keys", "expired"): f"(status = 'expired' OR ({_DECIDED} AND expires_at <= $now))",
    ("keys", "retired"): f"(status = 'retired' OR ({_DECIDED} AND retires_at <= $now"
    " AND coalesce(expires_at > $now, true)))",
    ("links", "open"): f"status = 'open' AND {_LINK_END} > $now",
    ("links", "expired"): f"status = 'open' AND {_LINK_END} <= $now",
}
"""What a status means where time has a say in it."""


class Page(NamedTuple):
    """Some of a list, and the cursor that continues it, None at the end."""

    items: list[Any]
    next_cursor: str | None


class Audited(NamedTuple):
    position: int
    record: Record


class Conditions:
    """A WHERE clause that grows by what was asked for, so that each combination gets a plan of its own."""

    def __init__(self, workspace_id: str) -> None:
        self.arguments: list[object] = [workspace_id]
        self._parts = ["workspace_id = $1"]

    def add(self, expression: str, argument: object) -> None:
        """Adds a condition in which `$?` is the argument; nothing for None."""
        if argument is not None:
            self.arguments.append(argument)
            self._parts.append(expression.replace("$?", f"${len(self.arguments)}"))

    def __str__(self) -> str:
        return " AND ".join(self._parts)


class Lists:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def include(self, projection: str, position: int) -> None:
        """Waits, bounded, until the lists of a projection include a position. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        pause = 0.002
        while await self._postgres.fetchval(query("cursor"), projection) < position:
            if loop.time() > until:
                raise Unavailable(f"The lists don't include position {position} yet. Ask again in a moment.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    async def page(
        self,
        prefix: str,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        status: str | None,
        now: datetime,
        cursor: str | None,
        limit: int,
    ) -> Page:
        """States of one aggregate, newest first. `filters` are conditions with `$?` and their arguments."""
        table = TABLES[prefix]
        conditions = _conditions(table.name, workspace_id, filters, status, now)
        conditions.add("id < $?", cursor)
        rows = await self._postgres.fetch(
            f"SELECT id, state FROM projections.{table.name} WHERE {conditions} "  # noqa: S608  # columns are our own
            f"ORDER BY id DESC LIMIT {limit + 1}",
            *conditions.arguments,
        )
        decode = msgspec.json.Decoder(table.aggregate.state).decode
        return _page([(row["id"], decode(row["state"])) for row in rows], limit)

    async def chosen(
        self, workspace_id: str, filters: Mapping[str, object], *, status: str | None, now: datetime, most: int
    ) -> tuple[list[Chosen], int]:
        """The keys that match, newest first, up to `most` of them; and how many do."""
        conditions = _conditions("keys", workspace_id, filters, status, now)
        rows = await self._postgres.fetch(
            "SELECT id, state->'document'->>'name', partner_id, parent_id, role, rotated, "  # noqa: S608
            f"count(*) OVER () AS matched FROM projections.keys WHERE {conditions} ORDER BY id DESC LIMIT {most}",
            *conditions.arguments,
        )
        return [Chosen(*row[:-1]) for row in rows], rows[0]["matched"] if rows else 0

    async def audit(
        self,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        ascending: bool,
        cursor: int | None,
        limit: int,
    ) -> Page:
        """Entries of the audit trail with their records. `filters` are conditions with `$?` and their arguments."""
        conditions = Conditions(workspace_id)
        for expression, value in filters.items():
            conditions.add(expression, value)
        conditions.add("position > $?" if ascending else "position < $?", cursor)
        rows = await self._postgres.fetch(
            "SELECT position, log.record FROM projections.audit JOIN keyfold.log USING (position) "  # noqa: S608
            f"WHERE {conditions} ORDER BY position {'ASC' if ascending else 'DESC'} LIMIT {limit + 1}",
            *conditions.arguments,
        )
        return _page(
            [(str(row["position"]), Audited(row["position"], read_record(row["record"]))) for row in rows], limit
        )

    async def trail(
        self, workspace_id: str, filters: Mapping[str, object], *, after: int, until: int, limit: int
    ) -> list[tuple[int, str]]:
        """Positions and records, as they stand in the log, of the audit trail between two positions, oldest first."""
        conditions = Conditions(workspace_id)
        for expression, value in {**filters, "position > $?": after, "position <= $?": until}.items():
            conditions.add(expression, value)
        rows = await self._postgres.fetch(
            "SELECT position, log.record FROM projections.audit JOIN keyfold.log USING (position) "  # noqa: S608
            f"WHERE {conditions} ORDER BY position LIMIT {limit}",
            *conditions.arguments,
        )
        return [(row["position"], row["record"]) for row in rows]


def _conditions(
    table: str, workspace_id: str, filters: Mapping[str, object], status: str | None, now: datetime
) -> Conditions:
    conditions = Conditions(workspace_id)
    for expression, value in filters.items():
        conditions.add(expression, value)
    by_time = _BY_TIME.get((table, status or ""))
    if by_time:
        conditions.add(by_time.replace("$now", "$?"), now)
    else:
        conditions.add("status = $?", status)
    return conditions


def _page(rows: list[tuple[str, Any]], limit: int) -> Page:
    more = rows[limit - 1][0] if len(rows) > limit else None
    return Page([item for _, item in rows[:limit]], more)
