"""How keys use events, from a process through NATS to Postgres: nothing lost, nothing twice, whatever fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import nats.errors
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from conftest import Database
from keyfold.app.event_usage import EventUsage
from keyfold.app.usage_report import EventUsageView, Total, span
from keyfold.bus.connection import Bus
from keyfold.bus.consumer_samples import sampled
from keyfold.bus.event_usage import UsageReader, UsageSender
from keyfold.bus.subjects import USAGE, USAGE_SUBJECT
from keyfold.bus.topology import core_login
from keyfold.cli.embedded import Nats
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.store.event_usage import EventUsageStore
from keyfold.store.postgres import Postgres
from keyfold.worker.event_usage import ConsumerSampler, UsageWriter

from .support import LIMIT, connected, new_id, rows, value, wait_until

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
MINUTE = int(NOW.timestamp()) // 60
KEY = "key_01h455vb4pex5vsknk084sn02q"
COUNTS = "SELECT key_id, outcome, sum(count)::integer FROM keyfold.event_usage GROUP BY 1, 2 ORDER BY 1, 2"
STREAM = "EV_ws_test_prod"


@pytest.fixture
def store(worker_postgres: Postgres) -> EventUsageStore:
    return EventUsageStore(worker_postgres)


@pytest.fixture
def writer(bus: Bus, store: EventUsageStore) -> UsageWriter:
    return UsageWriter(UsageReader(bus, replicas=1), store)


@asynccontextmanager
async def api_bus(settings: Settings) -> AsyncIterator[Bus]:
    """The connection of an API."""
    this = Bus(settings.nats_url, login=core_login(settings))
    await this.start()
    await wait_until(lambda: this.is_connected)
    try:
        yield this
    finally:
        await this.stop()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Bus]:
    async with api_bus(settings) as bus:
        yield bus


def sender(bus: Bus, usage: EventUsage) -> UsageSender:
    return UsageSender(bus, usage, replicas=1, new_id=new_id)


async def write_all(writer: UsageWriter) -> None:
    while await writer.step():
        pass


async def used(postgres: Postgres, *key_ids: str, days: int = 1) -> EventUsageView:
    asked = span(NOW - timedelta(days=days), NOW + timedelta(hours=1), "hour", NOW + timedelta(hours=1))
    return await EventUsageStore(postgres).report([*key_ids], asked)


async def test_what_a_process_noted_is_read_back_from_postgres(
    api: Bus, writer: UsageWriter, postgres: Postgres
) -> None:
    usage = EventUsage()
    usage.note(KEY, "published", at=NOW, count=3, size=300, seconds=0.004)
    usage.note(KEY, "refused:topic-not-permitted", at=NOW, seconds=0.1)
    usage.note("key_other", "published", at=NOW)
    await sender(api, usage).flush()
    usage.note(KEY, "published", at=NOW + timedelta(seconds=59), size=1, seconds=0.02)
    await sender(api, usage).flush()
    await write_all(writer)
    view = await used(postgres, KEY)
    assert view.totals == {
        "published": Total(count=4, bytes=301),
        "refused:topic-not-permitted": Total(count=1, bytes=0),
    }
    assert len(view.series) == 2
    published = view.latency.by_outcome["published"]
    assert (sum(published.counts), published.p50, published.p99) == (4, 0.004, 0.032)


async def test_what_is_written_leaves_the_stream(api: Bus, writer: UsageWriter) -> None:
    usage = EventUsage()
    usage.note(KEY, "published", at=NOW)
    await sender(api, usage).flush()
    assert (await api.jetstream().stream_info(USAGE)).state.messages == 1
    await write_all(writer)
    await wait_until(lambda: is_empty(api))


async def is_empty(bus: Bus) -> bool:
    return (await bus.jetstream().stream_info(USAGE)).state.messages == 0


async def test_while_nats_is_down_nothing_is_lost_and_afterwards_nothing_is_twice(
    api: Bus, writer: UsageWriter, nats_server: Nats, database: Database
) -> None:
    """Killed in the middle, too: a batch whose answer was lost is sent again, and counted once."""
    usage, noted = EventUsage(), 0
    flushing = sender(api, usage)
    for round_ in range(40):
        usage.note(KEY, "published", at=NOW + timedelta(minutes=round_ % 7))
        noted += 1
        flush = asyncio.create_task(flushing.flush())
        await asyncio.sleep(0.001 * (round_ % 4))
        if round_ % 10 == 5:
            nats_server.kill()
        if round_ % 10 == 8:
            await nats_server.start()
            await wait_until(lambda: api.is_connected)
        with suppress(nats.errors.Error):
            await flush
    await wait_until(lambda: api.is_connected)
    await flushing.flush()
    await wait_until(lambda: written(writer, database, noted), seconds=30, every=0.2)
    assert await value(database.admin_url, "SELECT sum(count) FROM keyfold.event_usage") == noted


async def written(writer: UsageWriter, database: Database, count: int) -> bool:
    with suppress(nats.errors.Error, Unavailable):
        await writer.step()
    return bool(await value(database.admin_url, "SELECT sum(count) >= $1 FROM keyfold.event_usage", count))


async def test_a_batch_whose_answer_was_lost_is_sent_again_and_counted_once(
    api: Bus, writer: UsageWriter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when NATS has forgotten by then that it had it: Postgres remembers."""
    usage = EventUsage()
    flushing = sender(api, usage)
    usage.note(KEY, "published", at=NOW)
    original = type(api.jetstream()).publish

    async def unanswered(*args: Any, **kwargs: Any) -> None:
        await original(*args, **kwargs)
        raise nats.errors.TimeoutError

    await flushing.flush()
    await write_all(writer)
    usage.note(KEY, "published", at=NOW)
    with monkeypatch.context() as patched:
        patched.setattr("nats.js.JetStreamContext.publish", unanswered)
        with pytest.raises(nats.errors.TimeoutError):
            await flushing.flush()
    await write_all(writer)
    await api.jetstream().delete_stream(USAGE)
    usage.note(KEY, "published", at=NOW)
    await flushing.flush()
    await flushing.flush()
    await write_all(writer)
    assert await rows(database.admin_url, COUNTS) == [(KEY, "published", 3)]


