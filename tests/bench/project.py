"""Projections: how fast they are rebuilt, and how soon they show what was appended."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import msgspec

from keyfold.app.sealing import Sealing
from keyfold.domain.aggregates import read_event
from keyfold.store.data_keys import Opener
from keyfold.store.journal import read_log
from keyfold.store.postgres import Postgres
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.projection import read_positioned
from keyfold.store.projections.rebuild import BATCH, rebuild

from .measure import Outcome, Side, compared, percentile
from .profiling import profile, show
from .stage import BenchError, Stage
from .system import System, running

REBUILDS = {f"rebuild-{name}": name for name in PROJECTIONS}
RATE = 500
"""Events a second, of one command each, while the delay is measured."""

_CURSORS = "SELECT min(position) FROM projections.cursors"


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted."""
    if stage.options.wants(*REBUILDS):
        async for outcome in _rebuilds(stage):
            yield outcome
    if stage.options.wants("visible"):
        yield await _visible(stage)


async def _rebuilds(stage: Stage) -> AsyncIterator[Outcome]:
    """Each projection in the same rounds as the limit."""
    database = await stage.database("rebuilds")
    async with running(stage.settings(database)) as system:
        events = await system.fill(30_000 if stage.options.quick else 100_000)
    url = stage.postgres.url("keyfold_worker", database)
    opener = Opener(Sealing(stage.settings(database).peppers, os.urandom))
    sides: dict[str, Side] = {"limit": partial(_read_and_decode, url, events)}
    wanted = [name for row, name in REBUILDS.items() if stage.options.wants(row)]
    sides |= {name: partial(_rebuild, url, opener, name, events) for name in wanted}
    figures = await stage.interleaved(sides)
    for row, name in REBUILDS.items():
        if name in figures:
            yield compared(row, figures[name], figures["limit"])
    if stage.options.profile:
        for name, side in sides.items():
            await profile(f"rebuild {name}", side)


async def _read_and_decode(url: str, events: int) -> float:
    """Events a second, read in a rebuild's own batches, decoded as far as a projection does."""
    postgres = Postgres(url, name="bench")
    await postgres.open()
    try:
        started = time.perf_counter()
        async for batch in read_log(postgres, 0, events, batch=BATCH):
            for row in batch:
                read_event(read_positioned(row.position, row.record).record)
        return events / (time.perf_counter() - started)
    finally:
        await postgres.close()


async def _rebuild(url: str, opener: Opener, name: str, events: int) -> float:
    """Events a second, from the first to the swap."""
    started = time.perf_counter()
    built = await rebuild(url, PROJECTIONS[name], opener, lambda done, of: None)
    if built != events:
        raise BenchError(f"the rebuild of {name} ended at {built} of {events}")
    return events / (time.perf_counter() - started)


async def _visible(stage: Stage) -> Outcome:
    await stage.renew_nats()
    database = await stage.database("visible")
    settings = stage.settings(database, role="worker")
    async with running(stage.settings(database)) as system, stage.serving("worker", settings):
        watch = Watch(stage.postgres.url("postgres", database))
        await watch.until(await system.services.journal.head())
        delays = await _delays(system, watch, 3 if stage.options.quick else 20)
    if stage.options.profile:
        show("worker", stage.folder / "worker.profile")
    delays = [each * 1000 for each in delays]
    figures = {"p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99)}
    return Outcome(row="visible", unit="ms", ours=delays, figures=msgspec.convert(figures, dict))


class Watch:
    """Looks at the cursors about every millisecond; what it says can be that much too late, never too early."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last = 0
        self.seen: dict[int, float] = {}

    async def until(self, position: int) -> None:
        """Notes when each position was first seen in every projection, up to this one."""
        connection = await asyncpg.connect(self._url)
        try:
            async with asyncio.timeout(60):
                while self._last < position:
                    cursor, now = await connection.fetchval(_CURSORS), time.perf_counter()
                    self.seen |= dict.fromkeys(range(self._last + 1, cursor + 1), now)
                    self._last = cursor
                    await asyncio.sleep(0.001)
        finally:
            await connection.close()


async def _delays(system: System, watch: Watch, seconds: int) -> list[float]:
    """From the answer to the append until it is visible, in seconds, for each event at a steady rate."""
    answered: dict[int, float] = {}

    async def append() -> None:
        position = (await system.create()).position
        answered[position] = time.perf_counter()

    head, started = await system.services.journal.head(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.until(head + RATE * seconds))
        for number in range(RATE * seconds):
            await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
            group.create_task(append())
    # seen before the answer came is no delay at all
    return [max(0.0, watch.seen[position] - at) for position, at in answered.items()]
