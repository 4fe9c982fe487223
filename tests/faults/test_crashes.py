"""kill -9 of the API and the worker, at random moments, under load."""

import asyncio
import random
import signal

import pytest

from integration.support import value, wait_until

from .load import Load
from .system import System


@pytest.mark.long
async def test_what_was_answered_is_in_the_log_once_whoever_was_killed_when(
    system: System, rounds: int, seed: int
) -> None:
    """Callers repeat what wasn't answered. Afterwards positions are gapless and projections equal a rebuild."""
    dice = random.Random(seed)
    load = Load(system)
    for _ in range(rounds):
        victims = dice.choice([[system.api], [system.worker], [system.worker, system.api]])
        await load.more(dice.randint(10, 60))
        await asyncio.sleep(dice.uniform(0, 0.05))  # any moment: this is what is tested
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.start()
    await load.more(30, 30)
    await load.stop()
    await system.ready()
    await load.assert_done_once()
    await system.assert_sound()
    assert len(load.redeemed) > 10


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_second_worker_takes_over(system: System, number: signal.Signals) -> None:
    """Two workers on one system; whichever leads is killed, or hangs, and events go on to be projected."""
    load = Load(system, callers=2)
    other = system.worker.twin()
    try:
        other.start()
        await load.more(5)
        standby = "SELECT count(*) FROM projections.loops WHERE loop = 'relay' AND status = 'standby'"
        await wait_until(lambda: value(system.database.admin_url, standby))
        system.worker.process.send_signal(number)
        position = max(load.invited.values())
        lag = "SELECT min(position) FROM projections.cursors"

        async def goes_on() -> bool:
            return bool(await value(system.database.admin_url, lag) > position + 20)

        await wait_until(goes_on)
    finally:
        await load.stop()
        other.close()
