"""Revocation: one API process revokes, another is asked, and says for how long it still takes the key."""

import asyncio
import time

import msgspec

from .client import Client, connected
from .measure import Outcome, percentile
from .profiling import show
from .stage import BenchError, Stage
from .system import System

PROMISE = 1.0
"""Seconds after a revocation's answer from which nobody may call the key valid, whatever has failed."""
_GIVEN_UP = 5.0
"""Seconds after which no refusal is waited for any more."""


async def measure(stage: Stage, system: System, database: str) -> Outcome:
    """One key at a time, in milliseconds; `late` counts what was said against the promise, up to the end of the run."""
    keys = await system.keys(100 if stage.options.quick else 1_000)
    here, there = stage.settings(database), stage.settings(database)
    async with (
        stage.serving("api", here, name="api-1"),
        stage.serving("api", there, name="api-2"),
        connected(here.port, system.account_key) as revoker,
        connected(there.port, system.account_key) as asker,
    ):
        delays, late = [], 0
        for of, secret in keys:
            delay, untrue = await _revoke(revoker, asker, of, secret)
            delays.append(delay * 1000)
            late += untrue
        await asyncio.sleep(PROMISE)  # nobody is waited for: the last one's promise begins to hold
        for _, secret in keys:
            late += await _is_valid(asker, secret)
    if stage.options.profile:
        for name in ("api-1", "api-2"):
            show(f"revocation, {name}", stage.folder / f"{name}.profile")
    figures = {"p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99), "worst": max(delays), "late": late}
    return Outcome(row="revocation", unit="ms", ours=delays, figures=msgspec.convert(figures, dict))


async def _revoke(revoker: Client, asker: Client, of: str, secret: str) -> tuple[float, int]:
    """Seconds from the revocation's answer to the first refusal, and how often the key was called valid too late.

    The asker has called it valid before, so that it has something to forget, and doesn't stop asking meanwhile.
    """
    for _ in range(3):
        if not await _is_valid(asker, secret):
            raise BenchError("a key was refused before it was revoked")
    revocation = asyncio.create_task(_revoked(revoker, of))
    late = 0
    while True:
        asked = time.perf_counter()
        valid = await _is_valid(asker, secret)
        since = asked - revocation.result() if revocation.done() else 0.0
        if not valid or since > _GIVEN_UP:
            # refused before the revocation was answered is no delay at all
            return max(0.0, time.perf_counter() - await revocation), late
        late += since > PROMISE


async def _revoked(revoker: Client, of: str) -> float:
    """When it was answered."""
    await revoker.post(f"/api/v1/keys/{of}/revoke", {"reason": "left the laptop on the train"})
    return time.perf_counter()


async def _is_valid(asker: Client, secret: str) -> bool:
    return bool((await asker.data("/api/v1/keys/verify", {"key": secret}))["valid"])
