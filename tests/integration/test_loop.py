"""The one shape of every loop: what it waits out, what halts it, and what ends it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats.errors
import pytest

from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.worker.leader import Leader
from keyfold.worker.loop import Halt, Loop
from keyfold.worker.worker import Worker

from .support import LIMIT, connected, rows, value, wait_until, working


class Steps:
    """A step that does what it is told, once each, and then nothing."""

    def __init__(self, *outcomes: bool | BaseException) -> None:
        self.left = list(outcomes)
        self.taken = 0

    async def __call__(self) -> bool:
        self.taken += 1
        outcome = self.left.pop(0) if self.left else False
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def loop_with(step: Callable[[], Awaitable[bool]], every: float = 60, **more: object) -> Loop:
    return Loop("test", step=step, every=every, **more)  # type: ignore[arg-type]


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_it_goes_on_at_once_while_there_is_more_and_when_it_is_woken() -> None:
    steps, wake = Steps(True, True, False), asyncio.Event()
    loop = loop_with(steps, wake=wake)
    task = asyncio.create_task(loop.run())
    await wait_until(lambda: steps.taken == 3)
    wake.set()
    await wait_until(lambda: steps.taken == 4)
    assert (loop.status, loop.is_healthy) == ("running", True)
    await stop(task)


@pytest.mark.parametrize("outage", [Unavailable("x"), OSError(), TimeoutError(), nats.errors.TimeoutError()], ids=repr)
async def test_an_outage_is_waited_out(outage: Exception) -> None:
    steps = Steps(outage, outage)
    loop = loop_with(steps)
    task = asyncio.create_task(loop.run())
    await wait_until(lambda: loop.status == "waiting" and not loop.is_healthy)
    await wait_until(lambda: steps.taken == 3 and loop.is_healthy)
    await stop(task)


async def test_it_ends_also_when_its_step_has_swallowed_the_cancellation() -> None:
    """As nats-py does where the answer comes at the same moment: a worker that is told to stop would hang for ever."""
    begun = asyncio.Event()

    async def answered() -> bool:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return False

    task = asyncio.create_task(loop_with(answered).run())
    await begun.wait()
    async with asyncio.timeout(LIMIT):
        await stop(task)


async def test_a_halt_stays_where_it_is_and_says_why() -> None:
    loop = loop_with(Steps(Halt("look at this")))
    task = asyncio.create_task(loop.run())
    await wait_until(lambda: loop.status == "halted")
    assert (loop.is_healthy, loop.detail) == (False, "look at this")
    await stop(task)


@pytest.mark.parametrize("bug", [KeyError("x"), asyncio.CancelledError()], ids=repr)
async def test_anything_else_ends_it_loudly_even_a_cancellation_that_nobody_asked_for(bug: BaseException) -> None:
    """A library that cancels what a step waits for must not end the loop in silence."""
    loop = loop_with(Steps(bug))
    with pytest.raises((KeyError, RuntimeError)):
        await loop.run()
    assert (loop.status, loop.is_healthy) == ("dead", False)


@pytest.mark.parametrize("bug", [KeyError("x"), asyncio.CancelledError()], ids=repr)
async def test_a_worker_with_a_dead_loop_ends(worker_settings: Settings, bug: BaseException) -> None:
    worker = Worker(worker_settings)
    worker.loops.append(loop_with(Steps(True, bug)))
    with pytest.raises(BaseExceptionGroup) as ended:
        async with asyncio.timeout(LIMIT):
            await worker.run()
    assert len(ended.value.exceptions) == 1
    beats = "SELECT count(*) FROM projections.loops"
    assert await value(worker_settings.admin_database_url, beats) == 0


async def test_a_worker_that_stops_is_forgotten_at_once(worker_settings: Settings) -> None:
    task = asyncio.create_task(Worker(worker_settings).run())
    beats = "SELECT count(*) FROM projections.loops WHERE status IN ('running', 'waiting')"
    await wait_until(lambda: value(worker_settings.admin_database_url, beats))
    await stop(task)
    assert await value(worker_settings.admin_database_url, "SELECT count(*) FROM projections.loops") == 0


async def test_one_leads_and_another_takes_over_when_the_lock_is_free(worker_postgres: Postgres) -> None:
    first, second, other = (Leader(worker_postgres, name) for name in ("a", "a", "b"))
    assert [await first.leads(), await second.leads(), await other.leads()] == [True, False, True]
    assert await first.leads()
    await first.resign()
    await wait_until(second.leads)
    assert not await first.leads()
    for each in (first, second, other):
        await each.resign()


async def test_a_leader_that_hangs_is_replaced_and_one_that_works_for_long_is_not(
    worker_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays open as long as its process is there, whatever that does."""
    monkeypatch.setattr("keyfold.worker.leader.SILENCE", 0.5)
    monkeypatch.setattr("keyfold.worker.leader.BEAT", 0.05)
    first, second = Leader(worker_postgres, "a"), Leader(worker_postgres, "a")
    assert await first.leads()
    for _ in range(20):
        assert not await second.leads()
        await asyncio.sleep(0.05)
    assert first._beating is not None
    first._beating.cancel()
    await wait_until(second.leads)
    assert not await first.leads()
    for each in (first, second):
        await each.resign()


async def test_a_leader_that_lost_its_connection_knows_it(worker_postgres: Postgres, settings: Settings) -> None:
    first, second = Leader(worker_postgres, "a"), Leader(worker_postgres, "a")
    assert await first.leads()
    lose = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
    await value(settings.admin_database_url, lose)
    await wait_until(second.leads)
    await wait_until(lambda: first._connection is not None and first._connection.is_closed())
    assert not await first.leads()
    for each in (first, second):
        await each.resign()


OLD = """
INSERT INTO keyfold.replays (id, fingerprint, answer, position, subjects, created_at)
    VALUES ('\\x01', '', '', 1, '{}', now() - interval '25 hours'), ('\\x02', '', '', 1, '{}', now());
INSERT INTO keyfold.key_addresses
    SELECT 'key_1', '192.0.2.' || n, now() - n * interval '91 days', now() - n * interval '91 days'
    FROM generate_series(0, 1) n;
"""


async def test_the_janitor_forgets_what_is_kept_for_a_time(worker_settings: Settings) -> None:
    url = worker_settings.admin_database_url
    async with connected(url) as connection:
        await connection.execute(OLD)
    async with working(Worker(worker_settings)):
        await wait_until(lambda: gone(url, "SELECT id FROM keyfold.replays", [(b"\x02",)]))
        await wait_until(lambda: gone(url, "SELECT address FROM keyfold.key_addresses", [("192.0.2.0",)]))


async def gone(url: str, statement: str, rest: list[tuple[object, ...]]) -> bool:
    return await rows(url, statement) == rest
