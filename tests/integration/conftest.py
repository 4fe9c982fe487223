"""The application on a real store, with nothing else running unless a test asks."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client

from conftest import Database, free_port, make_settings, new_database
from keyfold.bus.connection import Bus
from keyfold.bus.topology import core_login
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server
from keyfold.settings import Settings
from keyfold.store import postgres as store
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.web.services import Services
from keyfold.worker.worker import Worker

from .client_support import House, Town, built
from .partner import Connect, connected
from .support import SEALING, Life, wait_until, working


@pytest.fixture
async def postgres(database: Database) -> AsyncIterator[Postgres]:
    """The pool of an API process."""
    this = Postgres(database.api_url, name="tests")
    await this.open()
    yield this
    await this.close()


@pytest.fixture
async def journal(postgres: Postgres) -> AsyncIterator[PostgresJournal]:
    this = PostgresJournal(postgres, SEALING)
    yield this
    await this.close()


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """An API process below HTTP, whose bus is not started: nothing wakes the worker but its own polling."""
    this = Services(settings)
    await this.postgres.open()
    yield this
    await this.close()


@pytest.fixture
async def life(services: Services) -> Life:
    return await Life(services).begin()


@pytest.fixture
async def bus(worker_settings: Settings) -> AsyncIterator[Bus]:
    """A connection as the worker has it."""
    this = Bus(worker_settings.nats_url, login=core_login(worker_settings))
    await this.start()
    await wait_until(lambda: this.is_connected)
    yield this
    await this.stop()


@pytest.fixture
async def worker_postgres(worker_settings: Settings) -> AsyncIterator[Postgres]:
    """The pool of a worker process."""
    this = Postgres(worker_settings.database_url, name="tests", schema="projections")
    await this.open()
    yield this
    await this.close()


@pytest.fixture
async def worker(worker_settings: Settings) -> AsyncIterator[Worker]:
    """A running worker: relay and projections."""
    this = Worker(worker_settings)
    async with working(this):
        yield this


@pytest.fixture
async def connect(settings: Settings) -> AsyncIterator[Connect]:
    """Connects partners' clients, which are closed after the test."""
    clients: list[Client] = []

    async def connect(key: str, **options: Any) -> Client:
        clients.append(await connected(settings.nats_url, key, **options))
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """For files of many tests that ask for no more than a workspace of their own: a start costs more than they do."""
    nats = Nats(tmp_path_factory.mktemp("town") / "nats", free_port(), durable=False)
    await nats.start()
    patient = pytest.MonkeyPatch()
    patient.setattr(store, "PATIENCE", 10.0)  # that the machine is busy is no outage
    try:
        async with built(make_settings(await new_database(postgres_server), nats), nats) as this:
            yield this
    finally:
        patient.undo()
        await nats.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def keyfold(town: Town) -> House:
    return await town.house()
