"""Verification: over HTTP against a server that only answers and against two peers; in process; and after revoking."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from keyfold.app.verifier import Verdict
from keyfold.domain.judgement import Question

from . import revocation
from .client import connected
from .load import request
from .measure import Outcome, Side, compared, percentile
from .peers import KeyServer, Peer, key_server
from .profiling import profile, show
from .stage import BenchError, Stage
from .system import System, running

CONNECTIONS = 32
"""Each with a key of its own: a peer that notes a key's last use would wait for itself."""
KEYS = 1_000
"""Keys that are asked about in process, one after the other."""
ASKED = Question("send", "app/order/created")
PATH = "/api/v1/keys/verify"

_PEERS = ("better-auth", "drf")
_WARM = {"better-auth": 4}
"""Seconds before the rounds, 1 where nothing is said: V8 takes that long until it has compiled all that is used."""


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted, on one system with a worker."""
    await stage.renew_nats()
    database = await stage.database("verifications")
    worker = stage.settings(database, role="worker")
    async with running(stage.settings(database)) as system, stage.serving("worker", worker):
        if stage.options.wants("verify-floor", *(f"verify-{name}" for name in _PEERS)):
            async for outcome in _over_http(stage, system, database):
                yield outcome
        if stage.options.wants("verify-in-process"):
            yield await _in_process(stage, system)
        if stage.options.wants("revocation"):
            yield await revocation.measure(stage, system, database)


async def _over_http(stage: Stage, system: System, database: str) -> AsyncIterator[Outcome]:
    """All sides in the same rounds: one figure of ours for every row."""
    settings = stage.settings(database)
    ours = KeyServer(settings.port, _requests(system.account_key, await system.keys(CONNECTIONS)))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.serving("api", settings))
        servers = {"keyfold": ours}
        if stage.options.wants("verify-floor"):
            servers["floor"] = KeyServer(await _floor(stage, stack, system, ours.port), ours.requests)
        for name in _PEERS:
            if not stage.options.wants(f"verify-{name}"):
                continue
            try:
                servers[name] = await stack.enter_async_context(key_server(stage, name, CONNECTIONS))
            except BenchError as error:
                yield Outcome(row=f"verify-{name}", skipped=str(error))
        if len(servers) == 1:
            return
        load = await stack.enter_async_context(Peer([sys.executable, "-m", f"{__package__}.load"]).started(stage))
        for name, server in servers.items():
            await _rate(load, server, _WARM.get(name, 1))
        sides: dict[str, Side] = {
            name: partial(_rate, load, server, stage.options.seconds) for name, server in servers.items()
        }
        figures = await stage.interleaved(sides)
    if stage.options.profile:
        show("api", stage.folder / "api.profile")
    own = figures.pop("keyfold")
    for name, theirs in figures.items():
        yield compared(f"verify-{name}", own, theirs)


def _requests(account_key: str, keys: Sequence[tuple[str, str]]) -> list[str]:
    headers = {"Authorization": f"Bearer {account_key}"}
    return [request("POST", PATH, headers, json.dumps({"key": secret})) for _, secret in keys]


async def _floor(stage: Stage, stack: AsyncExitStack, system: System, port: int) -> int:
    """The port of a server that gives one answer of ours to all."""
    ((_, secret),) = await system.keys(1)
    async with connected(port, system.account_key) as client:
        answer = await client.post(PATH, {"key": secret})
    settings = stage.settings("postgres")
    extra = {"KEYFOLD_BENCH_ANSWER": msgspec.json.encode(answer).decode()}
    await stack.enter_async_context(stage.serving("fixed", settings, **extra))
    return settings.port


async def _rate(load: Peer, server: KeyServer, seconds: int) -> float:
    """Answers a second."""
    return await load.rate(
        port=server.port,
        requests=server.requests,
        status=200,
        expects='"valid":true',
        connections=CONNECTIONS,
        seconds=seconds,
    )


async def _in_process(stage: Stage, system: System) -> Outcome:
    """Rates over many calls, and then the time of each call by itself."""
    memory = Memory(system, [secret for _, secret in await system.keys(KEYS)])
    rates = (await stage.interleaved({"keyfold": partial(memory.rate, stage.options.seconds)}))["keyfold"]
    times = await memory.times(100 * KEYS)
    if stage.options.profile:
        await profile("verify-in-process", partial(memory.rate, stage.options.seconds))
    figures = {"rate": statistics.median(rates), "p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}
    return Outcome(row="verify-in-process", ours=rates, figures=msgspec.convert(figures, dict))


class Memory:
    """Verdicts about keys that this process remembers. Between two runs through them it hears what others have to say:
    without that it may not trust its memory. A run that was not from memory alone is not counted."""

    def __init__(self, system: System, secrets: Sequence[str]) -> None:
        self._known = system.services.verifier.known
        self._verify = system.services.verifier.verify
        self._secrets = secrets

    async def rate(self, seconds: float) -> float:
        """Verdicts a second."""
        known, done, busy = self._known, 0, 0.0
        while busy < seconds:
            await self._remember()
            started = time.perf_counter()
            verdicts = [known(secret, ASKED) for secret in self._secrets]
            took = time.perf_counter() - started
            if all(_is_valid(verdict) for verdict in verdicts):
                done, busy = done + len(verdicts), busy + took
        return done / busy

    async def times(self, calls: int) -> list[float]:
        """What each call takes, in milliseconds."""
        known, times = self._known, list[float]()
        while len(times) < calls:
            await self._remember()
            for secret in self._secrets:
                started = time.perf_counter()
                verdict = known(secret, ASKED)
                took = time.perf_counter() - started
                if _is_valid(verdict):
                    times.append(took * 1000)
        return times

    async def _remember(self) -> None:
        try:
            async with asyncio.timeout(10):
                await asyncio.sleep(0)
                for secret in self._secrets:
                    while not _is_valid(self._known(secret, ASKED)):
                        _is_valid(await self._verify(secret, ASKED))
        except TimeoutError:
            raise BenchError("what was verified is not remembered") from None


def _is_valid(verdict: Verdict | None) -> bool:
    """False for what is not in memory. Raises `BenchError` for a refusal: every key here is a valid one."""
    if verdict is not None and not verdict.valid:
        raise BenchError(f"a valid key was refused: {verdict.code}")
    return verdict is not None
