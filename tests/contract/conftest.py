"""One running system for all tests of the contract: API, worker, Postgres, NATS. A test has workspaces of its own. What
reads texts is tested without any of it."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
import structlog

from conftest import free_port, make_settings, new_database, settings_of_worker
from keyfold.cli.embedded import Nats, Postgres
from keyfold.settings import Settings
from keyfold.store import appender, grouped, lists, postgres, tail, usage
from keyfold.web.services import Services
from keyfold.worker.worker import Worker

from .tenant import Clock, Tenant, make_tenant, running, working


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


class System(NamedTuple):
    settings: Settings
    clock: Clock
    services: Services
    api: httpx.AsyncClient
    worker: Worker


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def system(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    nats = Nats(tmp_path_factory.mktemp("contract") / "nats", free_port(), durable=False)
    await nats.start()
    settings, clock = make_settings(await new_database(postgres_server), nats), Clock()
    patient = pytest.MonkeyPatch()
    for each in (postgres, appender, grouped, lists, tail, usage):
        patient.setattr(each, "PATIENCE", 10.0)  # that the machine is busy is no outage
    try:
        async with (
            working(settings_of_worker(settings, nats)) as worker,
            running(settings, clock) as (services, api),
        ):
            yield System(settings, clock, services, api, worker)
    finally:
        patient.undo()
        await nats.stop()


@pytest.fixture
def clock(system: System) -> Iterator[Clock]:
    """The clock of the API. It runs again after the test."""
    yield system.clock
    system.clock.run()


@pytest.fixture
def services(system: System) -> Services:
    return system.services


@pytest_asyncio.fixture(loop_scope="package")
async def api(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client without any key and any cookie."""
    yield system.api
    system.api.cookies.clear()


@pytest_asyncio.fixture(loop_scope="package")
async def workspace(api: httpx.AsyncClient, services: Services) -> Tenant:
    return await make_tenant(api, services)


@pytest_asyncio.fixture(loop_scope="package")
async def neighbour(api: httpx.AsyncClient, services: Services) -> Tenant:
    """Another workspace on the same system."""
    return await make_tenant(api, services, "Umbrella")


@pytest_asyncio.fixture(loop_scope="package")
async def other_process(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a second API process on the same Postgres and NATS."""
    async with running(system.settings, system.clock) as (_, api):
        yield api


@pytest.fixture(autouse=True)
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the process logs, which is nothing that a test's own output should show."""
    with structlog.testing.capture_logs() as entries:
        yield entries
