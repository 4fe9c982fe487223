"""The streams of app events: there when they are needed, whatever happens to NATS, and nothing acknowledged is lost."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from nats.js.errors import NotFoundError

from keyfold.app.ports import Stored
from keyfold.bus.connection import Bus
from keyfold.bus.event_streams import DUPLICATE_WINDOW, EventStreams
from keyfold.bus.topology import core_login
from keyfold.cli.embedded import Nats
from keyfold.domain.app_event import EventTooLarge
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings

from .support import LIMIT, wait_until

STREAM = "EV_ws_1_prod"


@pytest.fixture
async def api_bus(settings: Settings) -> AsyncIterator[Bus]:
    """A connection as an API process has it."""
    this = Bus(settings.nats_url, login=core_login(settings))
    await this.start()
    await wait_until(lambda: this.is_connected)
    yield this
    await this.stop()


@pytest.fixture
def streams(api_bus: Bus) -> EventStreams:
    return EventStreams(api_bus, replicas=1)


def store(
    streams: EventStreams, number: int, *, stream: str = STREAM, payload: bytes | None = None
) -> Awaitable[Stored]:
    environment = stream.rpartition("_")[2]
    body = str(number).encode() if payload is None else payload
    return streams.store(stream, f"ev.ws_1.{environment}._.a.b", body, {"Nats-Msg-Id": str(number)})


async def kept(bus: Bus, last: int, stream: str = STREAM) -> list[int]:
    messages = [await bus.jetstream().get_msg(stream, seq=sequence) for sequence in range(1, last + 1)]
    return [int(message.data or b"") for message in messages]


async def restart(server: Nats, bus: Bus, *, wiped: bool) -> None:
    generation = bus.generation
    server.kill()
    await wait_until(lambda: not bus.is_connected)
    await server.stop()
    if wiped:
        server.wipe()
    await server.start()
    await wait_until(lambda: bus.is_connected and bus.generation > generation)


async def test_the_first_event_makes_the_stream(api_bus: Bus, streams: EventStreams) -> None:
    with pytest.raises(NotFoundError):
        await api_bus.jetstream().stream_info(STREAM)
    assert await store(streams, 1) == Stored(1, False)
    config = (await api_bus.jetstream().stream_info(STREAM)).config
    assert config.subjects == ["ev.ws_1.prod.>"]
    assert (config.duplicate_window, config.max_age) == (DUPLICATE_WINDOW, 30 * 86400)
    assert (config.allow_msg_ttl, config.allow_direct, config.storage) == (True, True, "file")
    assert await streams.ensure("ws_1", "prod") == STREAM
    assert await streams.ensure("ws_1", "dev") == "EV_ws_1_dev"


async def test_what_begins_first_is_stored_first_even_where_the_stream_must_be_made(
    api_bus: Bus, streams: EventStreams
) -> None:
    first = await asyncio.gather(*[store(streams, n) for n in range(500)])
    await api_bus.jetstream().delete_stream(STREAM)
    again = await asyncio.gather(*[store(streams, n) for n in range(500)])
    for stored in (first, again):
        assert [each.sequence for each in stored] == [*range(1, 501)]
    assert await kept(api_bus, 500) == [*range(500)]


async def test_what_comes_while_others_wait_for_the_stream_comes_after_them(
    api_bus: Bus, streams: EventStreams
) -> None:
    begun: list[asyncio.Task[Stored]] = []
    for number in range(200):
        begun.append(asyncio.ensure_future(store(streams, number)))
        await asyncio.sleep(0 if number % 3 else 0.0002)
    assert [each.sequence for each in await asyncio.gather(*begun)] == [*range(1, 201)]


async def test_a_duplicate_has_the_sequence_of_the_first(streams: EventStreams) -> None:
    both = [*await asyncio.gather(store(streams, 7), store(streams, 7, payload=b"8"))]
    assert both == [Stored(1, False), Stored(1, True)]
    assert await store(streams, 9) == Stored(2, False)
    assert await store(streams, 7, stream="EV_ws_1_dev") == Stored(1, False)


async def test_after_nats_was_wiped_publishing_goes_on_by_itself(
    nats_server: Nats, api_bus: Bus, streams: EventStreams
) -> None:
    assert (await store(streams, 1)).sequence == 1
    await restart(nats_server, api_bus, wiped=True)
    stored = await asyncio.gather(*[store(streams, n) for n in range(50)])
    assert [each.sequence for each in stored] == [*range(1, 51)]


async def test_a_stream_that_somebody_deletes_while_we_are_connected_is_made_again(
    api_bus: Bus, streams: EventStreams
) -> None:
    await store(streams, 1)
    await api_bus.jetstream().delete_stream(STREAM)
    assert await store(streams, 2) == Stored(1, False)


async def test_what_was_acknowledged_is_there_after_a_kill_and_what_wasnt_can_be_sent_again(
    nats_server: Nats, api_bus: Bus, streams: EventStreams
) -> None:
    answers = [await store(streams, n) for n in range(20)]
    under_way = [asyncio.ensure_future(store(streams, n)) for n in range(20, 200)]
    await asyncio.sleep(0)
    nats_server.kill()
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    assert all(isinstance(each, Stored | Unavailable) for each in outcomes)
    await nats_server.stop()
    await nats_server.start()
    await wait_until(lambda: api_bus.is_connected)
    again = [await store(streams, n) for n in range(200)]
    acknowledged = {n: each for n, each in enumerate([*answers, *outcomes]) if isinstance(each, Stored)}
    assert len(acknowledged) >= 20
    for number, stored in acknowledged.items():
        assert again[number] == Stored(stored.sequence, True)
    assert sorted(await kept(api_bus, 200)) == [*range(200)]


async def test_without_nats_an_event_is_refused_soon(nats_server: Nats, api_bus: Bus, streams: EventStreams) -> None:
    await store(streams, 1)
    process = nats_server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(LIMIT):
            outcomes = await asyncio.gather(*[store(streams, n) for n in range(2, 50)], return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in outcomes)
    finally:
        process.send_signal(signal.SIGCONT)
    await nats_server.stop()
    await wait_until(lambda: not api_bus.is_connected)
    async with asyncio.timeout(LIMIT):
        with pytest.raises(Unavailable):
            await store(streams, 50)
        with pytest.raises(Unavailable):
            await streams.ensure("ws_1", "stage")


async def test_a_message_too_large_for_the_server_is_refused_and_costs_nobody_the_connection(
    api_bus: Bus, streams: EventStreams
) -> None:
    generation = api_bus.generation
    most = api_bus.client.max_payload
    for size in (most, most - 100, most + 1):
        with pytest.raises(EventTooLarge):
            await store(streams, size, payload=b"x" * size)
    await store(streams, 1, payload=b"x" * (most - 2048))
    assert api_bus.generation == generation
    assert api_bus.is_connected


async def test_many_are_under_way_at_once(
    api_bus: Bus, streams: EventStreams, record_property: Callable[[str, object], None]
) -> None:
    """Measured against the client's own publish, and never judged by."""
    await streams.ensure("ws_1", "prod")
    js, payload, rounds = api_bus.jetstream(), b"x" * 300, []
    for _ in range(3):
        began = time.perf_counter()
        await asyncio.gather(*[streams.store(STREAM, "ev.ws_1.prod._.a", payload, {}) for _ in range(1000)])
        middle = time.perf_counter()
        await asyncio.gather(*[js.publish("ev.ws_1.prod._.a", payload) for _ in range(1000)])
        rounds.append(((time.perf_counter() - middle) / (middle - began), 1000 / (middle - began)))
    ratio, rate = sorted(rounds)[1]
    record_property("measured", f"events stored: {rate:,.0f}/s, {ratio:.2f} x the client's own acknowledged publish")
