"""Partners' apps that go on through whatever happens: they publish until they are answered, and take what comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

import keyfold_client
from integration.app import STAYING
from integration.partner import connected, sent
from integration.support import wait_until

from .system import System

TOPIC = "app/order/created"
PULLED = 20
"""Events that a plain client asks for at a time."""


def key_of(partner: dict[str, Any], environment: str = "prod") -> dict[str, Any]:
    (key,) = [each for each in partner["keys"] if each["environment"] == environment]
    return dict(key)


class Native:
    """A plain NATS client: one that reconnects, and is replaced when the server has refused it for good."""

    def __init__(self, url: str, key: dict[str, Any]) -> None:
        self._url = url
        self._key = key
        self._client: Client | None = None
        self.connects = 0

    async def client(self) -> Client:
        """Raises `nats.errors.Error`, `OSError`."""
        if self._client is None or self._client.is_closed:
            await self.close()
            self._client = await connected(self._url, self._key["secret"], **STAYING)
            self.connects += 1
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def publish(self, topic: str, data: Any, event_id: str) -> int:
        """The sequence that it is stored under, whatever it takes."""
        while True:
            with suppress(nats.errors.Error, OSError):
                answer = await sent(await self.client(), topic, data, **{"Nats-Msg-Id": event_id})
                if "seq" in answer:
                    return int(answer["seq"])
                assert answer["error"]["code"] == 503, answer
            await asyncio.sleep(0.02)

    async def pull(self, stream: str) -> AsyncIterator[Any]:
        """All that the key's own consumer has, each acknowledged once its taker is done with it."""
        consumer = "k_" + self._key["id"].removeprefix("key_")
        pull: JetStreamContext.PullSubscription | None = None
        while True:
            try:
                client = await self.client()
                if pull is None:
                    js = client.jetstream(domain="keyfold")
                    pull = await js.pull_subscribe_bind(consumer=consumer, stream=stream)
                for message in await pull.fetch(PULLED, timeout=0.5):
                    yield json.loads(message.data)
                    await message.ack()
            except (nats.errors.Error, OSError):
                if client.is_closed:
                    pull = None
                await asyncio.sleep(0.02)


class Taker:
    """What an app has taken so far: the data of its events, in the order in which they came."""

    def __init__(self, name: str, source: Callable[[], AsyncIterator[Any]]) -> None:
        self.name = name
        self.taken: list[Any] = []
        self._source = source
        self.task = asyncio.create_task(self._take(), name=name)

    async def _take(self) -> None:
        async for data in self._source():
            self.taken.append(data)

    async def has(self, wanted: list[Any], seconds: float = 120) -> None:
        """Waits until it has all of these."""

        def complete() -> bool:
            if self.task.done():
                self.task.result()
            return {*wanted} <= {*self.taken}

        try:
            await wait_until(complete, seconds)
        except AssertionError:
            missing = sorted({*wanted} - {*self.taken})
            raise AssertionError(f"{self.name} lacks {len(missing)}: {missing[:5]} …") from None


@asynccontextmanager
async def taking(*takers: Taker) -> AsyncIterator[list[Taker]]:
    try:
        yield [*takers]
    finally:
        for each in takers:
            each.task.cancel()
        await asyncio.gather(*[each.task for each in takers], return_exceptions=True)


def client_of(system: System, key: dict[str, Any], road: str) -> keyfold_client.AsyncClient:
    nats_url = system.nats.url if road == "nats" else None
    return keyfold_client.connect(system.api.url, key=key["secret"], nats_url=nats_url)


async def consumed(client: keyfold_client.AsyncClient) -> AsyncIterator[Any]:
    async for event in client.consume():
        yield event.data


async def followed(client: keyfold_client.AsyncClient) -> AsyncIterator[Any]:
    """By server-sent events."""
    async for event in client.replay(start="beginning"):
        yield event.data


async def pulled(native: Native, stream: str) -> AsyncIterator[Any]:
    async for event in native.pull(stream):
        yield event["data"]


async def seconds_of(failing: Awaitable[Any], *errors: type[BaseException]) -> float:
    """How long it takes to fail."""
    clock = asyncio.get_running_loop().time
    began = clock()
    with suppress(*errors):
        await failing
        raise AssertionError("it didn't fail")
    return clock() - began
