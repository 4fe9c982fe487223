"""Disks of a test's own: small ones, that fill up."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from keyfold.cli.embedded import Postgres as Server
from keyfold.cli.embedded.supervisor import Supervisor

LEAST = 4096
"""Bytes of a block."""


class Disk:
    """A file system of a few megabytes in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Until no block is left."""
        size = 2**20
        with self._ballast.open("ab", buffering=0) as file:
            while size >= LEAST:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                except OSError:
                    size //= 2

    def clear(self) -> None:
        """What filled it is gone."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Mounted there. Skips the test where that isn't permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def move_to(disk: Disk, folder: Path) -> None:
    """A folder beside the disk's parent goes to it. By a relative link: Postgres' user can't walk the whole path."""
    subprocess.run(["cp", "-a", f"{folder}/.", str(disk.folder)], check=True)
    owner = folder.stat()
    os.chown(disk.folder, owner.st_uid, owner.st_gid)
    folder.rename(folder.with_name(f"{folder.name}.before"))
    folder.symlink_to(Path("..") / disk.folder.name)


@asynccontextmanager
async def looked_after(server: Server) -> AsyncIterator[None]:
    """By what looks after it in `keyfold up`."""
    supervisor = Supervisor(server.child, server.start, say=print, is_stuck=server.is_stuck)
    task = asyncio.create_task(supervisor.run())
    try:
        yield
        assert not task.done(), "it has given up"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
