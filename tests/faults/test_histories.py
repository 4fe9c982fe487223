"""Everything at once: clients of every kind, and faults as the dice have it. Then the history is checked against what
there is. A round that went wrong is repeated with its seed: `pytest tests/faults/test_histories.py --seed 7`."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from conftest import Database
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server
from keyfold.settings import Settings

from .apps import Taker
from .breaking import Breaking, a_while, of_clock, of_disk, of_link, of_postgres, of_processes
from .proxy import proxying
from .rounds import consumers, recorded
from .shims import failing_sync, stepped_clock
from .system import Process, System, running_system, started, system_on

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
async def signing(
    settings: Settings, worker_settings: Settings, nats_server: Nats, database: Database, tmp_path: Path
) -> AsyncIterator[System]:
    """A system that signs every second."""
    of_worker = msgspec.structs.replace(worker_settings, checkpoint_seconds=1)
    async with running_system(settings, of_worker, nats_server, database, tmp_path) as this:
        yield this


async def assert_right(
    system: System, apis: list[Process], breaking: Mapping[str, Breaking], takers: list[Taker], seed: int, folder: Path
) -> str:
    """Of a round with this seed: nothing breaks again in the rounds of the next seeds before everything else did. Says
    what happened in it."""
    dice, many = random.Random(seed), 2 * len(apis)
    order = random.Random(len(breaking)).sample([*breaking], len(breaking))
    dealt = [order[(seed * many + n) % len(order)] for n in range(many)]
    async with recorded(system, apis, str(seed), takers, folder) as this:
        for what in dice.sample(dealt, many):
            await a_while(dice)
            async with this.amid(what), breaking[what]():
                await a_while(dice)
    return str(this)


async def test_a_short_history_amid_faults_goes_with_the_log_the_streams_and_the_tree(
    signing: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    breaking = of_processes(signing)
    async with consumers(signing) as takers:
        said = await assert_right(signing, [signing.api], breaking, takers, 1, tmp_path)
    record_property("measured", said)


class Frail(NamedTuple):
    """A system of which everything breaks: two workers, two APIs, one of them behind a network that does and by a clock
    that is stepped, and a Postgres on a disk that fails."""

    system: System
    other: Process
    breaking: Mapping[str, Breaking]


@pytest.fixture
async def frail(nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Frail]:
    with failing_sync() as disk, stepped_clock() as clock, disk.around(monkeypatch):
        async with (
            system_on(Server(tmp_path / "postgres"), nats_server, tmp_path) as system,
            proxying(system.nats.port) as proxy,
        ):
            with clock.around(monkeypatch):
                other = Process("api", msgspec.structs.replace(system.settings, nats_url=proxy.url), tmp_path)
            async with started(other), AsyncExitStack() as stack:
                standby = system.worker.twin()
                standby.start()
                stack.callback(standby.close)
                breaking = of_processes(system, other, standby) | of_link(proxy) | of_clock(clock)
                yield Frail(system, other, breaking | of_postgres(system) | of_disk(system, disk))


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_whatever_breaks_in_whichever_order_the_history_goes_with_what_there_is(
    frail: Frail,
    rounds: int,
    seed: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    apis = [frail.system.api, frail.other]
    async with consumers(frail.system, native=True) as takers:
        for number in range(seed, seed + max(1, rounds // 2)):
            async with asyncio.timeout(120):
                said = await assert_right(frail.system, apis, frail.breaking, takers, number, tmp_path)
            record_property("measured", said)
