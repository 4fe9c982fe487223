"""What can happen to a system of processes, each for a while: broken on entry, whole again on exit."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from .proxy import Proxy
from .shims import FailingSync, SteppedClock
from .system import Process, System
from .test_hearing import paused
from .test_postgres_down import crash, without_postgres

Breaking = Callable[[], AbstractAsyncContextManager[None]]


def of_processes(system: System, *others: Process) -> dict[str, Breaking]:
    """Each api and worker, at most two of a kind, and NATS: what any system may go through."""
    named = {each.what: each for each in system.processes} | {f"another {each.what}": each for each in others}
    found: dict[str, Breaking] = {
        "NATS is killed": lambda: killed_nats(system),
        "NATS hangs": lambda: paused(system.nats),
    }
    for name, process in named.items():
        found[f"{name} is killed"] = lambda process=process: killed(process)  # type: ignore[misc]
        found[f"{name} hangs"] = lambda process=process: hanging(process)  # type: ignore[misc]
    return found


def of_postgres(system: System) -> dict[str, Breaking]:
    """For a system with a Postgres of its own."""
    return {
        "Postgres is killed": lambda: without_postgres(system, "SIGKILL"),
        "Postgres hangs": lambda: without_postgres(system, "SIGSTOP"),
        "Postgres crashes": lambda: crashed_postgres(system),
        "Postgres is restarted": lambda: restarted_postgres(system),
        "NATS is restarted": lambda: restarted_nats(system),
    }


def of_link(proxy: Proxy) -> dict[str, Breaking]:
    """The way of one process to NATS."""
    return {
        "one hears nothing": lambda: proxy.swallowing("to client"),
        "one isn't heard": lambda: proxy.swallowing("to server"),
        "one is cut off": proxy.cut,
    }


def of_disk(system: System, disk: FailingSync) -> dict[str, Breaking]:
    """For a system whose Postgres has been started around it."""
    return {"fsync fails": lambda: unwritable(system, disk)}


def of_clock(clock: SteppedClock) -> dict[str, Breaking]:
    """Of one process: minutes ahead, and a day behind."""
    return {f"a clock is off by {each} s": lambda each=each: off(clock, each) for each in (600, -86_400)}  # type: ignore[misc]


async def a_while(dice: random.Random) -> None:
    """Mostly short, at times longer than any lease."""
    await asyncio.sleep(dice.choice([0.05, 0.3, 1, 2.5]) * dice.uniform(0.5, 1))


@asynccontextmanager
async def killed(process: Process) -> AsyncIterator[None]:
    process.kill()
    try:
        yield
    finally:
        process.start()


@asynccontextmanager
async def hanging(process: Process) -> AsyncIterator[None]:
    with process.paused():
        yield


@asynccontextmanager
async def killed_nats(system: System) -> AsyncIterator[None]:
    system.nats.kill()
    try:
        yield
    finally:
        await system.nats.start()


@asynccontextmanager
async def restarted_nats(system: System) -> AsyncIterator[None]:
    await system.nats.stop()
    await system.nats.start()
    yield


@asynccontextmanager
async def restarted_postgres(system: System) -> AsyncIterator[None]:
    await system.database.server.stop()
    await system.database.server.start()
    yield


@asynccontextmanager
async def unwritable(system: System, disk: FailingSync) -> AsyncIterator[None]:
    """Postgres panics at its next commit, and can't recover before the disk takes writes."""
    with disk.breaks():
        yield
    await system.database.server.stop()
    await system.database.server.start()


@asynccontextmanager
async def off(clock: SteppedClock, seconds: int) -> AsyncIterator[None]:
    clock.step(seconds)
    try:
        yield
    finally:
        clock.step(0)


@asynccontextmanager
async def crashed_postgres(system: System) -> AsyncIterator[None]:
    await crash(system.database.admin_url)
    yield
