"""How keys are used, on the real Postgres: nothing lost, nothing twice, and written by its function alone."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from conftest import Database, new_database
from keyfold.app.usage import KeyUsage, Usage
from keyfold.cli.embedded import Postgres as Server
from keyfold.domain.refusals import Unavailable
from keyfold.store import usage as store_usage
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.store.usage import Neighbour, UsageStore

from .support import LIMIT, connected, rows, value

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
COUNTS = "SELECT key_id, count FROM keyfold.key_usage ORDER BY 1"
ADDRESSES = "SELECT address FROM keyfold.key_addresses WHERE key_id = $1 ORDER BY last_at"


@pytest.fixture
def store(postgres: Postgres) -> UsageStore:
    return UsageStore(postgres)


@asynccontextmanager
async def pool(url: str) -> AsyncIterator[Postgres]:
    this = Postgres(url, name="tests")
    await this.open()
    try:
        yield this
    finally:
        await this.close()


async def see(store: UsageStore, *seen: tuple[str, str, datetime]) -> None:
    """Writes valid uses: key, address, time."""
    usage = Usage()
    for key_id, address, at in seen:
        usage.note(key_id, "valid", at, address=address)
    await store.flush(usage)


async def test_processes_that_flush_at_the_same_time_add_up_exactly_and_never_deadlock(database: Database) -> None:
    """The same keys in another order each time, as they come; in every second round only the addresses are the same."""
    dice, noted, first, last = random.Random(1), Counter[str](), dict[str, datetime](), dict[str, datetime]()
    usages = [Usage() for _ in range(3)]
    async with pool(database.api_url) as one, pool(database.api_url) as two, pool(database.api_url) as three:
        stores = [UsageStore(each) for each in (one, two, three)]
        for round_ in range(60):
            for process, usage in enumerate(usages):
                for key_id in dice.choices([f"key_{n}" for n in range(150)], k=300):
                    at = NOW + timedelta(microseconds=dice.randrange(10**9))
                    usage.note(key_id, "valid", at, action=f"{process}" * (round_ % 2), address="192.0.2.1")
                    noted[key_id] += 1
                    first[key_id], last[key_id] = min(first.get(key_id, at), at), max(last.get(key_id, at), at)
            await asyncio.gather(*[store.flush(usage) for store, usage in zip(stores, usages, strict=True)])
        found = await stores[0].of([*noted])
    assert {key_id: each.counts for key_id, each in found.items()} == {key: {"valid": n} for key, n in noted.items()}
    assert {key_id: each.last_used_at for key_id, each in found.items()} == last
    seen = await rows(database.api_url, "SELECT key_id, first_at, last_at FROM keyfold.key_addresses")
    assert {key_id: times for key_id, *times in seen} == {key_id: [first[key_id], last[key_id]] for key_id in noted}


async def until_gone(postgres: Postgres) -> None:
    """Until its processes have noticed that their server was killed, which a busy machine delays."""
    with suppress(Unavailable):
        while True:
            await postgres.fetchval("SELECT 1")


async def test_what_an_outage_keeps_from_being_written_is_written_afterwards(own_postgres_server: Server) -> None:
    database, usage = await new_database(own_postgres_server), Usage()
    async with pool(database.api_url) as postgres:
        store = UsageStore(postgres)
        assert await store.of(["key_1"]) == {"key_1": KeyUsage()}
        own_postgres_server.kill()
        await until_gone(postgres)
        for seconds in range(3):
            usage.note("key_1", "valid", NOW + seconds * SECOND, address="192.0.2.1")
            with pytest.raises(Unavailable):
                await store.flush(usage)
        await own_postgres_server.start()
        await store.flush(usage)
        assert await store.of(["key_1"]) == {"key_1": KeyUsage(last_used_at=NOW + 2 * SECOND, counts={"valid": 3})}
    times = "SELECT first_at, last_at FROM keyfold.key_addresses"
    assert await rows(database.admin_url, times) == [(NOW, NOW + 2 * SECOND)]


async def test_a_flush_that_takes_too_long_is_written_as_far_as_it_came_and_the_rest_once_later(
    store: UsageStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up in Postgres too: what waits there behind a lock would otherwise be written when the lock is gone."""
    monkeypatch.setattr(store_usage, "BATCH", 2)
    usage = Usage()
    usage.note("key_3", "valid", NOW)
    await store.flush(usage)
    for key_id in ("key_1", "key_2", "key_3", "key_4", "key_5"):
        usage.note(key_id, "valid", NOW, address="192.0.2.1")
    async with connected(database.admin_url) as other, other.transaction():
        await other.execute("SELECT FROM keyfold.key_usage WHERE key_id = 'key_3' FOR UPDATE")
        with pytest.raises(Unavailable):
            await store.flush(usage)
    assert await rows(database.api_url, COUNTS) == [("key_1", 1), ("key_2", 1), ("key_3", 1)]
    await store.flush(usage)
    assert await rows(database.api_url, COUNTS) == [
        ("key_1", 1),
        ("key_2", 1),
        ("key_3", 2),
        ("key_4", 1),
        ("key_5", 1),
    ]
    assert await value(database.api_url, "SELECT count(*) FROM keyfold.key_addresses") == 5


