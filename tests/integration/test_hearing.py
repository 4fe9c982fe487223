"""Hearing which streams have moved: pushed, read from the tail of the log, and never taken for current if it isn't."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from conftest import Database
from keyfold.app.ports import Write
from keyfold.bus.connection import Bus, Handler
from keyfold.bus.hearing import BATCH, LEASE, Hearing, Rewound
from keyfold.bus.herald import Appended, Herald
from keyfold.bus.subjects import APPENDED
from keyfold.bus.topology import core_login
from keyfold.cli.embedded import Nats
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.store.appender import Appender
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.store.tail import Tail
from keyfold.web.services import Services

from .support import LIMIT, SEALING, append, connected, entry, moved, value, wait_until

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyfold_api' AND datname = $1"
FILL = """
SET ROLE keyfold_owner;
INSERT INTO keyfold.log SELECT n, 'key_' || n, 1, '{}', 'ws_tests', n FROM generate_series(1, 25000) n
"""


class Clock:
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class DeafTail(Tail):
    """Finds nothing new."""

    async def moved_after(self, position: int, most: int) -> list[tuple[int, str]]:
        return await super().moved_after(position, 1) if position >= 0 else []


class DeafBus(Bus):
    """Loses every push."""

    async def handle(self, subject: str, handler: Handler, *, queue: str = "") -> None:
        if subject != APPENDED:
            await super().handle(subject, handler, queue=queue)


class LateBus(Bus):
    """Once it is late, it says each time what it should have said the time before."""

    is_late = False
    last = b""

    async def tell(self, subject: str, payload: bytes, *, headers: dict[str, str] | None = None) -> None:
        late, self.last = self.last, payload
        await super().tell(subject, late if self.is_late else payload, headers=headers)


class HookedTail(Tail):
    """Does something before each answer."""

    before: Callable[[], Awaitable[None]] | None = None

    async def moved_after(self, position: int, most: int) -> list[tuple[int, str]]:
        if self.before:
            await self.before()
        return await super().moved_after(position, most)


class Ear:
    """A process that hears, with all that it was told in `told`."""

    def __init__(
        self, settings: Settings, bus: type[Bus], tail: type[Tail], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.bus = bus(settings.nats_url, login=core_login(settings))
        self.postgres = Postgres(settings.database_url, name="ear")
        self.tail = tail(self.postgres)
        self.told: list[str] = []
        self.hearing = Hearing(self.bus, self.tail, on_moved=self.on_moved, monotonic=monotonic)

    def on_moved(self, streams: Iterable[str]) -> None:
        self.told += streams


@asynccontextmanager
async def listening(
    settings: Settings,
    *,
    bus: type[Bus] = Bus,
    tail: type[Tail] = Tail,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Ear]:
    ear = Ear(settings, bus, tail, monotonic)
    await ear.bus.start()
    async with running(ear.hearing.run()):
        await wait_until(lambda: ear.hearing.is_current)
        yield ear
    await ear.postgres.close()
    await ear.bus.stop()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def speaker(settings: Settings, postgres: Postgres) -> AsyncIterator[PostgresJournal]:
    """The journal of another process, which heralds what it appends."""
    bus = Bus(settings.nats_url, login=core_login(settings))
    herald = Herald(bus)
    journal = PostgresJournal(postgres, SEALING, on_append=herald.appended)
    await bus.start()
    await wait_until(lambda: bus.is_connected)
    async with running(herald.run()):
        yield journal
    await journal.close()
    await bus.stop()


async def delay(ear: Ear, journal: PostgresJournal, stream: str) -> float:
    """Seconds from the answer to an append until the ear is told."""
    await append(journal, entry(stream, 1))
    answered = time.monotonic()
    await wait_until(lambda: stream in ear.told, every=0.001)
    return time.monotonic() - answered


async def test_what_others_append_is_pushed(
    settings: Settings, speaker: PostgresJournal, record_property: Callable[[str, object], None]
) -> None:
    async with listening(settings, tail=DeafTail) as ear:
        delays = sorted([await delay(ear, speaker, f"s{n}") for n in range(50)])
        assert ear.hearing.position == 0
    record_property("measured", f"{delays[25] * 1000:.1f} ms until what another process appended is pushed")


async def test_what_was_not_pushed_is_found_at_the_tail(settings: Settings, speaker: PostgresJournal) -> None:
    async with listening(settings, bus=DeafBus) as ear:
        for n in range(9):
            await delay(ear, speaker, f"s{n}")
        assert ear.hearing.position == 9


async def test_the_first_round_begins_at_the_head_and_tells_nothing_older(
    settings: Settings, speaker: PostgresJournal
) -> None:
    await append(speaker, entry("old", 1), entry("old", 2))
    async with listening(settings, bus=DeafBus) as ear:
        assert ear.hearing.position == 2
        await delay(ear, speaker, "new")
        assert ear.told == ["new"]


@pytest.mark.parametrize("then", ["nothing", "another"])
async def test_a_log_that_lost_its_end_ends_it(
    settings: Settings, database: Database, speaker: PostgresJournal, then: str
) -> None:
    """As after a failover to a standby that was behind: what is remembered is of a past that never was."""
    ear = Ear(settings, DeafBus, Tail)
    await ear.bus.start()
    hearing = asyncio.create_task(ear.hearing.run())
    await wait_until(lambda: ear.hearing.is_current)
    await append(speaker, entry("kept", 1), entry("lost", 1))
    await wait_until(lambda: ear.hearing.position == 2)
    lose = "ALTER TABLE keyfold.log DISABLE TRIGGER ALL; DELETE FROM keyfold.log WHERE position = 2"
    instead = "; UPDATE keyfold.log SET position = 2, stream = 'another' WHERE position = 1"
    async with connected(database.admin_url) as connection:
        await connection.execute(lose + (instead if then == "another" else ""))
    with pytest.raises(Rewound, match="up to position 2"):
        await asyncio.wait_for(hearing, LIMIT)
    assert not ear.hearing.is_current
    await ear.postgres.close()
    await ear.bus.stop()


async def test_a_tail_of_many_batches_is_told_whole_and_once(settings: Settings, database: Database) -> None:
    """Only its end makes the lease: in the midst of it nobody is current."""
    clock = Clock()
    asked: list[tuple[bool, int | None]] = []

    async def fill() -> None:
        asked.append((ear.hearing.is_current, ear.hearing.position))
        if len(asked) == 1:
            async with connected(database.admin_url) as connection:
                await connection.execute(FILL)
            clock.now += LEASE

    async with listening(settings, tail=HookedTail, monotonic=clock) as ear:
        hook(ear, fill)
        await wait_until(lambda: ear.hearing.position == 25_000 and ear.hearing.is_current)
        assert sorted(ear.told) == sorted(f"key_{n}" for n in range(1, 25_001))
    assert asked[:3] == [(True, 0), (False, BATCH), (False, 2 * BATCH - 1)]


async def test_it_is_current_for_the_length_of_a_lease_and_no_longer(settings: Settings) -> None:
    """Each round renews it."""
    clock = Clock()

    def current_after(seconds: float) -> bool:
        clock.now += seconds
        return ear.hearing.is_current

    async with listening(settings, monotonic=clock) as ear:
        for _ in range(3):
            assert current_after(LEASE * 0.99)
            assert not current_after(LEASE * 0.02)
            await wait_until(lambda: ear.hearing.is_current)


async def test_an_event_loop_that_stalls_is_not_current_when_it_goes_on(settings: Settings) -> None:
    async with listening(settings) as ear:
        time.sleep(LEASE)
        assert not ear.hearing.is_current
        await wait_until(lambda: ear.hearing.is_current)


async def test_a_lease_counts_from_the_question_and_not_from_the_answer(settings: Settings) -> None:
    clock, rounds = Clock(), 0

    async def take_long_and_then_for_ever() -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            await asyncio.Event().wait()
        clock.now += LEASE * 0.5

    def current_after(seconds: float) -> bool:
        clock.now += seconds
        return ear.hearing.is_current

    async with listening(settings, tail=HookedTail, monotonic=clock) as ear:
        hook(ear, take_long_and_then_for_ever)
        await wait_until(lambda: rounds > 1)
        assert current_after(0)
        assert not current_after(LEASE * 0.6)


async def test_a_round_that_takes_longer_than_a_lease_is_worth_nothing(settings: Settings) -> None:
    clock = Clock()
    current: list[bool] = []

    async def take_too_long() -> None:
        current.append(ear.hearing.is_current)
        clock.now += LEASE

    async with listening(settings, tail=HookedTail, monotonic=clock) as ear:
        hook(ear, take_too_long)
        await wait_until(lambda: len(current) > 4)
    assert current[:5] == [True, False, False, False, False]


async def test_an_answer_to_an_earlier_probe_proves_nothing(settings: Settings) -> None:
    clock = Clock()
    current: list[bool] = []

    async def look() -> None:
        current.append(ear.hearing.is_current)

    async with listening(settings, bus=LateBus, tail=HookedTail, monotonic=clock) as ear:
        assert isinstance(ear.bus, LateBus)
        ear.bus.is_late = True
        clock.now += LEASE
        hook(ear, look)
        await wait_until(lambda: len(current) > 3)
    assert not any(current)


async def test_a_lost_connection_ends_the_lease_before_it_is_over(settings: Settings, nats_server: Nats) -> None:
    """By the clock it would last for ever. With the connection it comes back."""
    async with listening(settings, monotonic=Clock()) as ear:
        nats_server.kill()
        await wait_until(lambda: not ear.hearing.is_current)
        assert not ear.bus.is_connected
        await nats_server.start()
        await wait_until(lambda: ear.hearing.is_current)


async def test_a_round_during_which_the_connection_was_lost_and_found_is_worth_nothing(
    settings: Settings, nats_server: Nats
) -> None:
    """Its probe came back, and what was pushed since may be lost."""
    after: list[bool] = []

    async def reconnect() -> None:
        if not after:
            generation = ear.bus.generation
            nats_server.kill()
            await nats_server.start()
            await wait_until(lambda: ear.bus.generation > generation and ear.bus.is_connected)
        after.append(ear.hearing.is_current)

    async with listening(settings, tail=HookedTail, monotonic=Clock()) as ear:
        hook(ear, reconnect)
        await wait_until(lambda: len(after) > 1)
        await wait_until(lambda: ear.hearing.is_current)
    assert after[:2] == [False, False]


async def test_what_is_appended_while_nats_is_away_is_told_all_the_same(
    settings: Settings, nats_server: Nats, speaker: PostgresJournal
) -> None:
    async with listening(settings) as ear:
        nats_server.kill()
        await delay(ear, speaker, "meanwhile")
        assert not ear.hearing.is_current
        await nats_server.start()
        await wait_until(lambda: ear.hearing.is_current)


async def test_a_lost_connection_to_postgres_is_replaced(
    settings: Settings, database: Database, journal: PostgresJournal
) -> None:
    async with listening(settings) as ear:
        assert await value(database.admin_url, KILL, database.name)
        await append(journal, entry("a", 1))
        await wait_until(lambda: ear.told == ["a"])
        await wait_until(lambda: ear.hearing.is_current)


async def test_a_log_that_postgres_does_not_give_is_not_heard_until_it_does(
    settings: Settings, database: Database
) -> None:
    """As before the migration: no outage, and no reason to end the process either."""
    async with listening(settings) as ear, connected(database.admin_url) as admin:
        await admin.execute("ALTER TABLE keyfold.log RENAME TO away")
        with pytest.raises(Unavailable):
            await ear.tail.head()
        await wait_until(lambda: not ear.hearing.is_current)
        await admin.execute("ALTER TABLE keyfold.away RENAME TO log")
        await wait_until(lambda: ear.hearing.is_current)


async def test_a_message_that_cannot_be_read_hurts_nobody(
    settings: Settings, bus: Bus, speaker: PostgresJournal
) -> None:
    async with listening(settings, tail=DeafTail) as ear:
        for payload in (b"1", b"\xff", b"", b'{"position": 1}'):
            await bus.client.publish(APPENDED, payload)
        await delay(ear, speaker, "a")
        assert ear.hearing.is_current


async def test_whoever_cannot_forget_what_moved_ends_the_process(settings: Settings, journal: PostgresJournal) -> None:
    """And the herald with it."""

    def fail(streams: Iterable[str]) -> None:
        raise ZeroDivisionError

    services = Services(settings)
    services.hearing = Hearing(services.bus, services.tail, on_moved=fail)
    await services.open()
    work = asyncio.create_task(services.run())
    await wait_until(lambda: services.hearing.is_current)
    await append(journal, entry("a", 1))
    with pytest.raises(ExceptionGroup) as crash:
        await work
    assert crash.group_contains(ZeroDivisionError)
    await services.close()


async def test_a_process_is_told_of_its_own_appends_before_they_are_answered(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing running, neither NATS nor the tail."""
    order: list[str] = []
    monkeypatch.setattr(services.hearing, "_on_moved", order.extend)

    async def write(stream: str) -> None:
        await append(services.journal, entry(stream, 1))
        order.append(f"answered {stream}")

    await asyncio.gather(*[write(f"s{n}") for n in range(8)])
    for n in range(8):
        assert order.index(f"s{n}") < order.index(f"answered s{n}")


