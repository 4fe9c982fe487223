"""Three NATS servers: any of them may go, and nothing stops."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import nats.errors
import pytest
from nats.js.api import ClusterInfo

from cluster import NatsCluster
from conftest import Database, make_settings, settings_of_worker
from contract.tenant import Clock, Tenant, make_tenant, running
from integration.app import App, works
from integration.support import wait_until, working
from keyfold.worker.worker import Worker


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    this = NatsCluster(tmp_path)
    await this.start()
    yield this
    await this.stop()


@pytest.fixture
async def tenant(database: Database, cluster: NatsCluster) -> AsyncIterator[Tenant]:
    """A workspace at an API and a worker, which know all three servers and have everything thrice."""
    settings = make_settings(database, cluster.servers[0])
    settings = msgspec.structs.replace(settings, nats_url=cluster.url, nats_replicas=len(cluster.servers))
    worker = Worker(settings_of_worker(settings, cluster.servers[0]))
    async with working(worker), running(settings, Clock()) as (services, api):
        yield await make_tenant(api, services)


# nats-py leaves the socket of a server that died to the garbage collector
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_is_killed_and_comes_back_and_all_goes_on(tenant: Tenant, cluster: NatsCluster) -> None:
    """The one that leads the app's stream. With two of three an app connects and publishes, and the worker relays; the
    third has everything again when it is back, so that another may go."""
    _, keys = await tenant.onboard()
    app = App(cluster.url, keys["prod"])
    await works(tenant, app)
    for _ in range(2):
        leader = (await state(tenant, f"EV_{tenant.id}_prod")).leader
        (server,) = [each for each in cluster.servers if each.folder.name == leader]
        server.kill()
        await works(tenant, app)
        await server.start()
        await wait_until(lambda: has_three_copies(tenant), 20)
    await works(tenant, app)
    info = await tenant.services.bus.jetstream().stream_info(f"EV_{tenant.id}_prod")
    assert info.state.messages == app.sent
    await app.close()


async def state(tenant: Tenant, stream: str) -> ClusterInfo:
    found = (await tenant.services.bus.jetstream().stream_info(stream)).cluster
    assert found is not None
    return found


async def has_three_copies(tenant: Tenant) -> bool:
    """Whether each stream is on all servers, up to its end."""
    for name in ("LIFECYCLE", f"EV_{tenant.id}_prod"):
        try:
            others = (await state(tenant, name)).replicas or ()
        except nats.errors.Error:  # while a leader is elected
            return False
        if len([each for each in others if each.current and not each.offline]) != 2:
            return False
    return True
