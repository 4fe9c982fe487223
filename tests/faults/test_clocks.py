"""A machine whose clock is wrong, and stepped back and forth: one API among others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import pytest

from integration.partner import connected
from integration.support import value, wait_until

from .apps import key_of
from .breaking import killed
from .rounds import consumers, recorded
from .shims import SteppedClock, stepped_clock
from .system import Process, System, onboard, started

pytestmark = pytest.mark.long


@asynccontextmanager
async def api_with(clock: SteppedClock, system: System, patch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """Another API, whose clock it is."""
    with clock.around(patch):
        process = system.api.twin()
    async with started(process):
        yield process


async def test_stepped_clocks_give_no_ended_key_a_moment_and_are_no_harm_when_right_again(
    system: System,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Minutes ahead, a day behind, and right. Meanwhile it is killed once, and what it has opened at NATS while it was
    ahead is shut by the other."""
    with stepped_clock() as clock:
        async with (
            api_with(clock, system, monkeypatch) as other,
            consumers(system) as takers,
            recorded(system, [system.api, other], "clocks", takers, tmp_path) as this,
        ):
            for seconds in (600, -86_400, 60, 0):
                async with this.amid(f"a clock off by {seconds} s"):
                    clock.step(seconds)
                    await asyncio.sleep(2)
                    if seconds == 600:
                        async with killed(other):
                            await asyncio.sleep(3)
        record_property("measured", str(this))
    ahead = "SELECT count(*) FROM keyfold.log WHERE (record::jsonb->>'time')::timestamptz > now() + interval '5 min'"
    assert await value(system.database.admin_url, ahead)


async def test_what_a_process_ahead_of_time_has_opened_another_shuts(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NATS takes the newer of two claims of an account, by the clocks of those who made them."""
    with stepped_clock() as clock:
        clock.step(600)
        async with api_with(clock, system, monkeypatch) as other, system.client() as http:
            key = key_of(await onboard(system, http))
            system.api.kill()
            client = await connected(system.nats.url, key["secret"])
            system.api.start()
            await wait_until(system.api.is_live, 60)
            await system.ready()
            other.kill()
            revoked = await http.post(f"/api/v1/keys/{key['id']}/revoke", json={"reason": "r"}, headers=system.owner)
            assert revoked.status_code == 200, revoked.text
            await wait_until(lambda: not client.is_connected)
            with pytest.raises(nats.errors.Error, match="Authorization Violation"):
                await connected(system.nats.url, key["secret"])
            await client.close()
