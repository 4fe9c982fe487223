"""Rebuild and verify: beside the live tables, while everything goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from conftest import Database
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections import rebuild as module
from keyfold.store.projections.projection import UnappliableError
from keyfold.store.projections.rebuild import Difference, rebuild, verify
from keyfold.worker.worker import Worker

from .support import (
    OPENER,
    Life,
    append,
    assert_projections_equal_a_rebuild,
    connected,
    cursors,
    entry,
    projected,
    rows,
    value,
    wait_until,
)

SHAPE = """
    SELECT 'column', table_name || '.' || column_name, ordinal_position || data_type || is_nullable
    FROM information_schema.columns WHERE table_schema = 'projections'
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'projections'
    UNION ALL SELECT 'constraint', conname, conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'projections'::regnamespace
    UNION ALL SELECT 'privilege', relname, concat_ws(' ', relowner::regrole, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a))
    FROM pg_class WHERE relnamespace = 'projections'::regnamespace AND relkind = 'r'
    ORDER BY 1, 2
"""  # noqa: E501


def silent(done: int, of: int) -> None:
    pass


async def assert_nothing_left_behind(database: Database) -> None:
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'projections_next'::regnamespace"
    assert await rows(database.admin_url, left) == []
    assert (
        await rows(database.admin_url, "SELECT query FROM pg_stat_activity WHERE application_name LIKE $1", REBUILD)
        == []
    )


REBUILD = "keyfold rebuild%"


async def shape(url: str) -> dict[tuple[str, str], str]:
    """What is the same however a table came to be: NULL as its list of grants says what the default says."""
    return {(kind, name): what for kind, name, what in await rows(url, SHAPE)}


async def test_a_rebuild_leaves_tables_indexes_constraints_and_grants_as_the_schema_has_them(
    life: Life, worker: Worker, database: Database
) -> None:
    await life.go_on(20)
    head = await projected(database.api_url)
    before = await shape(database.admin_url)
    content = await contents(database)
    for name, projection in PROJECTIONS.items():
        seen: list[tuple[int, int]] = []
        assert (
            await rebuild(database.worker_url, projection, OPENER, lambda *each, seen=seen: seen.append(each)) == head
        ), name
        assert seen[-1] == (head, head)
    assert await shape(database.admin_url) == before
    assert any(kind == "index" and name == "keys_partner" for kind, name in before)
    assert await contents(database) == content
    await assert_nothing_left_behind(database)
    await life.onboard()
    await projected(database.api_url)
    await assert_projections_equal_a_rebuild(database.worker_url)


async def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    tables = [table for each in PROJECTIONS.values() for table in each.tables]
    return {t: await rows(database.api_url, f"SELECT t::text FROM projections.{t} t ORDER BY 1") for t in tables}


async def test_a_rebuild_while_commands_run_loses_nothing_and_no_reader_sees_less_than_before(
    life: Life, worker: Worker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small batches, so that it takes a while; every read finds at least as many rows as the one before."""
    monkeypatch.setattr(module, "BATCH", 20)
    await life.go_on(60)
    await projected(database.api_url)
    done = False

    async def command() -> None:
        while not done:
            await life.do_something()

    async def watch(table: str) -> int:
        seen = reads = 0
        async with connected(database.api_url) as connection:
            while not done:
                found = await connection.fetchval(f"SELECT count(*) FROM projections.{table}")
                assert found >= seen
                assert found > 0
                seen, reads = found, reads + 1
        return reads

    async def rebuild_all() -> None:
        nonlocal done
        try:
            for _ in range(2):
                for projection in PROJECTIONS.values():
                    await rebuild(database.worker_url, projection, OPENER, silent)
        finally:
            done = True

    watching = asyncio.gather(*[watch(table) for table in ("keys", "partners", "audit")])
    await asyncio.gather(command(), watching, rebuild_all())
    assert min(watching.result()) > 20
    await projected(database.api_url)
    await assert_projections_equal_a_rebuild(database.worker_url)
    await assert_nothing_left_behind(database)


async def test_a_rebuild_heals_what_was_tampered_with(life: Life, worker: Worker, database: Database) -> None:
    await life.onboard()
    await projected(database.api_url)
    content = await contents(database)
    async with connected(database.worker_url) as connection:
        await connection.execute(
            "UPDATE projections.keys SET status = 'active', state = '{}'; DELETE FROM projections.audit"
        )
    for projection in PROJECTIONS.values():
        await rebuild(database.worker_url, projection, OPENER, silent)
    assert await contents(database) == content


async def test_a_rebuild_works_without_a_worker_and_from_nothing(life: Life, database: Database) -> None:
    """The log alone is enough: nothing has been projected yet, and no NATS is asked."""
    await life.onboard()
    head = await life.services.journal.head()
    for projection in PROJECTIONS.values():
        assert await rebuild(database.worker_url, projection, OPENER, silent) == head
    assert set((await cursors(database.api_url)).values()) == {head}
    await assert_projections_equal_a_rebuild(database.worker_url)


