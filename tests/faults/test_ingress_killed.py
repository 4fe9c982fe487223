"""kill -9 of the APIs, which take events in, at random moments: what was acknowledged is stored once and in order."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count, cycle, islice
from typing import Any, NamedTuple

import httpx
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from integration.support import logged_in, wait_until

from .apps import Native, client_of, key_of
from .system import System, another_api, onboard

TOPICS = ("app/order/created", "app/order/changed")
BATCH = 8
Send = Callable[[str, list[int]], Awaitable[list[int]]]
"""Publishes events with these numbers to a topic, and gives their sequences, whatever it takes."""


class Stored(NamedTuple):
    sequence: int
    topic: str
    id: str
    number: int


class Publisher:
    """Sends numbers, to one topic after the other, some at a time, and the next when those before are acknowledged."""

    def __init__(self, name: str, send: Send, *, at_once: int = 1) -> None:
        self.name = name
        self.acknowledged: dict[str, int] = {}
        self._send = send
        self._at_once = at_once
        self._stopping = False
        self.task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """It ends what it has begun."""
        self._stopping = True
        await self.task

    async def _run(self) -> None:
        for turn in count():
            if self._stopping:
                return
            first = turn // len(TOPICS) * self._at_once
            topic, numbers = TOPICS[turn % len(TOPICS)], [*range(first, first + self._at_once)]
            sequences = await self._send(topic, numbers)
            self.acknowledged |= {id_of(topic, each): at for each, at in zip(numbers, sequences, strict=True)}

    def assert_stored(self, events: list[Stored]) -> None:
        """Each once, where the acknowledgement says, and those of each topic in the order in which they were sent."""
        assert {each.id: each.sequence for each in events} == self.acknowledged, self.name
        assert len(events) == len(self.acknowledged), self.name
        for topic in TOPICS:
            numbers = [each.number for each in events if each.topic == topic]
            assert numbers == [*range(len(numbers))], f"{self.name}: {topic}"
            assert len(numbers) > 5, f"{self.name} hardly sent anything"


def id_of(topic: str, number: int) -> str:
    return f"{topic}/{number}"


class OverHttp:
    """Repeats a request with the same ids until each event of it is acknowledged."""

    def __init__(self, client: httpx.AsyncClient, key: dict[str, Any]) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key['secret']}"}

    async def one(self, topic: str, numbers: list[int]) -> list[int]:
        (number,) = numbers
        headers = self._headers | {"Idempotency-Key": id_of(topic, number)}
        while True:
            with suppress(httpx.HTTPError):
                answer = await self._client.post(
                    "/api/v1/events", params={"topic": topic}, json=number, headers=headers
                )
                if answer.status_code == 201:
                    return [answer.json()["data"]["sequence"]]
                assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.02)

    async def batch(self, topic: str, numbers: list[int]) -> list[int]:
        headers = self._headers | {"Content-Type": "application/cloudevents-batch+json"}
        head = {"specversion": "1.0", "type": topic.replace("/", ".")}
        body = [{**head, "id": id_of(topic, number), "data": number} for number in numbers]
        while True:
            with suppress(httpx.HTTPError):
                answer = await self._client.post("/api/v1/events", json=body, headers=headers)
                answers = answer.json()["data"] if answer.status_code == 200 else []
                if answers and all(each["status"] == 201 for each in answers):
                    return [each["sequence"] for each in answers]
                assert {answer.status_code, *(each["status"] for each in answers)} <= {200, 201, 503}, answer.text
            await asyncio.sleep(0.02)


@asynccontextmanager
async def publishing(system: System, other_url: str) -> AsyncIterator[dict[str, Publisher]]:
    """By the keys that they publish with."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(system.client(timeout=3))
        other = await stack.enter_async_context(httpx.AsyncClient(base_url=other_url, timeout=3))
        keys = [key_of(await onboard(system, http)) for _ in range(4)]
        native = Native(system.nats.url, keys[2])
        stack.push_async_callback(native.close)
        client = await stack.enter_async_context(client_of(system, keys[3], "nats"))

        async def natively(topic: str, numbers: list[int]) -> list[int]:
            return [await native.publish(topic, each, id_of(topic, each)) for each in numbers]

        async def by_client(topic: str, numbers: list[int]) -> list[int]:
            return [(await client.publish(topic, each, id=id_of(topic, each))).sequence for each in numbers]

        publishers = [
            Publisher("over HTTP", OverHttp(http, keys[0]).one),
            Publisher("in batches", OverHttp(other, keys[1]).batch, at_once=BATCH),
            Publisher("over NATS", natively),
            Publisher("by keyfold_client", by_client),
        ]
        try:
            yield {key["id"]: each for key, each in zip(keys, publishers, strict=True)}
        finally:
            for each in publishers:
                each.task.cancel()
            await asyncio.gather(*[each.task for each in publishers], return_exceptions=True)


async def more(publishers: dict[str, Publisher], events: int, seconds: float = 120) -> None:
    """Waits until each has so many more acknowledged."""
    wanted = {key: len(each.acknowledged) + events for key, each in publishers.items()}

    def reached() -> bool:
        for each in publishers.values():
            if each.task.done():
                each.task.result()
        return all(len(each.acknowledged) >= wanted[key] for key, each in publishers.items())

    await wait_until(reached, seconds, every=0.005)


async def stored(system: System) -> dict[str, list[Stored]]:
    """All that the stream has, by the keys that sent it."""
    stream = f"EV_{system.founded.workspace_id}_prod"
    found: dict[str, list[Stored]] = defaultdict(list)
    async with logged_in(system.nats, "worker") as worker:
        js = worker.jetstream()
        left = (await js.stream_info(stream)).state.messages
        pull = await js.pull_subscribe("ev.>", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
        while left:
            batch = await pull.fetch(min(left, 500), timeout=5)
            left -= len(batch)
            for message in batch:
                event = json.loads(message.data)
                place = Stored(message.metadata.sequence.stream, event["topic"], event["id"], event["data"])
                found[event["keyid"]].append(place)
    return found


@pytest.mark.long
async def test_what_was_acknowledged_is_stored_once_and_in_order_whoever_was_killed_when(
    system: System, rounds: int, seed: int
) -> None:
    """Of two APIs both are killed, or one of them. Publishers on both roads send again, under the same id, what
    wasn't acknowledged; they wait for the acknowledgement before they send the next, or the next batch."""
    dice = random.Random(seed)
    async with another_api(system) as other, publishing(system, other.url) as publishers:
        turns = cycle([[system.api, other], [other], [system.api]])
        for victims in islice(turns, max(1, rounds // 2)):  # processes take seconds to begin
            await more(publishers, dice.randint(5, 25))
            await asyncio.sleep(dice.uniform(0, 0.05))  # any moment: this is what is tested
            for each in victims:
                each.kill()
            for each in victims:
                each.start()
        await more(publishers, 5)
        async with asyncio.timeout(60):
            await asyncio.gather(*[each.stop() for each in publishers.values()])
        found = await stored(system)
        assert {*found} == {*publishers}
        for key, publisher in publishers.items():
            publisher.assert_stored(found[key])
