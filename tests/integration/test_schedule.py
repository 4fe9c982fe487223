"""What time brings to keys: written down once each, whatever restarts in between and however late the projection is."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from conftest import Database
from faults.system import Process
from keyfold.app.keys import NewKey
from keyfold.app.rotation import Overlap
from keyfold.app.schedules import Schedules
from keyfold.app.usage import Usage
from keyfold.app.vault import Vault
from keyfold.app.work import Office
from keyfold.bus.connection import Bus
from keyfold.bus.herald import Appended
from keyfold.bus.subjects import APPENDED
from keyfold.domain.aggregates import KEY
from keyfold.domain.integration import Terms
from keyfold.domain.key_state import Key
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.record import Actor, read_record
from keyfold.settings import Settings
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.web.services import Services
from keyfold.worker import schedules as worker_schedules
from keyfold.worker.loop import Halt
from keyfold.worker.schedules import SLACK, Scheduler
from keyfold.worker.worker import Worker

from .support import (
    LIMIT,
    SEALING,
    Life,
    append,
    assert_gapless,
    assert_projections_equal_a_rebuild,
    connected,
    entry,
    projected,
    rows,
    value,
    wait_until,
    working,
)

DAY = timedelta(days=1)
POLICY = KeyPolicy(lifetime_seconds=60 * 86400, rotation_seconds=20 * 86400, idle_seconds=40 * 86400)
BROUGHT = ("key.expiring.v1", "key.rotation-due.v1", "key.expired.v1", "key.retired.v1", "key.suspended.v1")


class Time:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def services(settings: Settings, time: Time) -> AsyncIterator[Services]:
    this = Services(settings, clock=time)
    await this.postgres.open()
    yield this
    await this.close()


@pytest.fixture
async def life(services: Services) -> Life:
    return await Life(services).begin(terms(POLICY))


@pytest.fixture
async def worker(worker_settings: Settings, time: Time) -> AsyncIterator[Worker]:
    this = Worker(worker_settings, clock=time)
    async with working(this):
        yield this


@asynccontextmanager
async def scheduling(postgres: Postgres, settings: Settings, time: Time) -> AsyncIterator[Scheduler]:
    """One without a leader, that takes a step when the test says so."""
    journal = PostgresJournal(postgres, SEALING)
    office = Office(
        journal=journal, vault=Vault(settings.peppers, os.urandom), sealing=SEALING, clock=time, entropy=os.urandom
    )
    yield Scheduler(postgres, Schedules(office), time)
    await journal.close()


@pytest.fixture
async def scheduler(worker_postgres: Postgres, settings: Settings, time: Time) -> AsyncIterator[Scheduler]:
    async with scheduling(worker_postgres, settings, time) as this:
        yield this


def terms(policy: KeyPolicy) -> Terms:
    return Terms(name="Shop", environments={"prod": Offer(policy=policy)})


async def facts(life: Life, key_id: str) -> list[tuple[str, int | None]]:
    """What time has brought to a key, with the days of an announcement."""
    log = "SELECT record FROM keyfold.log WHERE stream = $1 ORDER BY version"
    records = [read_record(text) for (text,) in await rows(life.services.settings.database_url, log, key_id)]
    brought = [each for each in records if each.type in BROUGHT]
    assert all(each.actor == Actor(kind="system", id="schedule") for each in brought if each.type in BROUGHT[:-1])
    return [(each.type.removesuffix(".v1")[4:], msgspec.json.decode(each.data).get("days")) for each in brought]


async def brings(life: Life, key_id: str, *expected: tuple[str, int | None]) -> None:
    """Waits until time has brought this to a key, in whichever order, and demands that it is all."""

    async def brought() -> bool:
        return len(await facts(life, key_id)) >= len(expected)

    await wait_until(brought, 15)
    assert sorted(await facts(life, key_id), key=str) == sorted(expected, key=str)


async def count_of(life: Life, type_: str) -> int:
    log = "SELECT count(*) FROM keyfold.log WHERE record ->> 'type' = $1"
    return int(await value(life.services.settings.database_url, log, type_))


async def key_of(life: Life, key_id: str) -> Key:
    loaded = await life.services.journal.load(KEY, key_id)
    assert loaded.state is not None
    return loaded.state


async def head_of(life: Life) -> int:
    return await life.services.journal.head()


async def assert_nothing_more(life: Life, scheduler: Scheduler) -> None:
    """Once the projections have caught up, and before as well, a step writes nothing."""
    head = await head_of(life)
    await scheduler.step()
    await projected(life.services.settings.database_url)
    assert not await scheduler.step()
    assert await head_of(life) == head


async def use(life: Life, key_id: str, outcome: str = "valid") -> None:
    """As verification notes it, written at once."""
    usage = Usage()
    usage.note(key_id, outcome, life.services.clock(), action="send")
    await life.services.usage_store.flush(usage)


async def test_expiry_and_rotation_are_announced_ahead_and_the_end_is_written_once_each(
    life: Life, worker: Worker, scheduler: Scheduler, time: Time
) -> None:
    """A key that lives 60 days and is to be rotated after 20, in a process that runs all the while."""
    (key_id,) = [key.id for key in (await life.onboard()).keys]
    await projected(life.services.settings.database_url)
    born = time.now
    expected: list[tuple[str, int | None]] = []
    for day, fact in [
        *((13, ("rotation-due", 7)), (19, ("rotation-due", 1)), (20, ("rotation-due", 0))),
        *((30, ("expiring", 30)), (53, ("expiring", 7)), (59, ("expiring", 1)), (60, ("expired", None))),
    ]:
        await use(life, key_id)  # it isn't idle
        time.now = born + day * DAY - timedelta(microseconds=1)
        await assert_nothing_more(life, scheduler)
        time.now = born + day * DAY
        expected.append(fact)
        await brings(life, key_id, *expected)
        await assert_nothing_more(life, scheduler)
    time.now += 400 * DAY
    await assert_nothing_more(life, scheduler)
    assert (await key_of(life, key_id)).since == born + 60 * DAY
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


async def test_of_announcements_that_are_late_the_nearest_alone_is_made(life: Life, worker: Worker, time: Time) -> None:
    (key_id,) = [key.id for key in (await life.onboard()).keys]
    await use(life, key_id)
    time.now += 55 * DAY
    await use(life, key_id)
    await brings(life, key_id, ("expiring", 7), ("rotation-due", 0))


async def test_a_successor_is_announced_for_itself_and_the_old_key_retires(
    life: Life, worker: Worker, scheduler: Scheduler, time: Time
) -> None:
    (old,) = [key.id for key in (await life.onboard()).keys]
    time.now += 10 * DAY
    rotated = await life.services.rotation.rotate(life.manager, old, Overlap(5 * 86400, "now"))
    time.now += 5 * DAY
    await brings(life, old, ("retired", None))
    time.now += 15 * DAY  # 20 after the successor's birth, which has no more than the 60 of the old key
    await brings(life, rotated.view.id, ("rotation-due", 0), ("expiring", 30))
    await assert_nothing_more(life, scheduler)
    assert await facts(life, old) == [("retired", None)]


async def test_an_end_is_written_soon(worker_settings: Settings, settings: Settings) -> None:
    """By the clock on the wall; it took effect at its instant all the same."""
    services = Services(settings)
    await services.postgres.open()
    async with working(Worker(worker_settings)):
        life = await Life(services).begin()
        retiring = await life.issue()
        await projected(settings.database_url)
        expires_at = services.clock() + timedelta(seconds=1.5)
        wanted = NewKey(kind="account", name="Short", role="viewer", expires_at=expires_at)
        expiring = (await services.keys.issue(life.manager, wanted)).view.id
        await services.rotation.rotate(life.manager, retiring, Overlap(1, "now"))
        retires_at = (await key_of(life, retiring)).retires_at
        assert retires_at is not None
        await brings(life, expiring, ("expired", None))
        await brings(life, retiring, ("retired", None))
    for key_id, at in (expiring, expires_at), (retiring, retires_at):
        log = "SELECT record ->> 'time' FROM keyfold.log WHERE stream = $1 ORDER BY version DESC LIMIT 1"
        written = datetime.fromisoformat(await value(settings.database_url, log, key_id))
        assert at <= written < at + timedelta(seconds=LIMIT)
    await services.close()


async def many_expiring(life: Life, number: int, expires_at: datetime) -> list[str]:
    wanted = NewKey(kind="account", name="One of many", role="viewer", expires_at=expires_at)
    issued = await asyncio.gather(*[life.services.keys.issue(life.manager, wanted) for _ in range(number)])
    return [each.view.id for each in issued]


async def test_two_that_both_think_they_lead_write_everything_once(
    life: Life, worker_postgres: Postgres, settings: Settings, worker_settings: Settings, time: Time
) -> None:
    keys = await many_expiring(life, 40, time.now + DAY / 2)
    async with working(Worker(worker_settings)):
        await projected(settings.database_url)
    time.now += DAY
    async with (
        scheduling(worker_postgres, settings, time) as one,
        scheduling(worker_postgres, settings, time) as other,
    ):
        await asyncio.gather(one.step(), other.step())
    assert [await facts(life, key_id) for key_id in keys] == [[("expired", None)]] * 40
    await assert_gapless(settings.database_url)


async def test_two_workers_write_everything_once(
    life: Life, worker: Worker, worker_settings: Settings, time: Time
) -> None:
    keys = await many_expiring(life, 40, time.now + DAY / 2)
    async with working(Worker(worker_settings, clock=time)):
        await projected(life.services.settings.database_url)
        time.now += DAY

        async def expired() -> bool:
            return await count_of(life, "key.expired.v1") >= len(keys)

        await wait_until(expired, 10)
        await projected(life.services.settings.database_url)
    assert [await facts(life, key_id) for key_id in keys] == [[("expired", None)]] * 40


WAITING = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND NOT l.granted AND a.usename = 'keyfold_worker' AND a.datname = $1
"""
LOCK = "SELECT pg_advisory_lock(7309453271)"  # the one of keyfold.append