@pytest.mark.parametrize("dies", ["before writing", "between writing and saying so"])
async def test_a_worker_that_dies_over_a_batch_loses_nothing_and_counts_nothing_twice(
    api: Bus, bus: Bus, writer: UsageWriter, store: EventUsageStore, database: Database, dies: str
) -> None:
    usage = EventUsage()
    for n in range(5):
        usage.note(f"key_{n}", "published", at=NOW)
        await sender(api, usage).flush()
    first = UsageReader(bus, replicas=1)
    batches = await first.batches()
    assert len(batches) == 5
    if dies != "before writing":
        for batch in batches[:3]:
            assert await store.add(batch.id, batch.payload)
    for batch in batches:  # as JetStream does by itself ten seconds later
        await batch.message.nak()
    await write_all(writer)
    await wait_until(lambda: is_empty(api))
    assert await rows(database.admin_url, COUNTS) == [(f"key_{n}", "published", 1) for n in range(5)]


async def test_a_wiped_nats_is_noticed_and_what_comes_then_is_written(
    api: Bus, writer: UsageWriter, nats_server: Nats, database: Database
) -> None:
    """Its stream counts from 1 again, which nobody here relies on."""
    usage = EventUsage()
    flushing = sender(api, usage)
    for wipe in (False, True, True):
        if wipe:
            await nats_server.stop()
            nats_server.wipe()
            await nats_server.start()
            await wait_until(lambda: api.is_connected)
        usage.note(KEY, "published", at=NOW)
        await flushing.flush()
        await wait_until(lambda: stepped(writer))
    assert await rows(database.admin_url, COUNTS) == [(KEY, "published", 3)]


async def stepped(writer: UsageWriter) -> bool:
    try:
        await write_all(writer)
    except nats.errors.Error:
        return False
    return True


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"[[1,2,3]]", b'[["key_\\u0000",1,"published",1,0,[]]]', b'[["k",1,"o"],["k",1,"o"]]'],
)
async def test_what_can_not_be_read_is_put_away_and_holds_up_nobody(
    api: Bus, writer: UsageWriter, database: Database, payload: bytes
) -> None:
    usage = EventUsage()
    flushing = sender(api, usage)
    await write_all(writer)
    await api.jetstream().publish(USAGE_SUBJECT, payload, headers={"Nats-Msg-Id": "use_foreign"})
    usage.note(KEY, "published", at=NOW)
    await flushing.flush()
    await write_all(writer)
    await wait_until(lambda: is_empty(api))
    assert await rows(database.admin_url, COUNTS) == [(KEY, "published", 1)]