async def test_a_cancelled_flush_loses_nothing(store: UsageStore, database: Database) -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW)
    flush = asyncio.create_task(store.flush(usage))
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    assert flush.cancelled()
    await store.flush(usage)
    assert await rows(database.api_url, COUNTS) == [("key_1", 1)]


async def test_nothing_noted_asks_nothing_of_postgres() -> None:
    assert await UsageStore(Postgres("postgresql://nobody@/nowhere", name="tests")).flush(Usage()) is False


async def test_the_usage_of_keys_tells_valid_uses_from_others(store: UsageStore) -> None:
    usage = Usage()
    usage.note("key_1", "valid", NOW)
    usage.note("key_1", "valid", NOW + SECOND, action="send")
    usage.note("key_1", "valid", NOW - SECOND, action="receive")
    usage.note("key_1", "revoked", NOW + DAY, action="send")
    usage.note("key_1", "revoked", NOW + DAY)
    usage.note("key_2", "expired", NOW)
    usage.note("key_3", "valid", NOW)
    await store.flush(usage)
    assert await store.of(["key_1", "key_2", "key_unused"]) == {
        "key_1": KeyUsage(
            last_used_at=NOW + SECOND,
            counts={"valid": 3, "revoked": 2},
            last_used_by_action={"send": NOW + SECOND, "receive": NOW - SECOND},
        ),
        "key_2": KeyUsage(counts={"expired": 1}),
        "key_unused": KeyUsage(),
    }


async def test_neighbours_are_the_other_keys_of_the_addresses_that_a_key_came_from_since_then(
    store: UsageStore,
) -> None:
    await see(
        store,
        ("key_1", "192.0.2.1", NOW),
        ("key_1", "192.0.2.2", NOW - SECOND),
        ("key_2", "192.0.2.1", NOW - DAY),
        ("key_3", "192.0.2.1", NOW + DAY),
        ("key_3", "192.0.2.2", NOW),
        ("key_4", "192.0.2.3", NOW),
    )
    now = [Neighbour("key_3", "192.0.2.1", NOW + DAY), Neighbour("key_2", "192.0.2.1", NOW - DAY)]
    assert await store.neighbours("key_1", NOW) == now
    earlier = [now[0], Neighbour("key_3", "192.0.2.2", NOW), now[1]]
    assert await store.neighbours("key_1", NOW - SECOND) == earlier
    assert await store.neighbours("key_1", NOW + SECOND) == []


async def test_of_many_neighbours_the_thousand_seen_last_are_given(store: UsageStore) -> None:
    many = [(f"key_{n}", f"192.0.2.{int(n % 10 == 0)}", NOW + n * SECOND) for n in range(1200)]
    await see(store, *many, ("key_x", "192.0.2.0", NOW), ("key_x", "192.0.2.1", NOW))
    assert [each.key_id for each in await store.neighbours("key_x", NOW)] == [f"key_{n}" for n in range(1199, 199, -1)]


