"""Trying again: how long to wait, and for how long to go on."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from keyfold_client.errors import KeyfoldError, Unreachable

T = TypeVar("T")

FIRST, LONGEST = 0.1, 5.0
"""Seconds of the first wait and of the longest."""


def waits(jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each further try: doubling, between a half and the whole, so that nobody comes in step."""
    whole = FIRST
    while True:
        yield whole * (0.5 + jitter() / 2)
        whole = min(LONGEST, whole * 2)


async def patiently(attempt: Callable[[float], Awaitable[T]], patience: float) -> T:
    """What `attempt` gives, which is told how many seconds are left, tried again for as long as that makes sense.

    Raises the last error.
    """
    deadline = time.monotonic() + patience
    for wait in waits():
        try:
            return await attempt(max(0.1, deadline - time.monotonic()))
        except KeyfoldError as error:
            pause = max(wait, error.retry_after or 0.0)
            if not error.is_transient or time.monotonic() + pause >= deadline:
                raise
        await asyncio.sleep(pause)
    raise Unreachable("Nothing was tried.")


async def soon(wait: float, error: KeyfoldError) -> None:
    """Waits before another try of something that goes on for ever; raises what would stay as it is."""
    if not error.is_transient:
        raise error
    await asyncio.sleep(max(wait, error.retry_after or 0.0))