async def test_what_a_killed_worker_was_just_writing_is_written_once(
    settings: Settings, worker_settings: Settings, database: Database, tmp_path: Path
) -> None:
    """It is killed while Postgres has its statement, which commits all the same: nobody knows but the log."""
    services = Services(settings)
    await services.postgres.open()
    life = await Life(services).begin()
    keys = await many_expiring(life, 30, services.clock() + timedelta(seconds=1))
    process = Process("worker", worker_settings, tmp_path)
    try:
        async with connected(database.admin_url) as writer:
            await writer.execute(LOCK)
            process.start()
            await wait_until(lambda: value(database.admin_url, WAITING, database.name), 20, every=0.002)
            process.kill()
        await wait_until(lambda: count_of(life, "key.expired.v1"))
        assert await count_of(life, "key.expired.v1") < 30  # the others waited in the process
        process.start()

        async def expired() -> bool:
            return await count_of(life, "key.expired.v1") >= 30

        await wait_until(expired, 15)
        await projected(settings.database_url)
        assert [await facts(life, key_id) for key_id in keys] == [[("expired", None)]] * 30
    finally:
        process.close()
        await services.close()


async def test_while_the_projection_stands_still_all_is_written_once_in_rounds(
    life: Life, scheduler: Scheduler, worker_settings: Settings, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_schedules, "BATCH", 2)
    keys = await many_expiring(life, 5, time.now + DAY / 2)
    async with working(Worker(worker_settings, clock=time)):
        await projected(life.services.settings.database_url)
    time.now += DAY
    assert [await scheduler.step() for _ in range(6)] == [True, True, False] * 2
    assert [await facts(life, key_id) for key_id in keys] == [[("expired", None)]] * 5


