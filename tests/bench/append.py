"""Append and read all: against bare INSERTs by pgbench, and against two event stores of others."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg

from keyfold.cli.embedded.binaries import postgres_account, postgres_binaries
from keyfold.domain.aggregates import read_event
from keyfold.domain.record import Event, read_record
from keyfold.store.journal import read_log

from .measure import Outcome, Side, compared
from .peers import Peer, event_store
from .profiling import profile
from .stage import BenchError, Stage, output
from .system import System, rate, running

BATCH = 5_000
"""Events that a read of all takes at a time, on every side."""


def _decoded(text: str) -> Event:
    return read_event(read_record(text))


_STORES: dict[str, Callable[[str], object]] = {"eventsourcing": read_record, "emmett": _decoded}
"""Those of others, and how far we decode what is compared with them: what the first gives is undecoded, what the second
gives is decoded."""
_SIZE = "SELECT avg(octet_length(record::text))::integer FROM keyfold.log WHERE position <= $1"
_BARE = """
CREATE SCHEMA bare;
CREATE TABLE bare.log (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream   text NOT NULL,
    version  integer NOT NULL,
    record   json NOT NULL,
    UNIQUE (stream, version)
)
"""
# each client goes up its own streams, as ids made of times do, and each has the length of such an id
_INSERT = """
\\set n :n + 1
INSERT INTO bare.log (stream, version, record)
VALUES ('int_' || lpad(:round || 'r' || :client_id || 'c' || :n, 26, '0'), 1, :record);
"""


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted."""
    if stage.options.wants("append-1", "append-32", *(f"append-{name}" for name in _STORES)):
        async for outcome in _append(stage):
            yield outcome
    if stage.options.wants(*(f"read-{name}" for name in _STORES)):
        async for outcome in _read_all(stage):
            yield outcome


async def _append(stage: Stage) -> AsyncIterator[Outcome]:
    database = await stage.database("append")
    async with running(stage.settings(database)) as system, AsyncExitStack() as stack:
        bare = await Bare.prepare(stage, system, database)
        if stage.options.wants("append-1"):
            yield await _one_writer(stage, system, bare)
        peers, skipped = await _event_stores(stage, stack, "append", bare.size)
        for outcome in skipped:
            yield outcome
        async for outcome in _many_writers(stage, system, bare, peers):
            yield outcome


async def _event_stores(
    stage: Stage, stack: AsyncExitStack, what: str, size: int
) -> tuple[dict[str, Peer], list[Outcome]]:
    """Those that are wanted and installed, and the rows of those that aren't."""
    peers: dict[str, Peer] = {}
    skipped = []
    for name in _STORES:
        if stage.options.wants(row := f"{what}-{name}"):
            try:
                peers[name] = await stack.enter_async_context(event_store(stage, name, size, what=what))
            except BenchError as error:
                skipped.append(Outcome(row=row, skipped=str(error)))
    return peers, skipped


class Bare:
    """Bare INSERTs of a record of ours by pgbench, into a table with the log's columns and constraints."""

    def __init__(self, program: Path, url: str, record: str) -> None:
        self._command = [str(program), "--no-vacuum", "-M", "prepared", "-D", f"record={record}", "-D", "n=0"]
        self._url = url
        self._round = 0
        self.size = len(record.encode())

    @classmethod
    async def prepare(cls, stage: Stage, system: System, database: str) -> "Bare":
        url = stage.postgres.url("postgres", database)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_BARE)
            position = (await system.create()).position
            record = await connection.fetchval("SELECT record FROM keyfold.log WHERE position = $1", position)
        finally:
            await connection.close()
        (stage.folder / "insert.sql").write_text(_INSERT)
        program = postgres_binaries(postgres_account(stage.postgres.folder)) / "pgbench"
        bare = cls(program, url, record)
        bare._command += ["-f", str(stage.folder / "insert.sql")]
        return bare

    async def rate(self, clients: int, seconds: int) -> float:
        """INSERTs a second, not counting the time to connect."""
        self._round += 1
        numbers = {"-c": clients, "-j": min(2, clients), "-T": seconds, "-D": f"round={self._round}"}
        arguments = [str(each) for pair in numbers.items() for each in pair]
        printed = await output([*self._command, *arguments, self._url])
        for line in printed.splitlines():
            if line.startswith("tps = "):
                return float(line.split()[2])
        raise BenchError(f"pgbench said nothing of its tps:\n{printed}")


async def _one_writer(stage: Stage, system: System, bare: Bare) -> Outcome:
    seconds = stage.options.seconds
    sides: dict[str, Side] = {
        "keyfold": partial(rate, system.create, writers=1, seconds=seconds),
        "pgbench": partial(bare.rate, 1, seconds),
    }
    figures = await stage.interleaved(sides)
    if stage.options.profile:
        await profile("append-1", sides["keyfold"])
    return compared("append-1", figures["keyfold"], figures["pgbench"])


async def _many_writers(stage: Stage, system: System, bare: Bare, peers: dict[str, Peer]) -> AsyncIterator[Outcome]:
    """All sides in the same rounds: one figure of ours for every row."""
    seconds = stage.options.seconds
    sides: dict[str, Side] = {"keyfold": partial(rate, system.create, writers=32, seconds=seconds)}
    if stage.options.wants("append-32"):
        sides["pgbench"] = partial(bare.rate, 32, seconds)
    for name, peer in peers.items():
        sides[name] = partial(peer.rate, do="append", writers=32, seconds=seconds)
    if len(sides) == 1:
        return
    figures = await stage.interleaved(sides)
    ours = figures.pop("keyfold")
    for name, theirs in figures.items():
        yield compared("append-32" if name == "pgbench" else f"append-{name}", ours, theirs)
    if stage.options.profile:
        await profile("append-32", sides["keyfold"])


async def _read_all(stage: Stage) -> AsyncIterator[Outcome]:
    """Of partners' lives, in databases that nothing else has been written to: events of the peers have as many bytes
    as our records have on average."""
    events = 20_000 if stage.options.quick else 50_000
    database = await stage.database("read")
    async with running(stage.settings(database)) as system, AsyncExitStack() as stack:
        await system.fill(events)
        size = await system.services.postgres.fetchval(_SIZE, events)
        peers, skipped = await _event_stores(stage, stack, "read", size)
        for outcome in skipped:
            yield outcome
        if not peers:
            return
        sides: dict[str, Side] = {}
        for name, peer in peers.items():
            await peer.rate(do="fill", events=events)
            sides[f"against {name}"] = partial(_read, system, events, decode=_STORES[name])
            sides[name] = partial(peer.rate, do="read", events=events, batch=BATCH)
        figures = await stage.interleaved(sides)
        for name in peers:
            yield compared(f"read-{name}", figures[f"against {name}"], figures[name])
        if stage.options.profile:
            await profile("read all", sides[f"against {[*peers][-1]}"])


async def _read(system: System, events: int, decode: Callable[[str], object]) -> float:
    """Events a second."""
    started, done = time.perf_counter(), 0
    async for batch in read_log(system.services.postgres, 0, events, batch=BATCH):
        for row in batch:
            decode(row.record)
        done += len(batch)
    return done / (time.perf_counter() - started)
