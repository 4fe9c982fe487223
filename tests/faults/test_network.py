"""A network that swallows what is sent: unlike a server that is gone, it ends no connection and refuses none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from .network import Apart, apart
from .proxy import proxying
from .rounds import consumers, recorded
from .system import Process, System, started

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@asynccontextmanager
async def api_in(there: Apart, system: System) -> AsyncIterator[Process]:
    """Another API, which reaches NATS over a link that can be cut, and Postgres otherwise."""
    async with proxying(system.nats.port, host=there.gateway) as proxy:
        settings = msgspec.structs.replace(system.settings, nats_url=proxy.url, host=there.address)
        process = Process("api", settings, system.api.log.parent, within=there.within)
        async with started(process):
            yield process


async def test_an_api_that_nats_has_vanished_for_goes_by_the_truth_and_finds_back(
    system: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """For moments, and for longer than it takes a client to give its connection up."""
    with apart() as there:
        async with (
            api_in(there, system) as other,
            consumers(system) as takers,
            recorded(system, [system.api, other], "network", takers, tmp_path) as this,
        ):
            for seconds in (0.3, 2, 20):
                async with this.amid(f"NATS out of reach for {seconds} s"):
                    with there.cut_off():
                        await asyncio.sleep(seconds)
                await asyncio.sleep(2)
        record_property("measured", str(this))
        assert "hearing.lost" in other.log.read_text()
