"""The group-committing appender: outages, those who gave up, and records that Postgres won't have."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from conftest import Database
from keyfold.app.ports import Entry, Write
from keyfold.domain.refusals import Unavailable
from keyfold.store import appender as module
from keyfold.store.appender import Appender, arguments
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import PATIENCE, Postgres

from .support import LIMIT, append, connected, entry, moved, rows, value, wait_until

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"


@asynccontextmanager
async def nobody_can_append(database: Database) -> AsyncIterator[None]:
    """Somebody holds the lock of the append function."""
    async with connected(database.admin_url) as connection:
        await connection.execute("SELECT pg_advisory_lock(7309453271)")
        yield


async def somebody_waits(database: Database) -> None:
    await wait_until(lambda: value(database.admin_url, WAITS))


async def streams(database: Database) -> list[str]:
    return [stream for (stream,) in await rows(database.api_url, "SELECT stream FROM keyfold.log ORDER BY position")]


async def test_what_waits_meanwhile_goes_into_one_call(
    journal: PostgresJournal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in the order in which it was asked for."""
    sizes: list[int] = []

    def counted(writes: list[Write]) -> tuple[list[Any] | None, ...]:
        sizes.append(len(writes))
        return arguments(writes)

    monkeypatch.setattr(module, "arguments", counted)
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        others = [asyncio.create_task(append(journal, entry(f"s{n}", 1))) for n in range(600)]
        await asyncio.sleep(0)
    assert await asyncio.gather(first, *others) == list(range(1, 602))
    assert sizes == [1, 512, 88]


async def test_an_outage_in_mid_batch_is_said_to_each_and_the_next_append_works(
    journal: PostgresJournal, database: Database
) -> None:
    """The session dies while the function waits: those in the call don't know, those behind them are appended."""
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        behind = asyncio.create_task(append(journal, entry("behind", 1)))
        await value(database.admin_url, KILL, database.name)
        with pytest.raises(Unavailable, match="same Idempotency-Key"):
            await first
        await somebody_waits(database)
    assert await behind == 1
    assert await append(journal, entry("next", 1)) == 2


async def test_a_connection_that_was_lost_while_idle_is_replaced(journal: PostgresJournal, database: Database) -> None:
    await append(journal, entry("a", 1))
    await value(
        database.admin_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyfold_api'"
    )

    async def appended() -> bool:
        try:
            return await append(journal, entry("a", 2)) == 2
        except Unavailable:
            return False  # the news of the loss may come with the first use

    await wait_until(appended)


async def test_whoever_gave_up_while_waiting_is_not_appended(journal: PostgresJournal, database: Database) -> None:
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        gave_up = asyncio.create_task(append(journal, entry("gave up", 1)))
        last = asyncio.create_task(append(journal, entry("last", 1)))
        await asyncio.sleep(0)
        gave_up.cancel()
        await asyncio.gather(gave_up, return_exceptions=True)
    assert [await first, await last] == [1, 2]
    assert await streams(database) == ["first", "last"]


async def test_nobody_waits_for_ever(journal: PostgresJournal, database: Database) -> None:
    """Neither the one in the call nor those behind it. What was in a call may have been done, what wasn't never is."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        behind = asyncio.create_task(append(journal, entry("behind", 1)))
        outcomes = await asyncio.gather(first, behind, return_exceptions=True)
        assert [type(each) for each in outcomes] == [Unavailable, Unavailable]
        assert PATIENCE <= loop.time() - began < LIMIT
    assert await append(journal, entry("next", 1)) == len(set(await streams(database)))


async def test_what_waited_in_postgres_ends_with_whoever_gave_up(journal: PostgresJournal, database: Database) -> None:
    """Else one stall would leave a connection for each attempt, and do all of them when it is over."""
    waiting = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    async with nobody_can_append(database):
        with pytest.raises(Unavailable):
            await append(journal, entry("given up", 1))
        await wait_until(lambda: value(database.admin_url, waiting))
    assert await append(journal, entry("next", 1)) == 1


POISON: dict[str, Callable[[int], Entry]] = {
    "no JSON": lambda n: entry(f"poison {n}", 1, "{not json"),
    "no object": lambda n: entry(f"poison {n}", 1, '"text"'),
    "nothing in it": lambda n: entry(f"poison {n}", 1, "{}"),
    "too large": lambda n: entry(f"poison {n}", 1, '{"a":"' + "x" * 65_536 + '"}'),
    "too large by its bytes": lambda n: entry(f"poison {n}", 1, '{"a":"' + "ä" * 32_768 + '"}'),
    "a zero byte": lambda n: entry(f"poison\0{n}", 1),
    "no UTF-8": lambda n: entry(f"poison {n}", 1, '{"a":"\ud800"}'),
    "a version that is no integer of Postgres": lambda n: entry(f"poison {n}", 1)._replace(version=1 << 40),
}


@pytest.mark.parametrize("poison", POISON)
async def test_a_poisonous_record_hurts_only_its_own_command(
    journal: PostgresJournal, database: Database, poison: str
) -> None:
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        good = [asyncio.create_task(append(journal, entry(f"s{n}", 1))) for n in range(4)]
        bad = [asyncio.create_task(append(journal, entry(f"honest {n}", 1), POISON[poison](n))) for n in range(2)]
        good += [asyncio.create_task(append(journal, entry(f"t{n}", 1))) for n in range(4)]
        await asyncio.sleep(0)
    assert await asyncio.gather(first, *good) == list(range(1, 10))
    for outcome in await asyncio.gather(*bad, return_exceptions=True):
        assert isinstance(outcome, asyncpg.PostgresError)
    assert "honest 0" not in await streams(database)
    assert await append(journal, entry("honest 0", 1)) == 10


async def test_whoever_gives_up_behind_a_poisonous_record_is_not_appended(
    journal: PostgresJournal, database: Database
) -> None:
    """The batch was refused and is taken apart one by one: who leaves meanwhile is left out."""
    async with nobody_can_append(database):
        first = asyncio.create_task(append(journal, entry("first", 1)))
        await somebody_waits(database)
        waiting = [entry("bad", 1, "{"), *[entry(f"s{n}", 1) for n in range(20)], entry("gave up", 1)]
        bad, *slow, gave_up = [asyncio.create_task(append(journal, each)) for each in waiting]
        await asyncio.sleep(0)
        bad.add_done_callback(lambda _: gave_up.cancel())
    await asyncio.gather(first, bad, *slow, gave_up, return_exceptions=True)
    assert await append(journal, entry("last", 1)) == 22
    assert "gave up" not in await streams(database)


async def test_each_commit_is_announced_with_its_last_position(postgres: Postgres) -> None:
    """A refused append announces nothing."""
    announced: list[int] = []
    appender = Appender(postgres, on_append=lambda position, streams: announced.append(position))
    await appender.append(Write(entries=[entry("a", 1), entry("b", 1)]))
    assert await moved(appender.append(Write(entries=[entry("a", 1)])))
    await appender.append(Write(entries=[entry("a", 2)]))
    await appender.close()
    assert announced == [2, 3]


async def test_closing_waits_for_what_is_under_way(postgres: Postgres, database: Database) -> None:
    appender = Appender(postgres)
    appending = [asyncio.create_task(appender.append(Write(entries=[entry(f"s{n}", 1)]))) for n in range(20)]
    await asyncio.sleep(0)
    await appender.close()
    assert await asyncio.gather(*appending) == list(range(1, 21))
    await wait_until(
        lambda: value(
            database.admin_url,
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'keyfold_api' AND query LIKE '%append%'",
        )
    )
