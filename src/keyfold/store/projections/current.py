"""Current state: what each stream comes to, folded by the same code as a single read, with columns for lists."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import asyncpg
import msgspec

from keyfold.domain.aggregates import INTEGRATION, KEY, LINK, PARTNER, ROLE, TOPIC, Aggregate, aggregate_of, fold
from keyfold.domain.record import encode
from keyfold.domain.schedule import due_at
from keyfold.store.projections.projection import Positioned, UnappliableError


class Column(NamedTuple):
    """One that stands beside the state, for lists. `changes` says whether an event can change it."""

    name: str
    value: Callable[[Any], object]
    type: str = "text"
    changes: bool = False


class Table(NamedTuple):
    name: str
    aggregate: Aggregate[Any]
    columns: tuple[Column, ...]

    @property
    def changing(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.changes)


def _fixed(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, attrgetter(name)) for name in names)


_STATUS = Column("status", attrgetter("status"), changes=True)
_APP_NAME = Column("name", lambda partner: partner.app_name or "", changes=True)
_KEY_COLUMNS = (
    Column("name", attrgetter("document.name"), changes=True),
    Column("parent_id", attrgetter("parent_id"), changes=True),
    Column("role", attrgetter("document.role"), changes=True),
    Column("tags", lambda key: "\n".join(("", *key.document.tags, "")), changes=True),
    Column("not_before", attrgetter("document.not_before"), "timestamptz", changes=True),
    Column("expires_at", attrgetter("expires_at"), "timestamptz", changes=True),
    Column("retires_at", attrgetter("retires_at"), "timestamptz", changes=True),
    Column("rotated", lambda key: key.succession is not None, "boolean", changes=True),
    Column("issued_at", attrgetter("issued_at"), "timestamptz"),
    Column("idle_seconds", attrgetter("upkeep.idle_seconds"), "integer"),
    Column("rotation_due_at", attrgetter("upkeep.rotation_due_at"), "timestamptz"),
    Column("due_at", due_at, "timestamptz", changes=True),
)
TABLES = {
    each.aggregate.prefix: each
    for each in (
        Table("integrations", INTEGRATION, (*_fixed("workspace_id"), _STATUS)),
        Table("partners", PARTNER, (*_fixed("workspace_id", "integration_id"), _STATUS, _APP_NAME)),
        Table("links", LINK, (*_fixed("workspace_id", "integration_id", "partner_id"), _STATUS)),
        Table(
            "keys",
            KEY,
            (
                *_fixed("workspace_id", "integration_id", "partner_id", "kind", "environment"),
                _STATUS,
                *_KEY_COLUMNS,
            ),
        ),
        Table("roles", ROLE, (*_fixed("workspace_id"), _STATUS)),
        Table("topics", TOPIC, (*_fixed("workspace_id", "integration_id"), _STATUS)),
    )
}


class Row(NamedTuple):
    version: int
    state: Any


class CurrentState:
    name = "current"
    tables: tuple[str, ...] = tuple(table.name for table in TABLES.values())
    reads_actors = False

    async def apply(self, connection: asyncpg.Connection, batch: list[Positioned]) -> None:
        by_table: dict[str, list[Positioned]] = {}
        for each in batch:
            try:
                prefix = aggregate_of(each.record.stream).prefix
            except KeyError as error:
                raise UnappliableError(each.position, error) from error
            if prefix in TABLES:
                by_table.setdefault(prefix, []).append(each)
        for prefix, events in by_table.items():
            await self._apply(connection, TABLES[prefix], events)

    async def _apply(self, connection: asyncpg.Connection, table: Table, events: list[Positioned]) -> None:
        created = {each.record.stream for each in events if each.record.version == 1}
        old = await _load(connection, table, [*{each.record.stream for each in events} - created])
        rows = dict(old)
        for position, record in events:
            row = rows.get(record.stream, Row(0, None))
            if record.version != row.version + 1:
                raise UnappliableError(position, ValueError(f"{record.stream} is at version {row.version}"))
            try:
                rows[record.stream] = Row(record.version, fold(table.aggregate, row.state, record))
            except Exception as error:
                raise UnappliableError(position, error) from error
        await _insert(connection, table, {stream: rows[stream] for stream in rows if stream in created})
        await _update(connection, table, {stream: rows[stream] for stream in old})


async def _load(connection: asyncpg.Connection, table: Table, streams: list[str]) -> dict[str, Row]:
    if not streams:
        return {}
    found = await connection.fetch(
        f"SELECT id, version, state FROM {table.name} WHERE id = ANY ($1::text[])",  # noqa: S608  # our own names
        streams,
    )
    decoder = msgspec.json.Decoder(table.aggregate.state)
    return {row["id"]: Row(row["version"], decoder.decode(row["state"])) for row in found}


async def _insert(connection: asyncpg.Connection, table: Table, rows: dict[str, Row]) -> None:
    if rows:
        records = [
            (stream, *[column.value(row.state) for column in table.columns], row.version, encode(row.state).decode())
            for stream, row in rows.items()
        ]
        names = ("id", *[column.name for column in table.columns], "version", "state")
        await connection.copy_records_to_table(table.name, records=records, columns=names)


async def _update(connection: asyncpg.Connection, table: Table, rows: dict[str, Row]) -> None:
    """Only what an event can change, of all rows in one statement."""
    if not rows:
        return
    changing = table.changing
    names = [column.name for column in changing]
    types = [column.type for column in changing]
    sets = ", ".join(f"{name} = u.{name}" for name in (*names, "version"))
    arrays = ", ".join(f"${n}::{each}[]" for n, each in enumerate(("text", *types, "integer", "text"), 1))
    changed = [
        (stream, *[column.value(row.state) for column in changing], row.version, encode(row.state).decode())
        for stream, row in rows.items()
    ]
    await connection.execute(
        f"UPDATE {table.name} SET {sets}, state = u.state::json "  # noqa: S608  # our own names
        f"FROM unnest({arrays}) AS u (id, {', '.join(names)}, version, state) WHERE {table.name}.id = u.id",
        *([*column] for column in zip(*changed, strict=True)),
    )