async def test_each_commit_is_announced_with_the_streams_that_moved(postgres: Postgres) -> None:
    """A refused command announces nothing, also within a batch in which others were accepted."""
    announced: list[tuple[int, set[str]]] = []
    appender = Appender(postgres, on_append=lambda position, streams: announced.append((position, {*streams})))
    await appender.append(Write(entries=[entry("a", 1), entry("b", 1), entry("b", 2)]))
    assert await moved(appender.append(Write(entries=[entry("a", 1)])))
    batch = [[entry("first", 1)], [entry("a", 2), entry("c", 1)], [entry("d", 1), entry("b", 1)], [entry("e", 1)]]
    writing = [moved(appender.append(Write(entries=entries))) for entries in batch]
    assert await asyncio.gather(*writing) == [False, False, True, False]
    await appender.close()
    assert announced[0] == (3, {"a", "b"})
    assert {stream for _, streams in announced[1:] for stream in streams} == {"first", "a", "c", "e"}
    assert announced[-1][0] == 7


async def test_a_commit_is_announced_also_when_its_caller_has_left(postgres: Postgres, database: Database) -> None:
    announced: list[str] = []
    appender = Appender(postgres, on_append=lambda position, streams: announced.extend(streams))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with connected(database.admin_url) as connection:
        await connection.execute("SELECT pg_advisory_lock(7309453271)")
        writing = asyncio.create_task(appender.append(Write(entries=[entry("a", 1)])))
        await wait_until(lambda: value(database.admin_url, waits))
        writing.cancel()
    await appender.close()
    assert announced == ["a"]


