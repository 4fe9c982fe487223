"""Hearing under faults: whoever is paused, killed or cut off, what moved a lease ago is told or not relied on."""

import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from conftest import Database, make_settings, new_database
from integration.support import append, connected, entry, new_id, wait_until
from keyfold.bus.hearing import EVERY, LEASE, Hearing
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.web.services import Services

from .system import environment

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyfold_api' AND datname = $1"
HEARER = Path(__file__).with_name("hearer.py")


class Process:
    """The services of a process, and when it was told of which stream."""

    def __init__(self, settings: Settings) -> None:
        self.services = Services(settings)
        self.services.hearing = Hearing(self.services.bus, self.services.tail, on_moved=self._on_moved)
        self.told: dict[str, float] = {}

    @property
    def is_current(self) -> bool:
        return self.services.hearing.is_current

    async def append(self) -> str:
        stream = new_id("key")
        await append(self.services.journal, entry(stream, 1))
        return stream

    def _on_moved(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self.told.setdefault(stream, time.monotonic())


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Process]:
    this = Process(settings)
    await this.services.open()
    work = asyncio.create_task(this.services.run())
    await wait_until(lambda: this.is_current)
    try:
        yield this
    finally:
        ended = work.done()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await this.services.close()
    assert not ended


async def seconds_until_lost(process: Process) -> float:
    began = time.monotonic()
    await wait_until(lambda: not process.is_current, every=0.005)
    return time.monotonic() - began


def send(server: Nats | Server, number: signal.Signals) -> None:
    """To the server and all that belongs to it, as on a machine that hangs."""
    assert server.process is not None
    top = psutil.Process(server.process.pid)
    for each in (top, *top.children(recursive=True)):
        each.send_signal(number)


@asynccontextmanager
async def paused(server: Nats | Server) -> AsyncIterator[None]:
    send(server, signal.SIGSTOP)
    try:
        yield
    finally:
        send(server, signal.SIGCONT)


@pytest.mark.long
async def test_a_nats_that_hangs_is_noticed_by_its_silence(
    settings: Settings, nats_server: Nats, record_property: Callable[[str, object], None]
) -> None:
    """The connection stays open all the while. What moves meanwhile is told, and memory used again afterwards."""
    async with running(settings) as one, running(settings) as other:
        async with paused(nats_server):
            record_property("measured", f"a NATS that hangs is noticed after {await seconds_until_lost(other):.2f} s")
            assert other.services.bus.is_connected
            meanwhile = [await one.append() for _ in range(5)]
            await wait_until(lambda: {*meanwhile} <= {*other.told})
            assert not other.is_current
        await wait_until(lambda: other.is_current)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
async def test_a_postgres_that_is_away_ends_the_lease(
    own_postgres_server: Server, nats_server: Nats, how: str, record_property: Callable[[str, object], None]
) -> None:
    settings = make_settings(await new_database(own_postgres_server), nats_server)
    async with running(settings) as one, running(settings) as other:
        if how == "SIGKILL":
            own_postgres_server.kill()
            seconds = await seconds_until_lost(other)
            await own_postgres_server.start()
        else:
            async with paused(own_postgres_server):
                seconds = await seconds_until_lost(other)
        record_property("measured", f"{how}: the lease ends {seconds:.2f} s after Postgres went")
        await wait_until(lambda: other.is_current)
        stream = await appended(one)
        await wait_until(lambda: stream in other.told)


async def appended(process: Process) -> str:
    """An append that may need to be repeated, with another stream each time."""
    while True:
        try:
            return await process.append()
        except Unavailable:
            await asyncio.sleep(0.05)


async def torment(dice: random.Random, nats_server: Nats, database: Database) -> None:
    """NATS hangs or is killed, everybody's connections to Postgres are cut, or this loop itself stalls."""
    what = dice.choice(["hang", "kill", "cut", "stall"])
    if what == "hang":
        async with paused(nats_server):
            await asyncio.sleep(dice.uniform(0, 1))
    elif what == "kill":
        nats_server.kill()
        await asyncio.sleep(dice.uniform(0, 0.3))
        await nats_server.start()
    elif what == "cut":
        async with connected(database.admin_url) as connection:
            await connection.fetch(KILL, database.name)
    else:
        time.sleep(dice.uniform(0, 1))
    await asyncio.sleep(dice.uniform(0, 0.5))


class Witness:
    """Appends in one process, and looks all the time whether another relies on what it can't know."""

    def __init__(self, writer: Process, hearer: Process) -> None:
        self.answered: dict[str, float] = {}
        self.looks = 0
        self._writer = writer
        self._hearer = hearer

    async def write(self) -> None:
        while True:
            stream = await appended(self._writer)
            self.answered[stream] = time.monotonic()
            await asyncio.sleep(0.002)

    async def look(self) -> None:
        while True:
            now = time.monotonic()
            if self._hearer.is_current:
                self.looks += 1
                assert not [each for each in self.untold() if self.answered[each] < now - LEASE]
            await asyncio.sleep(0.001)

    def untold(self) -> set[str]:
        return self.answered.keys() - self._hearer.told.keys()


async def test_what_moved_more_than_a_lease_ago_is_told_or_memory_is_not_used(
    settings: Settings, nats_server: Nats, database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    async with running(settings) as one, running(settings) as other:
        witness = Witness(one, other)
        going_on = [asyncio.create_task(witness.write()), asyncio.create_task(witness.look())]
        for _ in range(8):
            await torment(dice, nats_server, database)
        await wait_until(lambda: other.is_current)
        for each in going_on:
            assert not each.done(), each
            each.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)
        await wait_until(lambda: not witness.untold())
    assert witness.looks > 100
    assert len(witness.answered) > 100


async def delays(settings: Settings, appends: int) -> list[float]:
    """Seconds from an append's answer here until another OS process is told, ascending; negative when it knew first."""
    variables = os.environ | environment(settings, 0)
    hearer = await asyncio.create_subprocess_exec(
        sys.executable, HEARER, env=variables, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert hearer.stdin
    assert hearer.stdout
    assert await hearer.stdout.readline() == b"current\n"
    answered: dict[str, float] = {}
    told: dict[str, float] = {}
    async with running(settings) as process:
        for _ in range(appends):
            stream = await process.append()
            answered[stream] = time.monotonic()
            while stream not in told:  # the tail tells some of them again
                name, at = (await hearer.stdout.readline()).decode().split()
                told.setdefault(name, float(at))
    hearer.stdin.close()
    while await hearer.stdout.readline():
        pass
    assert await hearer.wait() == 0
    return sorted(told[stream] - at for stream, at in answered.items())


async def test_another_process_is_told(settings: Settings, record_property: Callable[[str, object], None]) -> None:
    async with asyncio.timeout(60):
        middle = statistics.median(await delays(settings, 200))
    record_property("measured", f"another process is told {middle * 1000:.1f} ms after an append")
    assert middle < EVERY / 2, "that was the tail"
