"""The log can be added to by one function, and by nothing else: whoever asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from conftest import Database
from keyfold.store.journal import PostgresJournal

from .support import append, connected, entry, rows

CHANGES = [
    "UPDATE keyfold.log SET record = '{}'",
    "UPDATE keyfold.log SET version = 1 WHERE false",
    "DELETE FROM keyfold.log",
    "DELETE FROM keyfold.log WHERE position = 1",
    "TRUNCATE keyfold.log",
    "TRUNCATE keyfold.log CASCADE",
    "MERGE INTO keyfold.log USING (SELECT 1 AS p) s ON position = s.p WHEN MATCHED THEN DELETE",
    "INSERT INTO keyfold.log VALUES (1, 'a', 1, '{}', 'ws_a', 1) ON CONFLICT (position) DO UPDATE SET record = '{}'",
]
PEOPLE = ["keyfold_api", "keyfold_worker", "keyfold_owner", "postgres"]


@asynccontextmanager
async def acting_as(database: Database, who: str, *, replica: bool) -> AsyncIterator[asyncpg.Connection]:
    """keyfold_owner can't log in: a superuser becomes it. Only superusers may call themselves a replica."""
    login = who if who in ("keyfold_api", "keyfold_worker") and not replica else "postgres"
    async with connected(database.server.url(login, database.name)) as connection:
        if replica:
            await connection.execute("SET session_replication_role = replica")
        if who != login:
            await connection.execute(f"SET ROLE {who}")
        yield connection


@pytest.mark.parametrize("replica", [False, True], ids=["", "replica"])
@pytest.mark.parametrize("who", PEOPLE)
async def test_the_log_is_changed_by_nobody(
    journal: PostgresJournal, database: Database, who: str, replica: bool
) -> None:
    await append(journal, entry("a", 1), entry("a", 2))
    log = "SELECT position, stream, version, record FROM keyfold.log ORDER BY position"
    before = await rows(database.api_url, log)
    async with acting_as(database, who, replica=replica) as connection:
        for change in CHANGES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    assert await rows(database.api_url, log) == before


@pytest.mark.parametrize("who", ["keyfold_api", "keyfold_worker"])
async def test_the_logins_can_neither_insert_by_themselves_nor_disarm_the_trigger(database: Database, who: str) -> None:
    async with acting_as(database, who, replica=False) as connection:
        for statement in (
            "INSERT INTO keyfold.log VALUES (1, 'a', 1, '{}', 'ws_a', 1)",
            "COPY keyfold.log FROM STDIN",
            "ALTER TABLE keyfold.log DISABLE TRIGGER append_only",
            "ALTER TABLE keyfold.log DISABLE TRIGGER ALL",
            "DROP TRIGGER append_only ON keyfold.log",
            "DROP TABLE keyfold.log",
            "CREATE OR REPLACE FUNCTION keyfold.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE TABLE keyfold.mine ()",
            "CREATE RULE mine AS ON INSERT TO keyfold.log DO INSTEAD NOTHING",
            "SET session_replication_role = replica",
            "SET ROLE keyfold_owner",
            "BEGIN; LOCK TABLE keyfold.log",
            "SELECT record FROM keyfold.log FOR UPDATE",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
            await connection.execute("ROLLBACK")


MOST = 65_536
ROWS = {
    "a version below one": ("keyfold.log", "(1, 'a', 0, '{}', 'ws_a', 1)"),
    "a position below one": ("keyfold.log", "(0, 'a', 1, '{}', 'ws_a', 1)"),
    "a number below one": ("keyfold.log", "(1, 'a', 1, '{}', 'ws_a', 0)"),
    "a record that is too large": ("keyfold.log", f"(1, 'a', 1, to_json(repeat('x', {MOST - 1})), 'ws_a', 1)"),
    "a digest that is too short": ("keyfold.key_secrets", "('a', 1, '\\x00')"),
    "a digest that is too long": ("keyfold.key_secrets", f"('a', 1, '\\x{'00' * 33}')"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_the_checks_of_the_columns_hold_for_the_owner_too(database: Database, row: str) -> None:
    table, values = ROWS[row]
    async with acting_as(database, "keyfold_owner", replica=False) as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"INSERT INTO {table} VALUES {values}")
        largest = f"(1, 'a', 1, to_json(repeat('x', {MOST - 2})), 'ws_a', 1)"
        await connection.execute(f"INSERT INTO keyfold.log VALUES {largest}")


async def test_a_version_a_position_or_a_number_is_never_given_twice(database: Database) -> None:
    async with acting_as(database, "keyfold_owner", replica=False) as connection:
        await connection.execute("INSERT INTO keyfold.log VALUES (1, 'a', 1, '{}', 'ws_a', 1)")
        for values in ("(1, 'b', 1, '{}', 'ws_a', 2)", "(2, 'a', 1, '{}', 'ws_a', 2)", "(2, 'b', 1, '{}', 'ws_a', 1)"):
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute(f"INSERT INTO keyfold.log VALUES {values}")


async def test_the_append_function_cannot_be_fooled_by_the_callers_names(database: Database) -> None:
    """It runs as the owner: a caller's temporary tables and types must not get in between."""
    async with acting_as(database, "keyfold_api", replica=False) as connection:
        await connection.execute("CREATE TEMP TABLE log (position bigint, stream text, version integer, record json)")
        await connection.execute("CREATE TEMP TABLE replays (id bytea)")
        await connection.execute("CREATE DOMAIN pg_temp.json AS text")
        await connection.execute("SET search_path = pg_temp, keyfold")
        event = "'{1}','{a}','{1}',ARRAY['{\"a\":1}'],'{ws_a}'"
        await connection.execute(f"SELECT keyfold.append({event}{',NULL' * 15})")
        assert await connection.fetchval("SELECT count(*) FROM pg_temp.log") == 0
        assert await connection.fetchval("SELECT count(*) FROM keyfold.log") == 1
