"""The relay: the stream is the log, sequence by sequence, whatever happens to either."""

import asyncio
import shutil
from contextlib import suppress
from functools import partial

import msgspec
import pytest
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import LifecycleStream
from keyfold.bus.subjects import LIFECYCLE
from keyfold.cli.embedded import Nats
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.worker.loop import Halt
from keyfold.worker.relay import Relay
from keyfold.worker.worker import Worker

from .stream import last_sequence, loop_is, loop_of, put, relayed
from .support import (
    Life,
    append,
    assert_projections_equal_a_rebuild,
    entry,
    projected,
    rows,
    value,
    wait_until,
    working,
)


async def run_dry(relay: Relay) -> None:
    while await relay.step():
        pass


@pytest.fixture
def relay(worker_postgres: Postgres, bus: Bus) -> Relay:
    """A relay without loop and leader: the test makes its steps."""
    return Relay(worker_postgres, LifecycleStream(bus, replicas=1))


async def test_every_message_has_its_position_as_sequence_and_is_the_records_bytes(
    life: Life, relay: Relay, bus: Bus
) -> None:
    """Over several batches, and the subject names workspace and type."""
    for _ in range(80):
        await life.onboard()
    await run_dry(relay)
    assert await relayed(bus, life.services.settings.database_url) > 2 * 256
    message = await bus.jetstream().get_msg(LIFECYCLE, seq=1)
    assert message.subject == f"lc.{life.manager.workspace_id}.workspace.created.v1"


async def test_what_is_no_lifecycle_event_is_relayed_all_the_same(life: Life, relay: Relay, bus: Bus) -> None:
    """The relay is no judge of contents, and must not stop what comes behind: who can't apply it will say so."""
    for version, text in enumerate(
        ['{"a":1}', '{"type":5}', '{"type":"key.frozen.v9","data":{"workspaceId":"a b.>"}}', '{"a":1}\n'], 1
    ):
        await append(life.services.journal, entry("key_bogus", version, text))
    await life.onboard()
    await run_dry(relay)
    await relayed(bus, life.services.settings.database_url)


async def test_a_new_event_is_relayed_without_being_asked(life: Life, worker: Worker, bus: Bus) -> None:
    """No wake-up reaches the worker in this test: it polls."""
    url = life.services.settings.database_url
    await relayed(bus, url)
    await life.onboard()
    await relayed(bus, url)


async def test_two_relays_at_the_same_time_do_no_harm(
    life: Life, relay: Relay, worker_postgres: Postgres, bus: Bus
) -> None:
    """Neither leads: both publish whatever they think is next, while more comes."""
    other = Relay(worker_postgres, LifecycleStream(bus, replicas=1))
    written = False

    async def publish(this: Relay) -> None:
        while not written or await last_sequence(bus) < await life.services.journal.head():
            with suppress(APIError):  # the server's refusal of the second of them
                await this.step()
            await asyncio.sleep(0)

    async def write() -> None:
        nonlocal written
        await life.go_on(60)
        written = True

    await asyncio.gather(publish(relay), publish(other), write())
    await relayed(bus, life.services.settings.database_url)


@pytest.mark.parametrize("busy", [True, False], ids=["while events come", "while idle"])
async def test_a_deleted_stream_is_rebuilt_with_the_same_numbers(
    life: Life, worker: Worker, bus: Bus, busy: bool
) -> None:
    url = life.services.settings.database_url
    await life.go_on(20)
    await relayed(bus, url)
    going_on = asyncio.create_task(life.go_on(40 if busy else 0))
    assert await bus.jetstream().delete_stream(LIFECYCLE)
    await going_on
    await relayed(bus, url)
    await life.onboard()
    await relayed(bus, url)
    await projected(url)
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


@pytest.mark.parametrize("lost", ["everything", "the tail"])
async def test_a_nats_that_lost_data_is_healed(
    life: Life, worker: Worker, bus: Bus, nats_server: Nats, lost: str
) -> None:
    """An older copy of its folder is what a crash without fsync, or a restored disk, leaves."""
    url, store = life.services.settings.database_url, nats_server.folder / "jetstream"
    await life.go_on(20)
    await relayed(bus, url)
    await nats_server.stop()
    if lost == "the tail":
        shutil.copytree(store, nats_server.folder / "older")
    await nats_server.start()
    await life.go_on(20)
    await relayed(bus, url)
    nats_server.kill()
    nats_server.wipe()
    if lost == "the tail":
        shutil.move(nats_server.folder / "older", store)
    await life.go_on(8)
    await nats_server.start()
    await life.go_on(8)
    await relayed(bus, url)
    await projected(url)
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


async def test_nobody_can_take_messages_out_of_the_stream(life: Life, relay: Relay, bus: Bus) -> None:
    """Neither one nor all, nor by changing the stream so that they can: what is wrong must be deleted whole."""
    await run_dry(relay)
    js = bus.jetstream()
    with pytest.raises(APIError):
        await js.delete_msg(LIFECYCLE, seq=1)
    with pytest.raises(APIError):
        await js.purge_stream(LIFECYCLE)
    config = (await js.stream_info(LIFECYCLE)).config
    with pytest.raises(APIError):
        await js.update_stream(config=config.evolve(deny_purge=False, deny_delete=False))
    await relayed(bus, life.services.settings.database_url)


