"""The data folder of `keyfold up`: whose it is, who uses it now, and what is remembered in it."""

import base64
import contextlib
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from keyfold.cli.embedded.binaries import EmbeddedError

_MARKER = "keyfold-data.json"
_LOCK = "lock"
_NOT_CONTENT = {"lost+found"}  # on a volume of its own


def default_folder() -> Path:
    """Where data goes unless said otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/keyfold")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "keyfold"


def running(folder: Path) -> dict[str, Any] | None:
    """What `keyfold up` wrote when it was ready: `pid`, `url`, `natsUrl`, and the variables of `api` and `worker`.

    None when it doesn't run any more.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "running.json").read_text())
        descriptor = _lock(folder, seconds=0)  # says more than the pid, which may be another's by now
    except PermissionError as error:
        raise EmbeddedError(f"{folder} belongs to another user: run this as the user of `keyfold up`.") from error
    except (OSError, ValueError):
        return None
    if descriptor is None:
        return found
    os.close(descriptor)
    return None


class Folder:
    """A data folder that this process alone uses."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._held: int | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def open(self) -> None:
        """Makes it if need be, and locks it. Raises `EmbeddedError` when it isn't ours to use."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = {entry.name for entry in self.path.iterdir()} - _NOT_CONTENT
            if names - {_LOCK} and _MARKER not in names:
                raise EmbeddedError(
                    f"{self.path} isn't empty, and isn't a data folder of Keyfold: name another, --data."
                )
            self._held = _lock(self.path, seconds=0.5)
            if self._held is None:
                raise EmbeddedError(_who_uses(self.path))
            os.ftruncate(self._held, 0)
            os.write(self._held, str(os.getpid()).encode())
            if _MARKER not in names:
                self.write(_MARKER, {"format": 1})
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(f"The data folder {self.path} can't be used: {error.strerror}.") from error

    def close(self) -> None:
        self.forget("running.json")
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def empty(self) -> None:
        """Deletes all that is in it, but for the two files that make it ours."""
        for entry in self.path.iterdir():
            if entry.name in {_MARKER, _LOCK, *_NOT_CONTENT}:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.logs.mkdir(mode=0o700)

    def read(self, name: str) -> dict[str, Any]:
        """A remembered object; empty when there is none."""
        try:
            found = json.loads((self.path / name).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Whole or not at all, and for nobody else to read."""
        fresh = self.path / f"{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / name)

    def forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.path / name).unlink()

    def secrets(self) -> dict[str, str]:
        """The pepper, without which no key of the folder is valid, the root of NATS' keys, and the key that signs the
        log's checkpoints; each is made up once."""
        found = self.read("secrets.json")
        if not found:
            if (self.path / "postgres").exists():
                raise EmbeddedError(
                    f"{self.path / 'secrets.json'} is lost, and with it every key: restore it, or --reset."
                )
            found = {"pepper": base64.b64encode(secrets.token_bytes(32)).decode()}
        made = {"natsRoot": _nats_root, "logKey": _log_key}
        if lacking := made.keys() - found.keys():
            self.write("secrets.json", found := found | {name: made[name]() for name in sorted(lacking)})
        return found


def _nats_root() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _log_key() -> str:
    from keyfold.audit.signing import Signer  # noqa: PLC0415 - of use once in a folder's life

    return Signer.generate("localhost/keyfold").secret_key()


def _lock(folder: Path, *, seconds: float) -> int | None:
    """The lock of a folder, held until this descriptor is closed; None if another process has it."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        raise EmbeddedError("`keyfold up` runs on Linux and macOS; on Windows use WSL.") from None
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)  # somebody may just be asking whether we run
    return descriptor


def _who_uses(folder: Path) -> str:
    pid = (folder / _LOCK).read_text() or "?"
    found = running(folder)
    where = f" at {found['url']}" if found else ""
    return f"Keyfold already runs in {folder}: process {pid}{where}. Stop it first, or name another folder with --data."