TAMPERED = {
    "a changed row": ("UPDATE projections.keys SET status = 'active' WHERE id = $1", "keys", {"live", "rebuilt"}),
    "a missing row": ("DELETE FROM projections.keys WHERE id = $1", "keys", {"rebuilt"}),
    "a changed text": (
        "UPDATE projections.keys SET state = replace(state::text, ':', ': ')::json WHERE id = $1",
        "keys",
        {"live", "rebuilt"},
    ),
    "a row too many": (
        (
            "INSERT INTO projections.audit (position, workspace_id, type, stream, time, actor_kind, actor_id, "
            "correlation_id, key_id, id) VALUES (900, 'ws_1', 'key.issued.v1', 's', now(), 'key', 'a', 'c', $1, 'e')"
        ),
        "audit",
        {"live"},
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_verify_finds_a_row_that_was_tampered_with_and_names_it(
    life: Life, worker: Worker, database: Database, what: str
) -> None:
    statement, table, sides = TAMPERED[what]
    key_id = (await life.onboard()).keys[0].id
    await life.revoke(key_id)
    head = await projected(database.api_url)
    async with connected(database.worker_url) as connection:
        await connection.execute(statement, key_id)
    found = {name: await verify(database.worker_url, each, OPENER, silent) for name, each in PROJECTIONS.items()}
    differences = [each for outcome in found.values() for each in outcome.differences]
    assert {each.side for each in differences} == sides
    assert all(each.table == table and key_id in each.row for each in differences)
    assert all(isinstance(each, Difference) for each in differences)
    assert {outcome.position for outcome in found.values()} == {head}
    await assert_nothing_left_behind(database)


async def test_verify_counts_what_it_compared_and_holds_nobody_up_for_good(
    life: Life, worker: Worker, database: Database
) -> None:
    await life.go_on(20)
    await projected(database.api_url)
    going_on = asyncio.create_task(life.go_on(40))
    outcome = await verify(database.worker_url, PROJECTIONS["audit"], OPENER, silent)
    assert outcome.differences == []
    assert outcome.rows == outcome.position > 0
    await going_on
    await projected(database.api_url)


@asynccontextmanager
async def rebuilding(database: Database) -> AsyncIterator[asyncio.Task[int]]:
    """A rebuild that has built everything, and waits for the cursor that somebody holds."""
    async with connected(database.worker_url) as holder, holder.transaction():
        await holder.execute("SELECT FROM projections.cursors FOR UPDATE")
        task = asyncio.create_task(rebuild(database.worker_url, PROJECTIONS["audit"], OPENER, silent))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE $1"
        await wait_until(lambda: value(database.admin_url, waits, REBUILD))
        assert await value(database.worker_url, "SELECT count(*) FROM projections_next.audit") > 0
        yield task


async def fail(database: Database, how: str) -> None:
    audit = PROJECTIONS["audit"]
    if how == "by a cancellation":
        async with rebuilding(database) as task:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    elif how == "by the caller":

        def refuse(done: int, of: int) -> None:
            raise RuntimeError("the terminal is gone")

        with pytest.raises(RuntimeError, match="terminal"):
            await rebuild(database.worker_url, audit, OPENER, refuse)
    else:
        with pytest.raises(UnappliableError, match=r"position \d+ can't be applied"):
            await rebuild(database.worker_url, audit, OPENER, silent)


@pytest.mark.parametrize("how", ["by a cancellation", "by the caller", "by an event"])
async def test_a_rebuild_that_fails_leaves_the_live_tables_and_nothing_else(
    life: Life, worker: Worker, database: Database, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.go_on(20)
    await projected(database.api_url)
    content = await contents(database)
    before = await shape(database.admin_url)
    monkeypatch.setattr(module, "BATCH", 5)
    if how == "by an event":
        await append(life.services.journal, entry("key_bogus", 1))
    await fail(database, how)
    assert await contents(database) == content
    assert await shape(database.admin_url) == before
    await assert_nothing_left_behind(database)


async def test_a_rebuild_whose_connection_is_lost_is_cleaned_up_by_the_next(
    life: Life, worker: Worker, database: Database
) -> None:
    await life.go_on(20)
    head = await projected(database.api_url)
    async with rebuilding(database) as task:
        kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE $1"
        await value(database.admin_url, kill, REBUILD)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await task
    assert await rebuild(database.worker_url, PROJECTIONS["audit"], OPENER, silent) == head
    await assert_nothing_left_behind(database)


async def test_two_rebuilds_of_one_projection_take_turns(life: Life, worker: Worker, database: Database) -> None:
    await life.go_on(20)
    head = await projected(database.api_url)
    audit = PROJECTIONS["audit"]
    turns = await asyncio.gather(
        *[rebuild(database.worker_url, audit, OPENER, silent) for _ in range(3)],
        verify(database.worker_url, audit, OPENER, silent),
    )
    assert turns[:3] == [head] * 3
    await assert_projections_equal_a_rebuild(database.worker_url)
