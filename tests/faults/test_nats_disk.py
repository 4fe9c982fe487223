"""The disk of NATS, lost or spoilt: what follows the log comes back by itself, and what is lost is what docs say."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.support import wait_until

from .gathering import stream_of
from .rounds import Round, consumers, recorded
from .system import System

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

Measured = Callable[[str, object], None]


def spoil(system: System, stream: str) -> None:
    """Writes over the head of a record in the middle of the stream's newest block: from there on NATS can't read it."""
    (*_, block) = sorted(system.nats.folder.glob(f"jetstream/*/streams/{stream}/msgs/*.blk"))
    content = bytearray(block.read_bytes())
    at = 0
    while at < len(content) // 2:
        at += struct.unpack_from("<I", content, at)[0] & 0x7FFF_FFFF  # a record's length, and whether it has headers
    content[at : at + 4] = b"\xff" * 4
    block.write_bytes(content)


async def assert_heals(
    system: System, folder: Path, name: str, harm: Callable[[Round], None], record_property: Measured
) -> None:
    """Killed, harmed, and started again while clients are at work."""
    async with (
        consumers(system, native=True) as takers,
        recorded(system, [system.api], name, takers, folder) as this,
        this.amid(name),
    ):
        await wait_until(lambda: sum(call.what == "publish" for call in this.calls) > 60, 30)
        system.nats.kill()
        harm(this)
        await system.nats.start()
    record_property("measured", str(this))


async def test_a_wiped_disk_costs_app_events_alone(system: System, tmp_path: Path, record_property: Measured) -> None:
    def wipe(this: Round) -> None:
        system.nats.wipe()
        this.lose_events(all_of_them=True)

    await assert_heals(system, tmp_path, "NATS wiped", wipe, record_property)


async def test_a_spoilt_lifecycle_stream_is_published_again(
    system: System, tmp_path: Path, record_property: Measured
) -> None:
    """From where it is spoilt, and on the same sequences: nothing at all is lost."""
    await assert_heals(system, tmp_path, "LIFECYCLE spoilt", lambda _: spoil(system, "LIFECYCLE"), record_property)


async def test_a_spoilt_stream_of_app_events_loses_what_was_behind_and_goes_on(
    system: System, tmp_path: Path, record_property: Measured
) -> None:
    """Also for consumers that were further than it is now."""

    def harm(this: Round) -> None:
        spoil(system, stream_of(system))
        this.lose_events(all_of_them=False)

    await assert_heals(system, tmp_path, "events spoilt", harm, record_property)
