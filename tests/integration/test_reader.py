"""The reader of the stream: what can go wrong between it and the server, and that it never asks for too much."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from keyfold.bus import reader as reading
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import Delivered, LifecycleReader, LifecycleStream, Publication
from keyfold.bus.subjects import LIFECYCLE
from keyfold.cli.embedded import Nats

from .support import wait_until


@pytest.fixture
async def stream(bus: Bus) -> LifecycleStream:
    this = LifecycleStream(bus, replicas=1)
    await this.last()
    return this


@pytest.fixture
async def reader(bus: Bus) -> AsyncIterator[LifecycleReader]:
    this = LifecycleReader(bus)
    yield this
    await this.close()


async def fill(stream: LifecycleStream, upto: int) -> None:
    first = await stream.last() + 1
    for begin in range(first, upto + 1, 200):
        await stream.publish(
            [Publication(n, "lc.ws.e", b"%d" % n, {}) for n in range(begin, min(begin + 200, upto + 1))]
        )


async def read(reader: LifecycleReader, count: int, most: int = 1_000) -> list[Delivered]:
    found: list[Delivered] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.batch(most, 0.5)
    return found


async def waiting_requests(bus: Bus) -> list[int]:
    """How many requests wait at each consumer of the stream."""
    return [each.num_waiting or 0 for each in await bus.jetstream().consumers_info(LIFECYCLE)]


async def test_it_delivers_from_a_position_on_in_order(stream: LifecycleStream, reader: LifecycleReader) -> None:
    await fill(stream, 3_000)
    await reader.open(700)
    assert [each.position for each in await read(reader, 2_300)] == list(range(701, 3_001))
    await fill(stream, 3_001)
    assert await read(reader, 1) == [Delivered(3_001, b"3001")]


async def test_it_asks_for_no_more_than_it_can_take(
    stream: LifecycleStream, reader: LifecycleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is slow is sent what it asked for and no more; asked for again when half of it has come."""
    monkeypatch.setattr(reading, "PULL", 100)
    await fill(stream, 500)
    await reader.open(0)
    await wait_until(lambda: len(reader._arrived) == 100)
    assert len(await reader.batch(10, 1)) == 10
    await wait_until(lambda: len(reader._arrived) == 190)
    assert [each.position for each in await read(reader, 490)] == list(range(11, 501))


async def test_requests_that_expire_are_replaced_one_by_one_and_never_pile_up(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bursts of more than half a request, between which requests expire: each would leave one more request behind."""
    monkeypatch.setattr(reading, "PULL", 20)
    monkeypatch.setattr(reading, "_SECOND", 10_000_000)  # requests live 0.3 s, heartbeats come after 0.05 s
    await reader.open(0)
    seen: list[Delivered] = []
    for burst in range(1, 9):
        await fill(stream, burst * 12)
        seen += await read(reader, 12)
        until = asyncio.get_running_loop().time() + 0.4
        while asyncio.get_running_loop().time() < until:
            seen += await reader.batch(100, 0.05)
    assert [each.position for each in seen] == list(range(1, 97))
    assert reader.is_open
    assert 0 <= reader._owed <= 30
    assert max(await waiting_requests(bus)) <= 2


async def test_a_consumer_that_was_deleted_is_noticed_and_costs_nothing_meanwhile(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader
) -> None:
    """As after a pause of more than a minute. Nothing is asked of a consumer that isn't there."""
    await fill(stream, 3)
    await reader.open(0)
    assert len(await read(reader, 3)) == 3
    for consumer in await bus.jetstream().consumers_info(LIFECYCLE):
        await bus.jetstream().delete_consumer(LIFECYCLE, consumer.name)
    await wait_until(lambda: not reader.is_open)
    await fill(stream, 5)
    await reader.open(3)
    assert [each.position for each in await read(reader, 2)] == [4, 5]


async def test_a_request_that_nobody_answers_is_noticed(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader
) -> None:
    """The consumer vanished while there was no request at it: the next one finds nobody."""
    await reader.open(0)
    reader._consumer += "_of_another"
    await reader._ask()
    await wait_until(lambda: not reader.is_open)


async def test_a_server_that_restarts_is_noticed_and_read_from_again(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader, nats_server: Nats
) -> None:
    await fill(stream, 3)
    await reader.open(0)
    assert len(await read(reader, 3)) == 3
    nats_server.kill()
    await wait_until(lambda: not reader.is_open)
    await nats_server.start()
    await wait_until(lambda: bus.is_connected and not reader.is_open)
    await fill(stream, 4)
    await reader.open(3)
    assert [each.position for each in await read(reader, 1)] == [4]


async def test_what_it_read_before_a_reconnection_never_mixes_with_what_it_reads_after(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader, nats_server: Nats
) -> None:
    """It is opened while there is no connection, which fails; the old subscription must not come back with it."""
    subscriptions = len(bus.client._subs)
    await reader.open(0)
    nats_server.kill()
    await wait_until(lambda: not bus.is_connected)
    for _ in range(3):
        with pytest.raises(Exception, match="closed"):
            await reader.open(0)
    await nats_server.start()
    await wait_until(lambda: bus.is_connected)
    await reader.open(0)
    assert len(bus.client._subs) == subscriptions + 1
    await fill(stream, 5)
    assert [each.position for each in await read(reader, 5)] == [1, 2, 3, 4, 5]


async def test_a_silent_server_is_left_after_a_while(
    bus: Bus, stream: LifecycleStream, reader: LifecycleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats keep it open however long nothing happens; without them it closes."""
    monkeypatch.setattr(reading, "QUIET", 0.3)
    monkeypatch.setattr(reading, "_SECOND", 10_000_000)
    await reader.open(0)
    until = asyncio.get_running_loop().time() + 0.9
    heard: Counter[str] = Counter()
    hear = reader._on_message

    async def count(message: Msg) -> None:
        heard[str((message.headers or {}).get("Status"))] += 1
        await hear(message)

    assert reader._subscription is not None
    reader._subscription._cb = count
    while asyncio.get_running_loop().time() < until:
        await reader.batch(10, 0.05)
        assert reader.is_open
    assert heard["100"] > 3
    assert heard["408"] > 0

    async def deaf(_: Any) -> None:
        """The network swallows everything."""

    reader._subscription._cb = deaf
    await wait_until(lambda: not reader.is_open)
