"""Revocation on live connections: how long those of a dead key stay, one at a time and a thousand at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import msgspec
import nats

from .client import Client, connected
from .measure import Outcome, percentile
from .peers import APPS, Peer
from .profiling import show
from .stage import BenchError, Stage
from .system import ServiceKey, System

LIVE = 1_000
"""Connections of one key."""
_PROCESSES = 2
"""That they are spread over, so that it isn't the clients who are measured."""
_PAUSE = 1.0
"""Seconds between two events of each."""
_PROMISE = 1.0
"""Seconds after a revocation's answer from which nothing of the key is stored."""
_TOPIC = "app.order.crowded"


def keys_needed(stage: Stage) -> int:
    return _single(stage) + _crowds(stage)


async def measure(stage: Stage, system: System, database: str, keys: Sequence[ServiceKey]) -> AsyncIterator[Outcome]:
    """Two API processes: one is told to revoke, both have let the connections in."""
    if not stage.options.wants("connection-gone", "thousand-gone"):
        return
    here, there = stage.settings(database), stage.settings(database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.serving("api", here, name="api-1"))
        await stack.enter_async_context(stage.serving("api", there, name="api-2"))
        clients = [await stack.enter_async_context(Peer(APPS).started(stage)) for _ in range(_PROCESSES)]
        if stage.options.wants("connection-gone"):
            yield await _one_by_one(stage, system, clients[0], here.port, keys[: _single(stage)])
        if stage.options.wants("thousand-gone"):
            yield await _at_once(stage, system, clients, here.port, keys[_single(stage) :])
    if stage.options.profile:
        for name in ("api-1", "api-2"):
            show(f"connection-gone and thousand-gone, {name}", stage.folder / f"{name}.profile")


def _single(stage: Stage) -> int:
    return 201 if stage.options.quick else 600


def _crowds(stage: Stage) -> int:
    return 1 if stage.options.quick else 3


async def _one_by_one(stage: Stage, system: System, clients: Peer, port: int, keys: Sequence[ServiceKey]) -> Outcome:
    """Each key has one connection. In milliseconds, as the client sees it."""
    for key in keys:
        await clients.ask(do="join", name=key.id, url=stage.nats.url, login={"token": key.secret})
    delays = []
    async with connected(port, system.account_key) as revoker:
        for key in keys:
            answered = await _revoke(revoker, key)
            last = (await clients.ask(do="gone", name=key.id))["last"]
            delays.append(max(0.0, last - answered) * 1000)
    figures = {"p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99), "worst": max(delays)}
    return Outcome(row="connection-gone", unit="ms", ours=delays, figures=msgspec.convert(figures, dict))


async def _at_once(
    stage: Stage, system: System, clients: Sequence[Peer], port: int, keys: Sequence[ServiceKey]
) -> Outcome:
    """The worst of some crowds: until the last connection is gone; `late` counts crowds that stored events later."""
    seconds, late = [], 0
    for key in keys:
        many, login = LIVE // len(clients), {"token": key.secret}
        join = [each.ask(do="join", name=key.id, url=stage.nats.url, login=login, many=many) for each in clients]
        await asyncio.gather(*join)
        for each in clients:
            await each.ask(do="fire", name=key.id, subject=f"events.{_TOPIC}", pause=_PAUSE)
        await _warm(clients, key)
        async with connected(port, system.account_key) as revoker:  # the server ends one that idles
            answered = await _revoke(revoker, key)
        gone = await asyncio.gather(*[each.ask(do="gone", name=key.id) for each in clients])
        await asyncio.sleep(max(0.0, answered + _PROMISE + 0.5 - time.time()))
        stored = await _last_stored(stage, system, key)
        seconds.append(max(each["last"] for each in gone) - answered)
        late += stored - answered > _PROMISE
    return Outcome(row="thousand-gone", unit="s", ours=seconds, figures={"seconds": max(seconds), "late": late})


async def _warm(clients: Sequence[Peer], key: ServiceKey) -> None:
    """Returns when the crowd has had as many events acknowledged as it has connections. Raises `BenchError`."""
    try:
        async with asyncio.timeout(30):
            while sum([(await each.ask(do="acknowledged", name=key.id))["count"] for each in clients]) < LIVE:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"{LIVE} connections can't get {LIVE} events acknowledged in 30 seconds") from None


async def _last_stored(stage: Stage, system: System, key: ServiceKey) -> float:
    """When JetStream stored the last event on the crowd's topic, as Unix time."""
    credentials = stage.nats.credentials("worker")
    async with await nats.connect(stage.nats.url, user_credentials=str(credentials)) as client:
        subject = f"ev.{system.workspace_id}.{key.environment}._.{_TOPIC}"
        stored = await client.jetstream().get_last_msg(system.stream_of(key), subject)
    return (stored.time or datetime.max.replace(tzinfo=UTC)).timestamp()


async def _revoke(revoker: Client, key: ServiceKey) -> float:
    """When it was answered, as Unix time."""
    await revoker.post(f"/api/v1/keys/{key.id}/revoke", {"reason": "left the laptop on the train"})
    return time.time()
