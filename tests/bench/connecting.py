"""What a connected key costs: processor time where it is let in, and memory where it stays. And what an event costs in
the stream of all events, which nothing is ever taken from."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import asyncpg
import nats
import psutil

from keyfold.bus.subjects import LIFECYCLE

from .measure import Outcome
from .peers import APPS, Peer
from .profiling import show
from .stage import BenchError, Stage
from .system import ServiceKey, running

ROWS = ("connect-first", "connect-again", "connect-rate", "connect-memory", "lifecycle-size")
_CLIENTS = 4
_BEFORE = 12
"""Keys that connect before anything is measured: what is made once is made then."""
_PATIENCE = 60
"""Seconds in which the stream has every event."""
_LOG = "SELECT max(position), sum(octet_length(record::text)) FROM keyfold.log"


class Cost:
    """What two processes have used since it was made."""

    def __init__(self, *processes: int) -> None:
        self._processes = [psutil.Process(each) for each in processes]
        self._used, self._at = self._busy(), time.perf_counter()

    def milliseconds(self, many: int) -> list[float]:
        """Of a processor, by process, for each of so many."""
        return [1000 * (now - then) / many for now, then in zip(self._busy(), self._used, strict=True)]

    def rate(self, many: int) -> float:
        return many / (time.perf_counter() - self._at)

    def _busy(self) -> list[float]:
        return [each.cpu_times().user + each.cpu_times().system for each in self._processes]


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The rows, as far as they are wanted, on a NATS of their own."""
    if not stage.options.wants(*ROWS):
        return
    await stage.renew_nats()
    database = await stage.database("connections")
    async with stage.serving("worker", stage.settings(database, role="worker")):
        async with running(stage.settings(database)) as system:  # ends before the rest: it would let keys in as well
            keys = await system.keys(_BEFORE + (300 if stage.options.quick else 1_200))
        for outcome in [*await _connections(stage, database, keys), await _lifecycle(stage, database)]:
            if stage.options.wants(outcome.row):
                yield outcome


async def _connections(stage: Stage, database: str, keys: Sequence[ServiceKey]) -> list[Outcome]:
    """All of them stay connected. They come back as another connection each, which finds the account loaded."""
    server = stage.nats.process
    if server is None:
        raise BenchError("NATS is not running")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.serving("api", stage.settings(database)))
        api = stage.pid("api")
        clients = [await stack.enter_async_context(Peer(APPS).started(stage)) for _ in range(_CLIENTS)]
        await _join(stage, clients, keys[:_BEFORE], "first")
        small, some = psutil.Process(server.pid).memory_info().rss, keys[_BEFORE:]
        cost = Cost(api, server.pid)
        await _join(stage, clients, some, "first")
        first, large = cost.milliseconds(len(some)), psutil.Process(server.pid).memory_info().rss
        cost = Cost(api, server.pid)
        await _join(stage, clients, some, "again")
        again, rate = cost.milliseconds(len(some)), cost.rate(len(some))
    if stage.options.profile:
        show("api", stage.folder / "api.profile")
    return [
        Outcome(row="connect-first", unit="ms", ours=first[:1], theirs=first[1:]),
        Outcome(row="connect-again", unit="ms", ours=again[:1], theirs=again[1:]),
        Outcome(row="connect-rate", ours=[rate]),
        Outcome(row="connect-memory", unit="KB", ours=[(large - small) / 1000 / len(some)]),
    ]


async def _join(stage: Stage, clients: Sequence[Peer], keys: Sequence[ServiceKey], how: str) -> None:
    async def one_by_one(client: Peer, its: Sequence[ServiceKey]) -> None:
        for key in its:
            await client.ask(do="join", name=f"{key.id} {how}", url=stage.nats.url, login={"token": key.secret})

    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(one_by_one(client, keys[number :: len(clients)]))


async def _lifecycle(stage: Stage, database: str) -> Outcome:
    """Once the stream has all that is in the log."""
    credentials = str(stage.nats.credentials("worker"))
    connection = await asyncpg.connect(stage.postgres.url("postgres", database))
    try:
        head, size = await connection.fetchrow(_LOG)
    finally:
        await connection.close()
    async with await nats.connect(stage.nats.url, user_credentials=credentials) as client:
        try:
            async with asyncio.timeout(_PATIENCE):
                while (state := (await client.jetstream().stream_info(LIFECYCLE)).state).last_seq < head:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise BenchError(f"the stream has {state.last_seq} of {head} events") from None
    return Outcome(
        row="lifecycle-size", unit="KB", ours=[state.bytes / 1000 / state.messages], theirs=[size / 1000 / head]
    )
