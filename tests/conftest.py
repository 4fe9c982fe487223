"""Real Postgres and real NATS for every test that asks, with nothing installed by hand and no data shared."""

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import asyncpg
import hypothesis
import msgspec
import pytest

from keyfold.audit.signing import Signer
from keyfold.cli.embedded import Nats, Postgres
from keyfold.cli.embedded.nats import free_port as _free_port
from keyfold.settings import Secret, Settings

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of the processes that tests start would compile all of it
PEPPERS = {1: Secret(secrets.token_bytes(32))}
"""Of every system that the tests start."""
LOG_KEY = Signer("localhost/tests", bytes(32)).secret_key().encode()
_TEMPLATE = "keyfold_template"
_numbers = count(1)
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = count(10_000 + 5_000 * (_worker % 4) + os.getpid() % 3_000)


def free_port() -> int:
    """Of those that the system gives to no connection, and no other worker to a server: the one that asks for it may
    be a second away from using it, and whoever had it meanwhile would be taken for it."""
    return next(port for port in _ports if _free_port(port) == port)


class Database(NamedTuple):
    """A database of one test: empty, with the schema."""

    server: Postgres
    name: str

    @property
    def admin_url(self) -> str:
        return self.server.url("postgres", self.name)

    @property
    def api_url(self) -> str:
        return self.server.url("keyfold_api", self.name)

    @property
    def worker_url(self) -> str:
        return self.server.url("keyfold_worker", self.name)


def pytest_configure() -> None:
    """How long it takes to make an example says something of the machine alone."""
    hypothesis.settings.register_profile("here", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
    hypothesis.settings.load_profile("here")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: most tests wait for servers most of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests that are marked `long`, wherever they are")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _leaves_long_ones_out(config):
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def _leaves_long_ones_out(config: pytest.Config) -> bool:
    """Whoever names a folder or a file of them gets all that is in it."""
    named = {Path(name.partition("::")[0]).resolve() for name in config.args}
    return not config.getoption("long") and named == {Path(__file__).parent}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What tests have measured, which they never judge by."""
    if _leaves_long_ones_out(config):
        terminalreporter.write_line("The long tests, of crashes and outages again and again, are left out: see --long")
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(f"measured: {said}")


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A cluster of its own, for a test that stops or kills it. pytest's folders can be too long for its socket."""
    folder = Path(tempfile.mkdtemp(prefix="keyfold-", dir=_in_memory()))
    server = Postgres(folder / "postgres", durable=False)
    try:
        asyncio.run(server.start())
        yield server
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(folder)


def _in_memory() -> str | None:
    """Where no disk makes anybody wait, if there is room: a disk that others use stalls for seconds."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() and shutil.disk_usage(folder).free > 4 * 2**30 else None


def prepare(server: Postgres) -> Postgres:
    """Gives a cluster the template from which `new_database` copies."""
    from keyfold.store.migrate import migrate  # noqa: PLC0415 - unit tests need none of it

    asyncio.run(_execute(server, f"CREATE DATABASE {_TEMPLATE}"))
    asyncio.run(migrate(server.url("postgres", _TEMPLATE), {}))
    return server


async def new_database(server: Postgres) -> Database:
    """A fresh copy of the template, in about 50 ms: a copy of its files instead would take two checkpoints."""
    name = f"test_{next(_numbers)}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY wal_log")
    return Database(server, name)


async def _execute(server: Postgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url("postgres", "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The cluster that all tests share. A test that harms its server takes `own_postgres_server`."""
    with running_postgres() as server:
        yield prepare(server)


@pytest.fixture
def own_postgres_server() -> Iterator[Postgres]:
    """A cluster of the test's own, to stop, kill and start again."""
    with running_postgres() as server:
        yield prepare(server)


@pytest.fixture
async def database(postgres_server: Postgres) -> AsyncIterator[Database]:
    """An empty database with the schema, gone after the test whoever is still connected."""
    this = await new_database(postgres_server)
    yield this
    await _execute(postgres_server, f"DROP DATABASE {this.name} WITH (FORCE)")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[Nats]:
    """A NATS of the test's own, to stop, wipe and start again on the same port."""
    server = Nats(tmp_path / "nats", free_port(), durable=False)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def settings(database: Database, nats_server: Nats) -> Settings:
    """As `keyfold api` would read them."""
    return make_settings(database, nats_server)


@pytest.fixture
def worker_settings(settings: Settings, nats_server: Nats) -> Settings:
    """As `keyfold worker` would read them, for the same system."""
    return settings_of_worker(settings, nats_server)


class AnyNats(Protocol):
    """One server, or a cluster."""

    @property
    def url(self) -> str: ...
    @property
    def keys(self) -> str: ...
    def credentials(self, name: str) -> Path: ...


def make_settings(database: Database, nats_server: AnyNats, *, nats_replicas: int = 1) -> Settings:
    """Settings of an API on this database and this NATS."""
    return Settings(
        database_url=database.api_url,
        worker_database_url=database.worker_url,
        admin_database_url=database.admin_url,
        peppers=PEPPERS,
        nats_url=nats_server.url,
        nats_keys=Secret(nats_server.keys.encode()),
        nats_replicas=nats_replicas,
        public_nats_url=nats_server.url,
        log_keys=Secret(LOG_KEY),
    )


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the variables that a process reads."""
    given = msgspec.structs.asdict(settings)
    peppers = {version: base64.b64encode(pepper.reveal).decode() for version, pepper in settings.peppers.items()}
    given["peppers"] = ",".join(f"{version}:{pepper}" for version, pepper in peppers.items())
    for name in ("nats_keys", "log_keys"):
        given[name] = given[name] and given[name].reveal.decode()
    return {f"KEYFOLD_{name.upper()}": str(value) for name, value in given.items() if value is not None}


def settings_of_worker(settings: Settings, nats_server: AnyNats) -> Settings:
    """The same system, as the worker logs in."""
    return msgspec.structs.replace(
        settings,
        database_url=settings.worker_database_url,
        nats_keys=None,
        nats_credentials=str(nats_server.credentials("worker")),
    )
