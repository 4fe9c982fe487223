"""Libraries between a process and the C library, made at test time: disks that fail, clocks that are stepped."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FAILING_SYNC = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int broken(void) { const char *file = getenv("FAILING_SYNC"); return file && access(file, F_OK) == 0; }
int fsync(int file) { if (broken()) { errno = EIO; return -1; } return syscall(SYS_fsync, file); }
int fdatasync(int file) { if (broken()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, file); }
"""
_STEPPED_CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *offset;
static long seconds(void) {
    if (!offset) {
        const char *file = getenv("STEPPED_CLOCK");
        int opened = file ? open(file, O_RDONLY) : -1;
        if (opened < 0) return 0;
        offset = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, opened, 0);
        close(opened);
    }
    return *offset;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds();
    return done;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
"""


class Shim:
    """A library, and the file by which it is told what to do, named by a variable. All may read it, since Postgres has
    its own user."""

    def __init__(self, variable: str, source: str, folder: Path) -> None:
        self._variable = variable
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler here")
        self._library, self.file = folder / "shim.so", folder / "told"
        command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(self._library)]
        subprocess.run(command, input=source.encode(), check=True)
        folder.chmod(0o755)

    @contextmanager
    def around(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Processes that are made meanwhile have it, beside others."""
        with monkeypatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(self._library), prepend=":")
            patch.setenv(self._variable, str(self.file))
            yield


class FailingSync(Shim):
    """No write can be brought to the disk while `breaks`."""

    @contextmanager
    def breaks(self) -> Iterator[None]:
        self.file.touch()
        try:
            yield
        finally:
            self.file.unlink()


class SteppedClock(Shim):
    """The time of day, set wrong by some seconds; the monotonic clock goes on as it does."""

    def step(self, seconds: int) -> None:
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644), "wb", buffering=0) as file:
            file.write(struct.pack("l", seconds))


@contextmanager
def failing_sync() -> Iterator[FailingSync]:
    with tempfile.TemporaryDirectory() as folder:
        yield FailingSync("FAILING_SYNC", _FAILING_SYNC, Path(folder))


@contextmanager
def stepped_clock() -> Iterator[SteppedClock]:
    with tempfile.TemporaryDirectory() as folder:
        clock = SteppedClock("STEPPED_CLOCK", _STEPPED_CLOCK, Path(folder))
        clock.step(0)
        yield clock
