"""Three NATS servers, two APIs: partners may be connected anywhere, and each server may go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import nats.errors
import pytest
from nats.aio.client import Client

from cluster import NatsCluster
from conftest import Database, make_settings, settings_of_worker
from contract.tenant import Clock, Tenant, make_tenant, running, working
from integration.partner import connected, sent, until


class Scene(NamedTuple):
    cluster: NatsCluster
    tenant: Tenant


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    cluster = NatsCluster(tmp_path)
    await cluster.start()
    try:
        async with AsyncExitStack() as stack:
            settings = make_settings(database, cluster, nats_replicas=3)
            await stack.enter_async_context(working(settings_of_worker(settings, cluster)))
            services, api = await stack.enter_async_context(running(settings, Clock()))
            await stack.enter_async_context(running(settings, Clock()))
            yield Scene(cluster, await make_tenant(api, services))
    finally:
        await cluster.stop()


async def everywhere(scene: Scene, key: str) -> list[Client]:
    """A connection at each of the servers."""
    return [await connected(server.url, key) for server in scene.cluster.servers]


async def test_a_key_dies_at_every_server(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """Also where it connects while it dies; suspended, it comes back everywhere."""
    _, keys = await scene.tenant.onboard()
    key = keys["prod"]
    clients = await everywhere(scene, key["secret"])
    for n, client in enumerate(clients):
        assert (await sent(client, "app/order/created", {"n": n}))["seq"] == n + 1
    await scene.tenant.post(f"/api/v1/keys/{key['id']}/suspend", {"reason": "test"})
    seconds = await until(lambda: not any(client.is_connected for client in clients))
    record_property("measured", f"connections at three servers gone {seconds * 1000:.0f} ms after the answer")
    for server in scene.cluster.servers:
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await connected(server.url, key["secret"])
    await scene.tenant.post(f"/api/v1/keys/{key['id']}/reinstate", {})
    clients = await everywhere(scene, key["secret"])
    for client in clients:
        assert "seq" in await sent(client, "app/order/created", {})
        await client.close()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nats-py, whose server is gone
async def test_a_server_goes_and_partners_go_on(scene: Scene) -> None:
    """What was acknowledged is there, a consumer goes on where it was, and keys die as before."""
    _, keys = await scene.tenant.onboard()
    key = keys["prod"]
    options = {"allow_reconnect": True, "max_reconnect_attempts": -1, "reconnect_time_wait": 0.1}
    client = await connected(scene.cluster.url, key["secret"], **options)
    stream = (await sent(client, "app/order/created", {"n": 1}))["stream"]
    consumer = "k_" + key["id"].removeprefix("key_")
    assert client.connected_url is not None
    (home,) = [each for each in scene.cluster.servers if each.port == client.connected_url.port]
    home.kill()
    acknowledged: list[int] = []
    async with asyncio.timeout(30):
        while len(acknowledged) < 5:
            try:
                answer = await sent(client, "app/order/created", {"n": len(acknowledged) + 2})
            except nats.errors.Error:
                await asyncio.sleep(0.1)
                continue
            if "seq" in answer:
                acknowledged.append(answer["seq"])
    pull = await client.jetstream(domain="keyfold").pull_subscribe_bind(consumer=consumer, stream=stream)
    seen: set[int] = set()
    async with asyncio.timeout(30):
        while not {1, *acknowledged} <= seen:
            try:
                batch = await pull.fetch(10, timeout=1)
            except nats.errors.Error:
                continue
            for message in batch:
                await message.ack()
            seen |= {message.metadata.sequence.stream for message in batch}
    await scene.tenant.post(f"/api/v1/keys/{key['id']}/revoke", {"reason": "test"})
    await until(lambda: not client.is_connected)
    await client.close()
