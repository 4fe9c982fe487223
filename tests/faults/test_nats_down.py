"""NATS is disposable: commands don't need it, and what it lost it gets again."""

import pytest

from .load import Load
from .system import System


@pytest.mark.long
async def test_commands_succeed_without_nats_and_projections_catch_up_with_no_help(system: System) -> None:
    """SIGKILL, once with its data kept and once with all of it deleted. Every command is answered at once, none
    refused, and readiness says what is missing meanwhile."""
    load = Load(system, patient=False)
    for wiped in (False, True):
        await load.more(30)
        system.nats.kill()
        await load.more(60)
        assert await system.api.answers("/health/ready") == 503
        if wiped:
            system.nats.wipe()
        await system.nats.start()
        await load.more(30)
        await system.ready()
    await load.stop()
    assert load.refused == {}
    await load.assert_done_once()
    await system.assert_sound()
