"""One child process: it dies with us, writes to a log, and leaves a note by which its orphan is recognised."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keyfold.cli.embedded.binaries import Account, EmbeddedError

_BECOME = Path(__file__).with_name("become.py")
_LOG_LIMIT = 20 * 1024 * 1024


class Child:
    """A program that runs until it is stopped. `process` is None before the first start.

    The child gets its own session, so that a Ctrl-C on the terminal reaches us alone and we stop everything in order;
    on Linux it gets `stop_signal` when we are killed, elsewhere the next start finds its note.
    """

    def __init__(
        self,
        name: str,
        *,
        log: Path,
        note: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        account: Account | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.log = log
        self.note = note
        self.stop_signal = stop_signal
        self.account = account
        self.say = say
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(
        self, command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts it; whether it is any good is for the caller to find out."""
        me = self.account or Account(os.geteuid(), os.getegid())
        numbers = [int(self.stop_signal), os.getpid(), me.uid, me.gid]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own binaries
                [sys.executable, "-I", "-S", str(_BECOME), *map(str, numbers), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
                umask=0o077,
            )
        note = {"pid": self.process.pid, "started": time.time(), "command": list(command)}
        self.note.write_text(json.dumps(note))

    async def stop(self, grace: float = 10.0) -> None:
        """Asks it to end, and kills it when it hasn't within `grace` seconds."""
        if self.process is None:
            return
        if self.alive:
            self.process.send_signal(self.stop_signal)
            self.process.send_signal(signal.SIGCONT)  # one that is paused couldn't hear the other
            if not await until(lambda: not self.alive, grace):
                self.process.kill()
        self.process.wait()
        self.note.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL, for tests of what a crash leaves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def stop_orphan(self, grace: float = 20.0) -> None:
        """Ends the process that an earlier run of ours left, if it is still there."""
        try:
            note = json.loads(self.note.read_text())
        except (FileNotFoundError, ValueError):
            return
        orphan = _orphan(note)
        if orphan is not None:
            self.say(f"stopping the {self.name} that an earlier run left behind (process {orphan.pid})")
            _signal(orphan, self.stop_signal)
            _signal(orphan, signal.SIGCONT)
            if not await until(lambda: _gone(orphan), grace):
                _signal(orphan, signal.SIGKILL)
                if not await until(lambda: _gone(orphan), 5):
                    raise EmbeddedError(f"The {self.name} of an earlier run (process {orphan.pid}) can't be stopped.")
        self.note.unlink(missing_ok=True)


async def until(true: Callable[[], bool], seconds: float, *, every: float = 0.01) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(log.suffix + ".1"))


def _orphan(note: Mapping[str, Any]) -> Any:
    """The process of a note, unless its number has gone to another since (as it soon does in containers)."""
    import psutil  # noqa: PLC0415 - rarely needed

    try:
        process = psutil.Process(note["pid"])
        # a zombie has no command line any more; the clock may have been set a little
        if process.cmdline() == note["command"] and abs(process.create_time() - note["started"]) < 5:
            return process
    except psutil.Error:
        pass
    return None


def runs(number: int, name: str) -> bool:
    """Whether that process lives and is called so."""
    import psutil  # noqa: PLC0415

    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and name in process.name()
    except psutil.Error:
        return False


def _gone(process: Any) -> bool:
    import psutil  # noqa: PLC0415

    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(process: Any, number: signal.Signals) -> None:
    import psutil  # noqa: PLC0415

    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
