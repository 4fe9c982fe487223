"""Disks that fill up: whoever asks is told so, nothing that was answered is lost, and with room again all is well."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from conftest import Database, free_port, make_settings, settings_of_worker
from integration.support import value, wait_until
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server

from .disks import Disk, looked_after, move_to, small_disk
from .rounds import Round, consumers, recorded, told
from .system import System, running_system, system_on

pytestmark = pytest.mark.long
MEGABYTES = 160


@asynccontextmanager
async def on_small_disk(what: str, nats: Nats, folder: Path) -> AsyncIterator[tuple[System, Disk]]:
    """A system whose Postgres has this folder of its own on a small disk."""
    server = Server(folder / "postgres")
    await server.start()
    await server.stop()
    with small_disk(folder / "postgres" / "disk", MEGABYTES) as disk:
        move_to(disk, server.cluster / what)
        async with system_on(server, nats, folder) as system:
            yield system, disk


async def is_unready(system: System, check: str) -> bool:
    """Readiness says that this isn't well."""
    async with system.client() as client:
        answer = await client.get("/health/ready")
    return answer.status_code == 503 and not answer.json()["checks"][check]["ok"]


@pytest.mark.parametrize("what", ["base", "pg_wal"], ids=["of the tables", "of the WAL"])
async def test_a_full_disk_of_postgres_refuses_commands_and_loses_nothing(
    nats_server: Nats, tmp_path: Path, what: str, record_property: Callable[[str, object], None]
) -> None:
    """Postgres refuses what it has no room for, or has to stop when it is the WAL's. With room it all goes on."""
    async with (
        on_small_disk(what, nats_server, tmp_path) as (system, disk),
        looked_after(system.database.server),
        consumers(system) as takers,
    ):
        async with (
            recorded(system, [system.api], what, takers, tmp_path) as this,
            this.amid(f"the disk of {what} is full"),
        ):
            disk.fill()
            if what == "pg_wal":
                with suppress(Exception):  # it ends Postgres
                    await value(system.database.admin_url, "SELECT pg_switch_wal()")
            full = time.monotonic()
            await wait_until(lambda: len(told(this, since=full)) > 10, 30)
            await wait_until(lambda: is_unready(system, "postgres"))
            assert {each.code for each in told(this, since=full)} <= {"unavailable", "ReadTimeout"}
            verified = [each for each in this.recorder.history.calls if each.what == "verify" and each.began > full]
            assert what == "pg_wal" or {each.result for each in verified} & {"ok", "refused"}
            disk.clear()
        record_property("measured", str(this))
    assert ("PANIC" in server_log(system)) == (what == "pg_wal")


def server_log(system: System) -> str:
    return system.database.server.child.log.read_text()


async def test_a_full_disk_of_nats_refuses_events_while_commands_go_on(
    database: Database, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Until there is room again and NATS is restarted, which writes to no stream of its own accord that it couldn't
    write to before. What was acknowledged is there."""
    nats = Nats(tmp_path / "nats", free_port())
    with small_disk(tmp_path / "nats", 640) as disk:  # the stream USAGE wants 256 of the three quarters that NATS takes
        await nats.start()
        settings = make_settings(database, nats)
        of_worker = msgspec.structs.replace(settings_of_worker(settings, nats), checkpoint_seconds=1)
        async with (
            running_system(settings, of_worker, nats, database, tmp_path) as system,
            consumers(system, native=True) as takers,
            recorded(system, [system.api], "nats", takers, tmp_path) as this,
            this.amid("the disk of NATS is full"),
        ):
            disk.fill()
            full = time.monotonic()
            await wait_until(lambda: is_unready(system, "nats"), 30)
            await wait_until(lambda: {"revoke", "redeem"} <= done(this, since=full), 20)
            await wait_until(lambda: is_unready(system, "loop relay"), 20)
            disk.clear()
            await nats.stop()
            await nats.start()
        record_property("measured", str(this))
        await nats.stop()


def done(this: Round, *, since: float) -> set[str]:
    return {each.what for each in this.recorder.history.calls if each.result == "ok" and each.began > since}
