"""Becomes another program: under another user if asked, and with a signal to come when its parent dies.

Run by its file name, importing nothing of Keyfold: `become.py SIGNAL PARENT UID GID PROGRAM ARGUMENT…`.
Doing this after `exec`, and not in a `preexec_fn`, is safe however many threads the parent has.
"""

import os
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    signal, parent, uid, gid = (int(number) for number in sys.argv[1:5])
    command = sys.argv[5:]
    libc = _libc()  # before setuid: the other user may not be able to read our Python
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal)  # after setuid, which would clear it
        if os.getppid() != parent:  # died before we asked
            sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _libc() -> Any:
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - costs 10 ms that other systems needn't pay

    return ctypes.CDLL(None)


main()
