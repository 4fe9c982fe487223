"""A disk that takes no write any more: Postgres stops rather than forget what it has confirmed, and comes back."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.support import wait_until
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server

from .disks import looked_after
from .rounds import consumers, recorded, told
from .shims import failing_sync
from .system import system_on

# nats-py leaves the socket of a server that died to the garbage collector
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


async def test_a_postgres_whose_fsync_fails_loses_nothing_that_was_answered(
    nats_server: Nats,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """It panics, and again while it recovers, until the disk takes writes. Whoever looks after it starts it again."""
    server = Server(tmp_path / "postgres")
    with failing_sync() as disk, disk.around(monkeypatch):
        async with (
            system_on(server, nats_server, tmp_path) as system,
            looked_after(server),
            consumers(system) as takers,
            recorded(system, [system.api], "fsync", takers, tmp_path) as this,
            this.amid("fsync fails"),
        ):
            with disk.breaks():
                broken = time.monotonic()
                await wait_until(lambda: "PANIC" in server.child.log.read_text(), 20)
                await wait_until(lambda: len(told(this, since=broken)) > 5, 20)
                await asyncio.sleep(1)  # it tries to recover meanwhile, and can't
        record_property("measured", str(this))
    assert server.child.log.read_text().count("PANIC") > 1