async def unready_because(worker: Worker, life: Life, what: str) -> None:
    """Both the worker and the API name it."""
    from keyfold.web.health import api_readiness, worker_readiness  # noqa: PLC0415 - loads the web framework

    await wait_until(lambda: what in loop_of(worker))
    own = await worker_readiness(worker.postgres, worker.bus, worker.loops)
    assert not own.ready
    assert what in own.checks["loop relay"].detail

    async def said_by_the_api() -> bool:
        everybody = await api_readiness(life.services.postgres, worker.bus, life.services.sealing)
        check = everybody.checks.get("loop relay")
        return not everybody.ready and check is not None and not check.ok and what in check.detail

    await wait_until(said_by_the_api)


async def test_a_stream_ahead_of_the_log_halts_the_relay_which_names_it_and_publishes_nothing(
    life: Life, worker: Worker, bus: Bus
) -> None:
    """As after an older backup of Postgres was restored. The log goes on; the stream stays as it is."""
    url = life.services.settings.database_url
    head = await relayed(bus, url)
    await projected(url)
    foreign = [await put(bus, b"{}") for _ in range(3)]
    assert foreign == [head + 1, head + 2, head + 3]
    await unready_because(worker, life, "ahead of the log")
    await life.invite()
    await life.onboard()
    relay = Relay(worker.postgres, LifecycleStream(bus, replicas=1))
    with pytest.raises(Halt, match=f"differ at position {head + 3}"):
        await relay.step()
    assert await last_sequence(bus) == head + 3


async def test_a_foreign_message_is_applied_by_nobody_and_healed_by_deleting_the_stream(
    life: Life, worker: Worker, bus: Bus
) -> None:
    """Even a perfect record: the log doesn't have it, so it never happened."""
    url = life.services.settings.database_url
    key_id = await life.issue()
    head = await relayed(bus, url)
    await projected(url)
    record = await bus.jetstream().get_msg(LIFECYCLE, seq=head)
    forged = msgspec.json.decode(record.data or b"")
    forged |= {"version": 2, "type": "key.revoked.v1", "data": {**forged["data"], "reason": "forged"}}
    await put(bus, msgspec.json.encode(forged), f"lc.{life.manager.workspace_id}.key.revoked.v1")
    await unready_because(worker, life, "ahead of the log")
    for name in ("projection current", "projection audit"):
        await wait_until(partial(loop_is, worker, name, "halted"))
        assert f"position {head + 1}" in loop_of(worker, name).lower()
    status = "SELECT status FROM projections.keys WHERE id = $1"
    assert await value(url, status, key_id) == "active"
    await life.invite()
    assert await bus.jetstream().delete_stream(LIFECYCLE)
    await projected(url, seconds=20)
    await relayed(bus, url)
    assert await value(url, status, key_id) == "active"
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


async def test_a_stream_that_says_something_else_than_the_log_halts_the_relay(
    life: Life, relay: Relay, bus: Bus
) -> None:
    """Another log was published there before: as many events, and others."""
    await bus.jetstream().add_stream(StreamConfig(name=LIFECYCLE, subjects=["lc.>"]))
    head = await life.services.journal.head()
    for _, record in await rows(
        life.services.settings.database_url, "SELECT position, record FROM keyfold.log ORDER BY 1"
    ):
        await put(bus, record.replace("Acme", "Umbrella").replace("2", "3").encode())
    await life.invite()
    with pytest.raises(Halt, match=f"differ at position {head}"):
        await relay.step()
    assert await last_sequence(bus) == head


async def test_a_stream_whose_last_message_is_missing_halts_the_relay(
    life: Life, relay: Relay, worker_postgres: Postgres, bus: Bus
) -> None:
    """Somebody made the stream by hand, so that it can be purged, and did."""
    await bus.jetstream().add_stream(StreamConfig(name=LIFECYCLE, subjects=["lc.>"]))
    await run_dry(relay)
    await bus.jetstream().purge_stream(LIFECYCLE)
    await life.invite()
    restarted = Relay(worker_postgres, LifecycleStream(bus, replicas=1))
    with pytest.raises(Halt, match="doesn't hold that message"):
        await restarted.step()


async def test_when_the_leader_goes_another_worker_leads_within_seconds(
    life: Life, worker_settings: Settings, bus: Bus
) -> None:
    """Once because it stopped, and once because the lock was lost with its connection."""
    url = life.services.settings.database_url
    first, second = Worker(worker_settings), Worker(worker_settings)
    async with working(first) as leading:
        await wait_until(lambda: "running" in loop_of(first))
        async with working(second):
            await wait_until(lambda: "standby" in loop_of(second))
            await life.onboard()
            await relayed(bus, url)
            leading.cancel()
            await wait_until(lambda: "running" in loop_of(second))
            await life.onboard()
            await relayed(bus, url, 3)
            await value(life.services.settings.admin_database_url, LOSE_LOCKS)
            await life.onboard()
            await relayed(bus, url, 3)
            await projected(url)


LOSE_LOCKS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
