"""Consumers that were away, or are cut off again and again, go on exactly where they were."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from conftest import Database, make_settings
from contract.tenant import Clock, Tenant, bearer, make_tenant, running
from integration.partner import connected, sent
from keyfold.bus import durables
from keyfold.cli.embedded import Nats

from .apps import TOPIC, client_of, key_of
from .system import System, onboard

ACK_WAIT = 1.0
"""Seconds, instead of half a minute, until what wasn't acknowledged comes again."""
MISSED = 600
"""Events while the consumers are away."""
EVENTS = 150
CUT = 4_000
"""Bytes after which a line is cut at the latest: some events."""

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Consumer:
    """The own consumer of a key, and one that it shares: natively, and over HTTP."""

    def __init__(self, tenant: Tenant, key: dict[str, Any], nats_url: str) -> None:
        self.tenant = tenant
        self.key = key
        self._nats_url = nats_url

    async def call(self, path: str, body: Any) -> Any:
        headers = bearer(self.key["secret"])
        answer = await self.tenant.api.post(f"/api/v1/consumers{path}", json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["data"]

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[JetStreamContext.PullSubscription]:
        client = await connected(self._nats_url, self.key["secret"])
        try:
            js = client.jetstream(domain="keyfold")
            consumer = "k_" + self.key["id"].removeprefix("key_")
            yield await js.pull_subscribe_bind(consumer=consumer, stream=f"EV_{self.tenant.id}_prod")
        finally:
            await client.close()

    async def natively(self, most: int, *, spare: int = 0) -> list[int]:
        """Takes so many, and acknowledges all but the last `spare`."""
        taken: list[Msg] = []
        async with self.bound() as pull:
            while len(taken) < most:
                taken += await pull.fetch(min(100, most - len(taken)), timeout=10)
            for message in taken[: most - spare]:
                await message.ack_sync(timeout=5)
        return [json.loads(message.data)["data"] for message in taken]

    async def over_http(self, most: int, *, spare: int = 0) -> list[int]:
        taken: list[Any] = []
        while len(taken) < most:
            some = await self.call("/shared/pull", {"batch": min(100, most - len(taken)), "waitSeconds": 10})
            assert some, f"{len(taken)} of {most}"
            taken += some
        tokens = [each["token"] for each in taken[: most - spare]]
        for first in range(0, len(tokens), 100):
            answers = await self.call("/shared/ack", {"tokens": tokens[first : first + 100]})
            assert {each["status"] for each in answers} == {"done"}
        return [each["event"]["data"] for each in taken]

    async def left(self) -> tuple[int, int]:
        """How many events are to come, or to be acknowledged, of the own consumer and of the shared one."""
        headers = bearer(self.key["secret"])
        answer = await self.tenant.api.get("/api/v1/consumers", headers=headers)
        of = {each["name"]: each["pending"] + each["ackPending"] for each in answer.json()["data"]}
        return of["own"], of["shared"]


@pytest.mark.long
async def test_a_consumer_that_was_away_goes_on_exactly_where_it_was(
    database: Database, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of events later, after other APIs and another NATS on the same disk: all that it hasn't had, in order,
    and once more only what it had in hand and hasn't acknowledged."""
    monkeypatch.setattr(durables, "ACK_WAIT", ACK_WAIT)
    settings = make_settings(database, nats_server)
    async with running(settings, Clock()) as (services, api):
        tenant = await make_tenant(api, services)
        (_, sending), (_, receiving) = await tenant.onboard(), await tenant.onboard()
        consumer = Consumer(tenant, receiving["prod"], nats_server.url)
        await consumer.call("", {"name": "shared", "start": "beginning"})
        await publish(nats_server, sending["prod"], range(20))
        assert await consumer.natively(10, spare=3) == [*range(10)]
        assert await consumer.over_http(10, spare=3) == [*range(10)]
        await publish(nats_server, sending["prod"], range(20, MISSED))
    nats_server.kill()
    await nats_server.start()
    async with running(settings, Clock()) as (services, api):
        tenant.services, tenant.api = services, api
        await publish(nats_server, sending["prod"], range(MISSED, MISSED + 20))
    async with running(settings, Clock()) as (services, api):
        tenant.services, tenant.api = services, api
        for takes in (consumer.natively, consumer.over_http):
            taken = await takes(MISSED + 20 - 7)
            assert sorted(taken) == [*range(7, MISSED + 20)]
            assert [each for each in taken if each >= 10] == [*range(10, MISSED + 20)]
        assert await consumer.left() == (0, 0)


async def publish(server: Nats, key: dict[str, Any], numbers: range) -> None:
    client = await connected(server.url, key["secret"])
    try:
        for number in numbers:
            assert "seq" in await sent(client, TOPIC, number)
    finally:
        await client.close()


class Reader:
    """A reader of server-sent events whose line is cut after some bytes, wherever in an event that is."""

    def __init__(self, client: httpx.AsyncClient, key: dict[str, Any]) -> None:
        self._client = client
        self._headers = bearer(key["secret"])
        self.seen: list[tuple[int, Any]] = []
        self.cuts = 0

    async def read(self, most: int) -> None:
        """On one line; returns when it ends, when so many bytes have come, or all events."""
        behind = {"Last-Event-ID": str(self.seen[-1][0])} if self.seen else {}
        buffer = b""
        path, headers = "/api/v1/events/stream?from=beginning", self._headers | behind
        async with self._client.stream("GET", path, headers=headers) as answer:
            if answer.status_code == 503:
                return
            assert answer.status_code == 200
            async for chunk in answer.aiter_raw():
                buffer += chunk[:most]
                most -= len(chunk)
                *whole, buffer = buffer.split(b"\n\n")
                self.seen += [_event(each) for each in whole if b"data: " in each]
                self.cuts += most <= 0
                if most <= 0 or len(self.seen) >= EVENTS:
                    return


def _event(text: bytes) -> tuple[int, Any]:
    fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
    return int(fields["id"]), json.loads(fields["data"])["data"]


@pytest.mark.long
async def test_a_stream_that_breaks_again_and_again_has_no_gap_and_nothing_twice(system: System) -> None:
    """After any number of bytes, while events are published, and over a killed API. Among them are events for others,
    whose sequences it doesn't get."""
    dice = random.Random(7)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(system.client(timeout=20))
        sending, receiving = [await onboard(system, http) for _ in range(2)]
        client = await stack.enter_async_context(client_of(system, key_of(sending), "nats"))
        reader, numbers = Reader(http, key_of(receiving)), [*range(EVENTS)]

        async def publish() -> None:
            for number in numbers:
                await client.publish(TOPIC, number, id=f"event-{number}")
                if number % 7 == 0:
                    await client.publish(TOPIC, "for itself", to=[sending["partner"]["id"]])
                if number == len(numbers) // 2:
                    system.api.kill()
                    system.api.start()

        async def read() -> None:
            while len(reader.seen) < EVENTS:
                with suppress(httpx.HTTPError):
                    await reader.read(dice.randint(1, CUT))
                await asyncio.sleep(0.01)

        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            group.create_task(publish())
            group.create_task(read())
    assert [data for _, data in reader.seen] == numbers
    sequences = [sequence for sequence, _ in reader.seen]
    assert sequences == sorted({*sequences})
    assert reader.cuts > 10
