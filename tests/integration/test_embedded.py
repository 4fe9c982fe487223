"""The embedded servers: start, stop, what a crash leaves, and what they tell nobody."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import asyncpg
import psutil
import pytest

from keyfold.cli.embedded import EmbeddedError, Nats, Postgres
from keyfold.cli.embedded.nats import free_port

from .support import logged_in

_RUN_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from keyfold.cli.embedded import Nats, Postgres
async def main():
    postgres = Postgres(Path(sys.argv[1], "postgres"), durable=False)
    await postgres.start()
    nats = Nats(Path(sys.argv[1], "nats"), int(sys.argv[2]))
    await nats.start()
    print(postgres.process.pid, nats.process.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
_START_AND_STOP = """
import asyncio, os, sys
from pathlib import Path
from keyfold.cli.embedded import Postgres
async def main():
    postgres = Postgres(Path(sys.argv[1], "postgres"), durable=False)
    await postgres.start()
    await postgres.stop()
    print(os.geteuid(), Path(postgres.cluster, "PG_VERSION").exists())
asyncio.run(main())
"""


async def _value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_postgres_keeps_its_data_over_a_stop_and_over_a_crash(own_postgres_server: Postgres) -> None:
    """Written rows are there after a clean restart and after SIGKILL, under the same url."""
    server = own_postgres_server
    url = server.url("postgres", "postgres")
    await _value(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    await server.stop()
    await server.start()
    assert await _value(url, "SELECT answer FROM kept") == 42
    server.kill()
    await server.start()
    assert await _value(url, "SELECT answer FROM kept") == 42


async def test_postgres_is_reached_by_a_private_socket_alone(postgres_server: Postgres) -> None:
    """No TCP port, and a folder that is closed to everybody else."""
    assert await _value(postgres_server.url("postgres", "postgres"), "SHOW listen_addresses") == ""
    assert postgres_server.socket.stat().st_mode & 0o777 == 0o700
    assert (postgres_server.socket / ".s.PGSQL.5432").is_socket()


async def test_a_durable_postgres_syncs(tmp_path: Path) -> None:
    """Below pytest's folder, which is closed to others and long: as root Postgres needs no path to it."""
    server = Postgres(tmp_path / ("long" * 20) / "postgres")
    await server.start()
    try:
        url = server.url("postgres", "postgres")
        assert await _value(url, "SHOW fsync") == "on"
        assert await _value(url, "SHOW full_page_writes") == "on"
    finally:
        await server.stop()
    assert not server.socket.exists()


async def test_a_lock_that_names_another_process_is_seen_through(own_postgres_server: Postgres) -> None:
    """After a crash the number in postmaster.pid may belong to anybody: here to this test."""
    server = own_postgres_server
    server.kill()
    lock = server.cluster / "postmaster.pid"
    lock.write_text(lock.read_text().replace(lock.read_text().split()[0], str(os.getpid()), 1))
    await server.start()
    assert await _value(server.url("postgres", "postgres"), "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops them")
def test_servers_die_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves no process behind."""
    _, pids = _killed_run(tmp_path, free_port())
    deadline = time.monotonic() + 10
    while not all(map(_gone, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_orphans_are_stopped_by_the_next_start(tmp_path: Path) -> None:
    """Servers that outlived their parent (paused, they couldn't hear of its death) make room, and it is said."""
    port = free_port()
    said: list[str] = []
    _, pids = _killed_run(tmp_path, port, pause=True)
    assert not any(map(_gone, pids))
    postgres, server = (
        Postgres(tmp_path / "postgres", durable=False, say=said.append),
        Nats(tmp_path / "nats", port, say=said.append),
    )
    try:
        await postgres.start()
        await server.start()
        assert all(map(_gone, pids))
        assert len(said) == 2
        assert await _value(postgres.url("postgres", "postgres"), "SELECT 1") == 1
    finally:
        await server.stop()
        await postgres.stop()


def _killed_run(folder: Path, port: int, *, pause: bool = False) -> tuple[int, list[int]]:
    command = [sys.executable, "-c", _RUN_UNTIL_KILLED, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        for pid in pids if pause else []:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
    return parent.pid, pids


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already")
def test_an_ordinary_user_needs_no_other_account(tmp_path: Path) -> None:
    """A user namespace makes an ordinary user of root, who still reads this Python wherever it lies."""
    unshare = shutil.which("unshare")
    ordinary = [unshare or "", "--user", "--map-user=1000", "--map-group=1000"]
    if unshare is None or subprocess.run([*ordinary, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    command = [*ordinary, sys.executable, "-c", textwrap.dedent(_START_AND_STOP), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.split(), done.stderr) == (["1000", "True"], "")


async def test_nats_keeps_its_streams_until_it_is_wiped(nats_server: Nats) -> None:
    """Restarted on the same port: the stream is there. Wiped: it is not."""

    async def streams() -> list[str | None]:
        async with logged_in(nats_server, "worker") as worker:
            return [stream.config.name for stream in await worker.jetstream().streams_info()]

    async with logged_in(nats_server, "worker", allow_reconnect=False) as worker:
        await worker.jetstream().add_stream(name="LIFECYCLE", subjects=["lc.>"])
        await worker.jetstream().publish("lc.one", b"1")
    nats_server.kill()
    await nats_server.start()
    assert await streams() == ["LIFECYCLE"]
    await nats_server.stop()
    nats_server.wipe()
    await nats_server.start()
    assert await streams() == []


async def test_nats_syncs_always_and_tells_nobody_its_keys(tmp_path: Path) -> None:
    """Configuration and credentials are private; no seed is in the configuration, the log or a `repr`."""
    server = Nats(tmp_path / "nats", free_port())
    worker = server.credentials("worker")
    await server.start()
    await server.stop()
    configuration = tmp_path / "nats" / "nats.conf"
    for file in (configuration, worker):
        assert file.stat().st_mode & 0o777 == 0o600
    assert '"sync_interval": "always"' in configuration.read_text()
    shown = [configuration.read_text(), (tmp_path / "nats.log").read_text(), repr(server.root)]
    shown += [repr(each) for each in (server.login("worker"), server.generations[0])]
    for secret in (server.login("worker").key.seed, server.login("api").key.seed, server.keys.partition(":")[2][:42]):
        assert not [text for text in shown if secret in text]
    assert server.login("worker").key.seed in worker.read_text()


async def test_a_busy_port_is_an_error_that_says_so(nats_server: Nats, tmp_path: Path) -> None:
    """A second server on one port doesn't start, and the message has the log's end."""
    second = Nats(tmp_path / "second", nats_server.port)
    with pytest.raises(EmbeddedError, match="address already in use"):
        await second.start()


def test_a_free_port_steps_around_a_busy_one(nats_server: Nats) -> None:
    """The wanted port if it is free, or else one of the next."""
    assert nats_server.port < free_port(nats_server.port) < nats_server.port + 200
