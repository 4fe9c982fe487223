"""Postgres as a child process: on a Unix socket alone, which only its own user and we can reach."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from keyfold.cli.embedded.binaries import (
    Account,
    EmbeddedError,
    as_seen_by_itself,
    postgres_account,
    postgres_binaries,
)
from keyfold.cli.embedded.child import Child, runs, tail, until

_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 100  # 107 bytes on Linux, 103 on macOS
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "64MB",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "cluster_name": "keyfold",
}
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A cluster in `folder`, made on the first start. `durable=False` is for tests: a power cut ruins it."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        log: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self.cluster = self.folder / "cluster"
        self.durable = durable
        self.child = Child(
            "Postgres",
            log=log or self.folder.with_suffix(".log"),
            note=self.folder.with_suffix(".pid"),
            stop_signal=signal.SIGINT,  # "fast": ends the sessions and writes a checkpoint
            say=say,
        )
        self._socket: Path | None = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self.child.process

    @property
    def socket(self) -> Path:
        """The folder of the socket; known, and the same, from before the first start until the last stop."""
        if self._socket is None:
            short = len(os.fsencode(self.cluster / _SOCKET)) <= _LONGEST_SOCKET_PATH
            self._socket = self.cluster if short else Path(tempfile.mkdtemp(prefix="keyfold-"))
        return self._socket

    def url(self, user: str, database: str) -> str:
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(str(self.socket))}&port=5432"

    async def start(self, timeout: float = 60.0) -> None:
        """Makes the cluster if there is none, and returns when it takes connections."""
        account = postgres_account(self.folder)
        self.child.account = account
        binaries = await asyncio.to_thread(postgres_binaries, account)
        _own(self.folder, account)
        if self.socket != self.cluster:
            _own(self.socket, account)
        await self.child.stop_orphan()
        if not self.cluster.is_dir():
            await self._make(binaries, account)
        if self._lock_is_stale():
            (self.cluster / "postmaster.pid").unlink()
        self._spawn(binaries, account)
        if await until(lambda: self._ready() or not self.child.alive, timeout) and self._ready():
            return
        # after a crash of the last one its workers may take a moment longer to go
        if "is still in use" in tail(self.child.log, 5) and timeout > 1:
            await asyncio.sleep(0.2)
            await self.start(timeout - 1)
            return
        await self.child.stop()
        raise EmbeddedError(f"Postgres did not start. Its log, {self.child.log}, ends:\n{tail(self.child.log)}")

    async def stop(self) -> None:
        await self.child.stop(30)
        if self._socket not in {None, self.cluster}:
            with contextlib.suppress(OSError):
                self.socket.rmdir()

    def kill(self) -> None:
        """SIGKILL to the postmaster; its workers notice and go."""
        self.child.kill()

    def is_stuck(self) -> bool:
        """Whether it lives and never serves again: the postmaster of Postgres 18 outlives, without a word, a recovery
        that has failed after a crash (of a full disk, say)."""
        import psutil  # noqa: PLC0415 - rarely needed

        if self.process is None:
            return False
        try:
            titles = [" ".join(each.cmdline()) for each in psutil.Process(self.process.pid).children()]
        except psutil.Error:
            return False
        serves = any("walwriter" in title or "startup" in title for title in titles)
        return not serves and any("checkpointer" in title for title in titles)

    async def _make(self, binaries: Path, account: Account | None) -> None:
        unfinished = self.folder / "cluster.new"  # renamed when whole: an interrupted initdb leaves nothing half done
        shutil.rmtree(unfinished, ignore_errors=True)
        _own(unfinished, account)
        command = [str(binaries / "initdb"), "-D", str(as_seen_by_itself(unfinished, account)), "--username=postgres"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        # this provider sorts the same on every system, and its C.UTF-8 exists on every system
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.durable:
            command.append("--no-sync")
        maker = Child("initdb", log=self.child.log, note=self.child.note, account=account)
        maker.spawn(command, folder=unfinished, environment=_environment())
        try:
            await until(lambda: not maker.alive, 120)
        finally:
            await maker.stop(0)
        if maker.process is None or maker.process.returncode:
            raise EmbeddedError(f"Postgres could not be set up in {self.folder}:\n{tail(self.child.log)}")
        unfinished.rename(self.cluster)

    def _spawn(self, binaries: Path, account: Account | None) -> None:
        seen = as_seen_by_itself(self.cluster, account)
        socket = seen if self.socket == self.cluster else self.socket
        settings = {**_SETTINGS, "unix_socket_directories": str(socket)}
        if not self.durable:
            settings |= _UNSAFE
        command = [str(binaries / "postgres"), "-D", str(seen)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.child.spawn(command, folder=self.cluster, environment=_environment())

    def _lock(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return []

    def _ready(self) -> bool:
        """What `pg_ctl` looks at as well: the eighth line of the lock file."""
        lock = self._lock()
        ours = self.process is not None and lock[:1] == [str(self.process.pid)]
        return ours and self.child.alive and len(lock) > 7 and lock[7].strip() == "ready"

    def _lock_is_stale(self) -> bool:
        """Whether the lock file names a process that is no Postgres, which Postgres itself can't tell.

        Numbers are given again, in containers at once.
        """
        lock = self._lock()
        return bool(lock) and lock[0].isdecimal() and not runs(int(lock[0]), "postgres")


def _own(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _environment() -> dict[str, str]:
    """Ours without what would change Postgres behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "KEYFOLD_"))}