async def test_a_key_that_was_not_used_for_so_long_is_suspended_with_those_under_it_and_comes_back(
    life: Life, worker: Worker, scheduler: Scheduler, time: Time
) -> None:
    url = life.services.settings.database_url
    opened = await life.onboard()
    key_id = opened.keys[0].id
    below = await life.delegate(key_id)
    other = (await life.onboard()).keys[0].id
    time.now += 30 * DAY
    await use(life, other)
    await use(life, key_id, "expired")  # a refusal is no use
    await use(life, below)
    time.now += 10 * DAY + SLACK - timedelta(microseconds=1)
    for each in (key_id, below, other):
        await brings(life, each, ("rotation-due", 0), ("expiring", 30))
    await assert_nothing_more(life, scheduler)
    time.now += timedelta(microseconds=1)
    await wait_until(lambda: count_of(life, "key.suspended.v1"))
    this, child = await key_of(life, key_id), await key_of(life, below)
    assert (this.status, this.suspender, this.reason) == ("suspended", "idle", "not used for 40 days")
    assert (child.status, child.suspender) == ("suspended", "parent")
    log = "SELECT record FROM keyfold.log WHERE record ->> 'type' = 'key.suspended.v1' AND stream = $1"
    assert read_record(await value(url, log, key_id)).actor == Actor(kind="system", id="idle")
    await assert_nothing_more(life, scheduler)

    await life.reinstate(key_id)
    assert (await key_of(life, below)).status == "active"
    await assert_nothing_more(life, scheduler)
    time.now += 2 * DAY
    await use(life, key_id)
    time.now += 8 * DAY
    await assert_nothing_more(life, scheduler)
    assert (await key_of(life, key_id)).status == "active"
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