async def test_a_sampled_consumer_counts_what_an_app_took_and_acknowledged(
    bus: Bus, api: Bus, store: EventUsageStore, database: Database
) -> None:
    """With the plain client, over a restart of the sampler, and a consumer that was made anew."""
    js, name = api.jetstream(), KEY.replace("key_", "k_")
    await js.add_stream(StreamConfig(name=STREAM, subjects=["ev.ws_test.prod.>"]))
    group = ConsumerConfig(durable_name="g_x_orders", ack_policy=AckPolicy.EXPLICIT, metadata={"key": "key_of_group"})
    for config in (ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT), group):
        await js.add_consumer(STREAM, config)
    for n in range(10):
        await js.publish("ev.ws_test.prod._.a.b", b"%d" % n)
    sampler = ConsumerSampler(bus, store, lambda: NOW)
    await sampler.step()
    assert await rows(database.admin_url, COUNTS) == []

    async def take(durable: str, count: int, acked: int) -> None:
        subscription = await js.pull_subscribe_bind(durable, STREAM)
        messages = await subscription.fetch(count, timeout=LIMIT)
        assert len(messages) == count
        for message in messages[:acked]:
            await message.ack_sync()
        await subscription.unsubscribe()

    await take(name, 4, 2)
    await take("g_x_orders", 1, 1)
    await sampler.step()
    await sampler.step()
    grouped = [("key_of_group", "acknowledged", 1), ("key_of_group", "delivered", 1)]
    assert await rows(database.admin_url, COUNTS) == [(KEY, "acknowledged", 2), (KEY, "delivered", 4), *grouped]
    again = ConsumerSampler(bus, store, lambda: NOW + timedelta(minutes=1))
    await again.step()
    await take(name, 3, 3)
    await again.step()
    assert await rows(database.admin_url, COUNTS) == [(KEY, "acknowledged", 5), (KEY, "delivered", 7), *grouped]
    await js.delete_consumer(STREAM, name)
    await js.add_consumer(STREAM, ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT))
    await take(name, 10, 0)
    await again.step()
    await sampler.step()  # a leader that doesn't know yet that it is none
    assert await rows(database.admin_url, COUNTS) == [(KEY, "acknowledged", 5), (KEY, "delivered", 17), *grouped]
    by_minute = "SELECT minute, count::integer FROM keyfold.event_usage WHERE key_id = $1 AND outcome = 'delivered'"
    assert {*await rows(database.admin_url, by_minute, KEY)} == {(MINUTE, 4), (MINUTE + 1, 13)}


async def test_many_consumers_are_sampled_page_by_page_and_those_of_nobody_are_left_out(bus: Bus, api: Bus) -> None:
    js = api.jetstream()
    await js.add_stream(StreamConfig(name=STREAM, subjects=["ev.ws_test.prod.>"]))
    await js.add_stream(StreamConfig(name="OTHER", subjects=["keyfold.other"]))
    names = [f"k_{n:026}" for n in range(300)]
    for name in (*names, "h_x", "g_without"):
        await js.add_consumer(STREAM, ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT))
    await js.add_consumer("OTHER", ConsumerConfig(durable_name="k_x", ack_policy=AckPolicy.EXPLICIT))
    pages = [page async for page in sampled(bus)]
    assert len(pages) > 1
    found = [each for page in pages for each in page]
    assert sorted(each.key_id for each in found) == [name.replace("k_", "key_") for name in names]


async def test_minutes_are_kept_for_14_days_and_then_hours_for_400(store: EventUsageStore, database: Database) -> None:
    hour = timedelta(hours=1)
    today = datetime.now(UTC)
    noon = (today - timedelta(days=20)).replace(hour=12, minute=0, second=0, microsecond=0)
    old = [noon, noon + timedelta(minutes=1), noon + timedelta(minutes=59), noon + hour]
    recent, forgotten = today - timedelta(days=13), today - timedelta(days=401)
    usage = EventUsage()
    for at in (*old, recent, forgotten):
        usage.note(KEY, "published", at=at, size=10, seconds=0.004)
    usage.note(KEY, "delivered", at=old[1])
    for n, batch in enumerate(usage.take()):
        await store.add(f"use_{n}", msgspec.json.encode(batch))
    while await store.age():
        pass
    minute = {at: int(at.timestamp()) // 60 for at in (*old, recent)}
    statement = "SELECT minute, outcome, count::integer, bytes::integer, buckets FROM keyfold.event_usage ORDER BY 1, 2"
    found = await rows(database.admin_url, statement)
    assert [each[:4] for each in found] == [
        (minute[noon], "delivered", 1, 0),
        (minute[noon], "published", 3, 30),
        (minute[noon + hour], "published", 1, 10),
        (minute[recent], "published", 1, 10),
    ]
    assert [(sum(each[4]), each[4][3] if each[4] else 0) for each in found] == [(0, 0), (3, 3), (1, 1), (1, 1)]
    assert await store.age() is False


@pytest.mark.parametrize("login", ["keyfold_api", "keyfold_worker"])
async def test_no_login_writes_it_but_through_its_functions(database: Database, login: str) -> None:
    statements = [
        f"{verb} keyfold.{table}{rest}"
        for table in ("event_usage", "event_usage_batches", "consumer_samples")
        for verb, rest in (("DELETE FROM", ""), ("TRUNCATE", ""), ("INSERT INTO", " DEFAULT VALUES"))
    ]
    statements += ["SELECT keyfold.add_event_usage('{}')"]
    if login == "keyfold_api":
        statements += [
            "SELECT keyfold.note_event_usage('x', '[]')",
            "SELECT keyfold.note_consumers(1, '{}', '{}', '{}', '{}', '{}', '{}')",
            "SELECT keyfold.age_event_usage()",
        ]
    async with connected(database.server.url(login, database.name)) as connection:
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
