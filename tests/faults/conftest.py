"""A system of real processes, and how long to torment it: `pytest tests/faults --rounds 100`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import Database
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server
from keyfold.settings import Settings

from .system import System, running_system, system_on


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=None, help="how often each is done, in tests that can do it more often"
    )
    parser.addoption("--seed", type=int, default=None, help="of the first round of a random history")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The same unless asked for another, so that a failure is the code's doing."""
    return int(request.config.getoption("seed", default=None) or 1)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """Few, unless asked: the option is only known when this folder is named."""
    return int(request.config.getoption("rounds", default=None) or 4)


@pytest.fixture
async def system(
    settings: Settings, worker_settings: Settings, nats_server: Nats, database: Database, tmp_path: Path
) -> AsyncIterator[System]:
    """One API and one worker, on a Postgres that nobody harms."""
    async with running_system(settings, worker_settings, nats_server, database, tmp_path) as this:
        yield this


@pytest.fixture
async def mortal_system(nats_server: Nats, tmp_path: Path) -> AsyncIterator[System]:
    """The same on a Postgres of its own, to stop and kill: a durable one, which keeps what it has committed."""
    async with system_on(Server(tmp_path / "postgres"), nats_server, tmp_path) as this:
        yield this