async def test_the_herald_says_at_once_what_it_knows_and_then_all_that_came_meanwhile(bus: Bus) -> None:
    heard: list[Appended] = []

    async def hear(message: Msg) -> None:
        heard.append(msgspec.json.decode(message.data, type=Appended))

    await bus.handle(APPENDED, hear)
    herald = Herald(bus)
    async with running(herald.run()):
        herald.appended(1, ["a"])
        await wait_until(lambda: heard, every=0)
        for position in range(2, 5):
            herald.appended(position, ["b", f"s{position}"])
        await wait_until(lambda: len(heard) > 1)
    assert heard == [Appended(1, {"a"}), Appended(4, {"b", "s2", "s3", "s4"})]


async def test_news_too_large_for_a_message_are_left_to_the_tail(settings: Settings, speaker: PostgresJournal) -> None:
    """And the next ones are pushed again."""
    async with listening(settings) as ear:
        long = [f"{n}{'x' * 50_000}" for n in range(30)]
        await append(speaker, *[entry(stream, 1, '{"a":1}') for stream in long])
        await wait_until(lambda: {*long} <= {*ear.told})
    async with listening(settings, tail=DeafTail) as ear:
        await delay(ear, speaker, "short")


def hook(ear: Ear, before: Callable[[], Awaitable[None]]) -> None:
    assert isinstance(ear.tail, HookedTail)
    ear.tail.before = before