async def test_addresses_not_seen_for_90_days_are_forgotten(store: UsageStore, database: Database) -> None:
    now = datetime.now(UTC)
    await see(store, ("key_1", "192.0.2.1", now - 91 * DAY), ("key_1", "192.0.2.2", now - 89 * DAY))
    await value(database.worker_url, query("forget_addresses"))
    assert await rows(database.api_url, ADDRESSES, "key_1") == [("192.0.2.2",)]
    assert (await store.of(["key_1"]))["key_1"].counts == {"valid": 2}


async def test_of_each_key_the_100_addresses_seen_last_are_kept(store: UsageStore, database: Database) -> None:
    now = datetime.now(UTC)
    seen = [(key_id, f"192.0.2.{n}", now + n * SECOND) for key_id in ("key_1", "key_2") for n in range(120)]
    random.Random(1).shuffle(seen)
    await see(store, *seen, *[("key_3", f"192.0.2.{n}", now) for n in range(100)])
    await value(database.worker_url, query("forget_addresses"))
    for key_id in ("key_1", "key_2"):
        assert await rows(database.api_url, ADDRESSES, key_id) == [(f"192.0.2.{n}",) for n in range(20, 120)]
    assert len(await rows(database.api_url, ADDRESSES, "key_3")) == 100


async def test_forgetting_waits_for_nobody_so_no_flush_waits_for_it_in_a_circle(
    store: UsageStore, database: Database
) -> None:
    """A row that is being written is passed over, and forgotten the next time if it still has to be."""
    now = datetime.now(UTC)
    crowd = [("key_2", f"192.0.2.{n}", now + n * SECOND) for n in range(102)]
    await see(store, ("key_1", "192.0.2.1", now - 91 * DAY), ("key_1", "192.0.2.2", now - 91 * DAY), *crowd)
    async with connected(database.admin_url) as writer, writer.transaction():
        await writer.execute("UPDATE keyfold.key_addresses SET first_at = last_at WHERE address = '192.0.2.1'")
        async with asyncio.timeout(LIMIT):
            await value(database.worker_url, query("forget_addresses"))
        assert await rows(database.api_url, ADDRESSES, "key_1") == [("192.0.2.1",)]
        assert (await rows(database.api_url, ADDRESSES, "key_2"))[:2] == [("192.0.2.1",), ("192.0.2.2",)]
    await value(database.worker_url, query("forget_addresses"))
    assert await rows(database.api_url, ADDRESSES, "key_1") == []
    assert len(await rows(database.api_url, ADDRESSES, "key_2")) == 100


WRITES = [
    "INSERT INTO keyfold.key_usage VALUES ('key_1', 'valid', '', 1, now())",
    "UPDATE keyfold.key_usage SET count = 0",
    "UPDATE keyfold.key_usage SET last_at = now()",
    "DELETE FROM keyfold.key_usage",
    "TRUNCATE keyfold.key_usage",
    "INSERT INTO keyfold.key_addresses VALUES ('key_1', '192.0.2.1', now(), now())",
    "UPDATE keyfold.key_addresses SET last_at = now()",
    "DELETE FROM keyfold.key_addresses",
    "TRUNCATE keyfold.key_addresses",
]
CALLS = {
    "keyfold_api": "SELECT keyfold.forget_addresses()",
    "keyfold_worker": "SELECT keyfold.note_usage('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
}


@pytest.mark.parametrize("login", CALLS)
async def test_no_login_writes_usage_but_through_its_own_function(database: Database, login: str) -> None:
    async with connected(database.server.url(login, database.name)) as connection:
        for statement in [*WRITES, CALLS[login]]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_worker_sees_when_keys_were_used_but_not_from_where(database: Database) -> None:
    async with connected(database.worker_url) as worker:
        assert await worker.fetch("SELECT key_id, last_at FROM keyfold.key_usage") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.fetch("SELECT FROM keyfold.key_addresses")
