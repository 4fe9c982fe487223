"""Lists, read from the projections: filtered, newest first, a page at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from keyfold.app.bulk import Chosen
from keyfold.domain.record import Record, read_record
from keyfold.domain.refusals import Unavailable
from keyfold.store.data_keys import Opener
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
    ("keys", "expired"): f"(status = 'expired' OR ({_DECIDED} AND expires_at <= $now"
    " AND coalesce(expires_at <= retires_at, true)))",
    ("keys", "retired"): f"(status = 'retired' OR ({_DECIDED} AND retires_at <= $now"
    " AND coalesce(retires_at < expires_at, true)))",
    ("links", "open"): f"status = 'open' AND {_LINK_END} > $now",
    ("links", "expired"): f"status = 'open' AND {_LINK_END} <= $now",
}
"""What a status means where time has a say in it."""


_TRAIL = (
    "projections.audit JOIN (SELECT position, stream AS of_stream, record FROM keyfold.log) AS log USING (position)"
)
"""Entries of the audit trail with their records; of the log nothing else, whose columns are called the same."""
_NEWEST = "id"
_LAST_USE = "SELECT max(last_at) FROM keyfold.key_usage WHERE key_id = keys.id AND outcome = 'valid'"
"""By the primary key of what was observed; of each key of the workspace, so that the list costs what it is long."""
ORDERS: Mapping[str, Mapping[str, str]] = {
    "integrations": {"created": _NEWEST, "name": "lower(state->'terms'->>'name')"},
    "partners": {
        "invited": _NEWEST,
        "name": "lower(name)",
        "integration": "integration_id",
        "status": "status",
    },
    "links": {"issued": _NEWEST},
    "keys": {
        "issued": _NEWEST,
        "name": "lower(name)",
        "environment": "coalesce(environment, '')",
        "expires": "coalesce(expires_at, 'infinity')",
        "status": "CASE WHEN status <> 'active' THEN status WHEN not_before > now() THEN 'pending'"
        " WHEN rotated THEN 'retiring' ELSE status END",
        "whose": "coalesce(partner_id, integration_id, role, '')",
        "used": f"coalesce(({_LAST_USE}), '-infinity')",
    },
}
"""What lists can be sorted by, as expressions that are never null. Ids are as old as what they name."""
MOST_CAUSES = 32
MOST_EFFECTS = 500


class Page(NamedTuple):
    """Some of a list, and the cursor that continues it, None at the end."""

    items: list[Any]
    next_cursor: str | None


class Order(NamedTuple):
    """How a list is sorted: by which of its `ORDERS`, and whether the last comes first."""

    by: str
    descending: bool = False


class Audited(NamedTuple):
    position: int
    record: Record


class Chain(NamedTuple):
    """An event, what caused it, the nearest first, and what it caused, in order; whether it caused more than that."""

    event: Audited
    causes: list[Audited]
    effects: list[Audited]
    has_more: bool


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
    def __init__(self, postgres: Postgres, opener: Opener) -> None:
        self._postgres = postgres
        self._opener = opener

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
        order: Order | None = None,
    ) -> Page:
        """States of one aggregate, newest first unless `order` says otherwise. `filters` are conditions with `$?` and
        their arguments. A page goes on behind where the thing that is the cursor stands by now."""
        table = TABLES[prefix]
        by = ORDERS[table.name][order.by] if order else _NEWEST
        sign, way = ("<", "DESC") if order is None or order.descending else (">", "ASC")
        conditions = _conditions(table.name, workspace_id, filters, status, now)
        if by == _NEWEST:
            conditions.add(f"id {sign} $?", cursor)
        else:
            last = f"SELECT {by}, id FROM projections.{table.name} WHERE id = $?"  # noqa: S608
            conditions.add(f"({by}, id) {sign} ({last})", cursor)
        rows = await self._postgres.fetch(
            f"SELECT id, state FROM projections.{table.name} WHERE {conditions} "  # noqa: S608  # columns are our own
            f"ORDER BY {by} {way}, id {way} LIMIT {limit + 1}",
            *conditions.arguments,
        )
        decode = msgspec.json.Decoder(table.aggregate.state).decode
        return page_of([(row["id"], decode(row["state"])) for row in rows], limit)

    async def count(
        self,
        prefix: str,
        workspace_id: str,
        filters: Mapping[str, object],
        *,
        status: str | None,
        now: datetime,
        most: int,
    ) -> int:
        """How many there are of what `page` gives a page of; `most` + 1 for whatever is more."""
        table = TABLES[prefix].name
        conditions = _conditions(table, workspace_id, filters, status, now)
        some = f"SELECT 1 FROM projections.{table} WHERE {conditions} LIMIT {most + 1}"  # noqa: S608
        return int(await self._postgres.fetchval(f"SELECT count(*) FROM ({some}) AS found", *conditions.arguments))  # noqa: S608

    async def chosen(
        self, workspace_id: str, filters: Mapping[str, object], *, status: str | None, now: datetime, most: int
    ) -> tuple[list[Chosen], int]:
        """The keys that match, newest first, up to `most` of them; and how many do."""
        conditions = _conditions("keys", workspace_id, filters, status, now)
        rows = await self._postgres.fetch(
            "SELECT id, name, partner_id, parent_id, role, rotated, "  # noqa: S608
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
            f"SELECT position, record FROM {_TRAIL} "  # noqa: S608
            f"WHERE {conditions} ORDER BY position {'ASC' if ascending else 'DESC'} LIMIT {limit + 1}",
            *conditions.arguments,
        )
        return page_of([(str(each.position), each) for each in await self._audited(rows)], limit)

    async def trail(
        self, workspace_id: str, filters: Mapping[str, object], *, after: int, until: int, limit: int
    ) -> list[tuple[int, str]]:
        """Positions and records, as they stand in the log, of the audit trail between two positions, oldest first."""
        conditions = Conditions(workspace_id)
        for expression, value in (*filters.items(), ("position > $?", after), ("position <= $?", until)):
            conditions.add(expression, value)
        rows = await self._postgres.fetch(
            f"SELECT position, record FROM {_TRAIL} "  # noqa: S608
            f"WHERE {conditions} ORDER BY position LIMIT {limit}",
            *conditions.arguments,
        )
        return [(row["position"], row["record"]) for row in rows]

    async def chain(self, workspace_id: str, event_id: str, filters: Mapping[str, object]) -> Chain | None:
        """An event of a workspace with what caused it, the nearest first, and all that it caused, as far as `filters`
        let them be seen; None where there is no such event, or it isn't."""
        found = await self._postgres.fetch(query("chain"), workspace_id, event_id, MOST_CAUSES, MOST_EFFECTS + 1)
        conditions = Conditions(workspace_id)
        for expression, value in (
            *filters.items(),
            ("position = ANY ($?::bigint[])", [row["position"] for row in found]),
        ):
            conditions.add(expression, value)
        rows = await self._postgres.fetch(
            f"SELECT position, record FROM {_TRAIL} WHERE {conditions}",  # noqa: S608
            *conditions.arguments,
        )
        seen = {each.position: each for each in await self._audited(rows)}
        by_depth = {
            side: [seen[row["position"]] for row in found if row["side"] == side and row["position"] in seen]
            for side in ("this", "causes", "effects")
        }
        if not by_depth["this"]:
            return None
        effects = sorted(by_depth["effects"], key=lambda each: each.position)
        more = sum(row["side"] == "effects" for row in found) > MOST_EFFECTS
        return Chain(by_depth["this"][0], by_depth["causes"], effects[:MOST_EFFECTS], more)

    async def _audited(self, rows: list[Any]) -> list[Audited]:
        return await self.opened([(row["position"], row["record"]) for row in rows])

    async def opened(self, logged: Sequence[tuple[int, str]]) -> list[Audited]:
        """Records as they stand in the log, with what is sealed in them."""
        records = await self._opener.open(self._postgres.fetch, [read_record(text) for _, text in logged])
        return [Audited(position, record) for (position, _), record in zip(logged, records, strict=True)]


def _conditions(
    table: str, workspace_id: str, filters: Mapping[str, object], status: str | None, now: datetime
) -> Conditions:
    conditions = Conditions(workspace_id)
    add_conditions(conditions, table, filters, status, now)
    return conditions


def add_conditions(
    conditions: Conditions, table: str, filters: Mapping[str, object], status: str | None, now: datetime
) -> None:
    """What was asked for of a table of `current`, with what time makes of a status."""
    for expression, value in filters.items():
        conditions.add(expression, value)
    by_time = _BY_TIME.get((table, status or ""))
    if by_time:
        conditions.add(by_time.replace("$now", "$?"), now)
    else:
        conditions.add("status = $?", status)


def page_of(rows: list[tuple[str, Any]], limit: int) -> Page:
    """Of rows with their cursors, one more than the limit where there are more."""
    more = rows[limit - 1][0] if len(rows) > limit else None
    return Page([item for _, item in rows[:limit]], more)
