"""Rebuilds: a projection made anew beside the live one, then swapped in, or compared row by row."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from keyfold.store.data_keys import Opener
from keyfold.store.projections.projection import Positioned, Projection, UnappliableError, cursor_of, read_positioned
from keyfold.store.queries import query

BATCH = 5_000
Progress = Callable[[int, int], None]
"""Told (events applied, events in all) after each batch."""


class Difference(NamedTuple):
    """A row that is only in the live table, or only in the rebuilt one."""

    table: str
    side: str
    row: str


class Verified(NamedTuple):
    position: int
    rows: int
    differences: list[Difference]


async def rebuild(url: str, projection: Projection, opener: Opener, progress: Progress) -> int:
    """Rebuilds from the log and swaps, in one transaction; readers and the projector go on. Gives the position."""
    async with _workshop(url, projection) as connection:
        built = await _catch_up(connection, projection, opener, 0, await _head(connection), progress)
        await _finish_indexes(connection, projection)
        async with connection.transaction():
            # the projector waits for its cursor, then finds it moved and goes on from there
            await _hold_cursor(connection, projection)
            built = await _catch_up(connection, projection, opener, built, await _head(connection), progress)
            for table in projection.tables:
                await connection.execute(f"DROP TABLE projections.{table}")
                await connection.execute(f"ALTER TABLE projections_next.{table} SET SCHEMA projections")
            await connection.execute(query("set_cursor"), projection.name, built)
    return built


async def verify(url: str, projection: Projection, opener: Opener, progress: Progress) -> Verified:
    """Rebuilds beside the live tables and compares at the live cursor, where the projector is held meanwhile."""
    async with _workshop(url, projection) as connection:
        built = await _catch_up(connection, projection, opener, 0, await cursor_of(connection, projection), progress)
        async with connection.transaction():
            live = await _hold_cursor(connection, projection)
            await _catch_up(connection, projection, opener, built, live, progress)
            differences = [each for table in projection.tables for each in await _compare(connection, table)]
            rows = sum([await _count(connection, table) for table in projection.tables])
    return Verified(live, rows, differences)


@asynccontextmanager
async def _workshop(url: str, projection: Projection) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose bare table names are those of fresh, empty tables. Two at once for a projection wait."""
    session = {
        "search_path": "projections_next",
        "application_name": f"keyfold rebuild {projection.name}",
        "jit": "off",
        # what a crash takes from tables that nobody sees yet is made again
        "synchronous_commit": "off",
    }
    connection = await asyncpg.connect(url, server_settings=session)
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('keyfold rebuild'), hashtext($1))", projection.name)
        for table in projection.tables:
            await connection.execute(f"DROP TABLE IF EXISTS projections_next.{table}")
            await connection.execute(f"CREATE TABLE projections_next.{table} (LIKE projections.{table})")
            for name, definition in await connection.fetch(query("constraints"), f"projections.{table}"):
                await connection.execute(f'ALTER TABLE projections_next.{table} ADD CONSTRAINT "{name}" {definition}')
        yield connection
    finally:
        if not connection.is_closed():
            for table in projection.tables:
                await connection.execute(f"DROP TABLE IF EXISTS projections_next.{table}")
        await connection.close()


async def _catch_up(
    connection: asyncpg.Connection,
    projection: Projection,
    opener: Opener,
    after: int,
    until: int,
    progress: Progress,
) -> int:
    while after < until:
        rows = await connection.fetch(query("read_after"), after, min(BATCH, until - after))
        if not rows:
            raise UnappliableError(after + 1, LookupError("the cursor is there, the log ends before"))
        read = [read_positioned(row["position"], row["record"]) for row in rows]
        records = [each.record for each in read]
        opened = await opener.open(connection.fetch, records, actors=projection.reads_actors)
        batch = [Positioned(each.position, record) for each, record in zip(read, opened, strict=True)]
        await projection.apply(connection, batch)
        after = batch[-1].position
        progress(after, until)
    return after


async def _finish_indexes(connection: asyncpg.Connection, projection: Projection) -> None:
    """Indexes that no constraint made, built at the end, when that is cheapest, and what the planner wants to know."""
    for table in projection.tables:
        for (definition,) in await connection.fetch(query("indexes"), f"projections.{table}"):
            await connection.execute(definition.replace(" ON projections.", " ON projections_next.", 1))
        await connection.execute(f"ANALYZE projections_next.{table}")


async def _hold_cursor(connection: asyncpg.Connection, projection: Projection) -> int:
    return int(await connection.fetchval(query("cursor") + " FOR UPDATE", projection.name))


async def _head(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval(query("head")))


async def _compare(connection: asyncpg.Connection, table: str) -> list[Difference]:
    sides = {"live": ("projections", "projections_next"), "rebuilt": ("projections_next", "projections")}
    return [
        Difference(table, side, row)
        for side, (these, those) in sides.items()
        for (row,) in await connection.fetch(
            f"SELECT t::text FROM {these}.{table} t EXCEPT ALL SELECT t::text FROM {those}.{table} t LIMIT 20"  # noqa: S608
        )
    ]


async def _count(connection: asyncpg.Connection, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM projections.{table}"))  # noqa: S608