async def test_a_key_that_came_back_has_the_whole_period_again(
    services: Services, worker: Worker, scheduler: Scheduler, time: Time
) -> None:
    life = await Life(services).begin(terms(KeyPolicy(idle_seconds=3600)))
    key_id = (await life.onboard()).keys[0].id
    await projected(services.settings.database_url)
    for times, slack in (1, SLACK), (2, timedelta()):
        time.now += timedelta(hours=1) + slack - timedelta(microseconds=1)
        await assert_nothing_more(life, scheduler)
        time.now += timedelta(microseconds=1)

        async def suspended(times: int = times) -> bool:
            return await count_of(life, "key.suspended.v1") == times

        await wait_until(suspended)
        assert (await key_of(life, key_id)).reason == "not used for 1 hour"
        time.now += timedelta(days=3)
        await assert_nothing_more(life, scheduler)
        await life.reinstate(key_id)


async def test_a_key_is_not_idle_before_it_may_be_used(
    services: Services, worker: Worker, scheduler: Scheduler, time: Time
) -> None:
    life = await Life(services).begin(terms(KeyPolicy(idle_seconds=3600)))
    opened = await life.onboard()
    await life.revoke(opened.keys[0].id)
    begins = time.now + DAY
    wanted = NewKey(partner_id=opened.partner.id, environment="prod", not_before=begins)
    await services.keys.issue(life.manager, wanted)
    await projected(services.settings.database_url)
    time.now = begins + timedelta(hours=1) - timedelta(microseconds=1)
    await assert_nothing_more(life, scheduler)
    time.now += timedelta(microseconds=1)
    await wait_until(lambda: count_of(life, "key.suspended.v1"))


async def test_time_brings_nothing_to_a_key_that_has_ended(
    life: Life, scheduler: Scheduler, worker_settings: Settings, time: Time
) -> None:
    """Not to one that was revoked, known to the projection or not; and to one that expired nothing but its end."""
    url = life.services.settings.database_url
    known, unknown, expired = [(await life.onboard()).keys[0].id for _ in range(3)]
    await life.revoke(known)
    async with working(Worker(worker_settings, clock=time)):
        await projected(url)
    await life.revoke(unknown)
    assert await value(url, "SELECT due_at FROM projections.keys WHERE id = $1", known) is None
    time.now += 60 * DAY
    await scheduler.step()
    assert [await facts(life, each) for each in (known, unknown, expired)] == [[], [], [("expired", None)]]
    head = await head_of(life)
    for each in (known, expired):
        await Schedules(life.services.office).suspend_unused(each)
    assert await head_of(life) == head


async def test_what_is_written_is_told_at_once(life: Life, worker: Worker, bus: Bus, time: Time) -> None:
    """As by an API: whoever remembers the key hears that it moved."""
    told: set[str] = set()

    async def hear(message: Msg) -> None:
        told.update(msgspec.json.decode(message.data, type=Appended).streams)

    await bus.handle(APPENDED, hear)
    (key_id,) = [key.id for key in (await life.onboard()).keys]
    await projected(life.services.settings.database_url)
    time.now += 60 * DAY
    await wait_until(lambda: key_id in told)


async def test_a_key_that_it_cannot_be_done_for_halts_the_loop_and_nothing_else(
    life: Life, scheduler: Scheduler, worker_settings: Settings, time: Time
) -> None:
    broken, sound = await many_expiring(life, 2, time.now + DAY / 2)
    async with working(Worker(worker_settings, clock=time)):
        await projected(life.services.settings.database_url)
    await append(life.services.journal, entry(broken, 2))  # of a newer version perhaps
    time.now += DAY
    for _ in range(2):
        with pytest.raises(Halt):
            await scheduler.step()
    assert await facts(life, sound) == [("expired", None)]
