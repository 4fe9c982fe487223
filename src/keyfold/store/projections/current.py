"""Current state: what each stream comes to, folded by the same code as a single read, with columns for lists."""

from typing import Any, NamedTuple

import asyncpg
import msgspec

from keyfold.domain.aggregates import INTEGRATION, KEY, LINK, PARTNER, Aggregate, aggregate_of, fold
from keyfold.domain.record import encode
from keyfold.store.projections.projection import Positioned, UnappliableError


class Table(NamedTuple):
    """`indexed` are the attributes of the state that have a column of their own beside it."""

    name: str
    aggregate: Aggregate[Any]
    indexed: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("id", *self.indexed, "version", "state")


TABLES = {
    each.aggregate.prefix: each
    for each in (
        Table("integrations", INTEGRATION, ("workspace_id", "status")),
        Table("partners", PARTNER, ("workspace_id", "integration_id", "status")),
        Table("links", LINK, ("workspace_id", "integration_id", "partner_id", "status")),
        Table("keys", KEY, ("workspace_id", "integration_id", "partner_id", "kind", "environment", "status")),
    )
}


class Row(NamedTuple):
    version: int
    state: Any


class CurrentState:
    name = "current"
    tables: tuple[str, ...] = tuple(table.name for table in TABLES.values())

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
        records = [_columns(table, stream, row) for stream, row in rows.items()]
        await connection.copy_records_to_table(table.name, records=records, columns=table.columns)


async def _update(connection: asyncpg.Connection, table: Table, rows: dict[str, Row]) -> None:
    """Only what an event can change: the version, the status and the state."""
    if rows:
        changed = [(stream, row.version, row.state.status, encode(row.state).decode()) for stream, row in rows.items()]
        await connection.execute(
            f"UPDATE {table.name} SET version = u.version, status = u.status, state = u.state::json "  # noqa: S608
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) AS u (id, version, status, state) "
            f"WHERE {table.name}.id = u.id",
            *([*column] for column in zip(*changed, strict=True)),
        )


def _columns(table: Table, stream: str, row: Row) -> tuple[object, ...]:
    indexed = (getattr(row.state, name) for name in table.indexed)
    return (stream, *indexed, row.version, encode(row.state).decode())
