"""NATS goes, with all that it had or without, and so do the processes that let apps in: apps go on by themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import nats.errors
import pytest

from integration.partner import connected, sent
from integration.support import LIMIT, wait_until

from .apps import TOPIC, Native, Taker, client_of, consumed, followed, key_of, pulled, seconds_of, taking
from .system import System, onboard

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Publish = Callable[[str, str], Awaitable[Any]]


class Scene(NamedTuple):
    """Apps that publish, one for each road, and apps that take all of it, one for each way."""

    system: System
    publishers: dict[str, Publish]
    takers: list[Taker]

    async def go_on(self, what: str, count: int) -> list[str]:
        """Everybody publishes, one event after the other; all of it, once everybody has got it."""

        async def some(name: str, publish: Publish) -> list[str]:
            data = [f"{what} {name} {n}" for n in range(count)]
            for each in data:
                await publish(each, each.replace(" ", "-"))
            return data

        async with asyncio.timeout(120):
            published = await asyncio.gather(*[some(*each) for each in self.publishers.items()])
        events = [each for some in published for each in some]
        await asyncio.gather(*[taker.has(events) for taker in self.takers])
        return events


@pytest.fixture
async def scene(system: System) -> AsyncIterator[Scene]:
    stream = f"EV_{system.founded.workspace_id}_prod"
    async with AsyncExitStack() as stack:
        async with system.client() as http:
            keys = [key_of(await onboard(system, http)) for _ in range(7)]
        natives = [Native(system.nats.url, key) for key in keys[:2]]
        for each in natives:
            stack.push_async_callback(each.close)
        roads = ("nats", "http", "nats", "http", "http")
        clients = [client_of(system, key, road) for key, road in zip(keys[2:], roads, strict=True)]
        for client in clients:
            await stack.enter_async_context(client)
        publishers: dict[str, Publish] = {"native": partial(natives[0].publish, TOPIC)}
        for client in clients[:2]:
            publishers[f"client over {client.road}"] = partial(_published, client)
        takers = [
            Taker("native", partial(pulled, natives[1], stream)),
            Taker("client over nats", partial(consumed, clients[2])),
            Taker("client over http", partial(consumed, clients[3])),
            Taker("server-sent events", partial(followed, clients[4])),
        ]
        await stack.enter_async_context(taking(*takers))
        yield Scene(system, publishers, takers)


async def _published(client: Any, data: str, event_id: str) -> None:
    await client.publish(TOPIC, data, id=event_id)


@pytest.mark.long
@pytest.mark.parametrize("wiped", [False, True], ids=["killed", "killed and wiped"])
async def test_nats_goes_and_publishers_and_consumers_go_on_with_no_help(scene: Scene, *, wiped: bool) -> None:
    """SIGKILL, with its disk kept or deleted. With it kept, nothing that was acknowledged is lost, and what follows the
    stream has everything in order and once."""
    before = await scene.go_on("before", 10)
    scene.system.nats.kill()
    under_way = asyncio.create_task(scene.go_on("amid", 1))
    await wait_until(partial(answers, scene.system, 503), 10)
    if wiped:
        scene.system.nats.wipe()
    await scene.system.nats.start()
    after = [*await under_way, *await scene.go_on("after", 2)]
    (follower,) = [each for each in scene.takers if each.name == "server-sent events"]
    if wiped:
        assert [each for each in follower.taken if each in before] == follower.taken[: len(before)]
        follower.taken = follower.taken[len(before) :]
    else:
        after = before + after
    assert sorted(follower.taken) == sorted(after)
    await scene.system.ready()


async def answers(system: System, status: int) -> bool:
    return await system.api.answers("/health/ready") == status


async def test_without_the_callout_connections_stay_new_ones_fail_fast_and_come_back(
    system: System, record_property: Callable[[str, object], None]
) -> None:
    """All APIs are killed: who is connected goes on consuming, and publishes again when an API is back."""
    async with system.client() as http:
        key, other = [key_of(await onboard(system, http)) for _ in range(2)]
    live = await connected(system.nats.url, key["secret"])
    try:
        stream = (await sent(live, TOPIC, 1))["stream"]
        js = live.jetstream(domain="keyfold")
        pull = await js.pull_subscribe_bind(consumer="k_" + key["id"].removeprefix("key_"), stream=stream)
        system.api.kill()
        for who in (key, other):
            refused = nats.errors.Error
            seconds = await seconds_of(connected(system.nats.url, who["secret"]), refused, TimeoutError)
            record_property("measured", f"a connect without an API fails after {seconds * 1000:.0f} ms")
            assert seconds < LIMIT
        with pytest.raises(nats.errors.NoRespondersError):
            await live.request("events.app.order.created", b"2", timeout=LIMIT)
        (message,) = await pull.fetch(1, timeout=LIMIT)
        await message.ack_sync(timeout=LIMIT)
        system.api.start()
        fresh = Native(system.nats.url, other)
        try:
            async with asyncio.timeout(60):
                assert await fresh.publish(TOPIC, 2, "second") == 2
        finally:
            await fresh.close()
        assert live.is_connected
        assert (await sent(live, TOPIC, 3))["seq"] == 3
    finally:
        await live.close()
