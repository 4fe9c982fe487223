"""Where the time goes: a profile of our side, on standard error."""

import cProfile
import pstats
import sys
from pathlib import Path

from .measure import Side

_LINES = 28


async def profile(title: str, side: Side) -> None:
    """One more round of a side that runs in this process."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        await side()
    finally:
        profiler.disable()
    show(title, profiler)


def show(title: str, source: cProfile.Profile | Path) -> None:
    """The functions that took the most time by themselves. A server's waiting is on whichever started it."""
    print(f"\n== profile: {title}", file=sys.stderr)
    statistics = pstats.Stats(source if isinstance(source, cProfile.Profile) else str(source), stream=sys.stderr)
    statistics.sort_stats("tottime").print_stats(_LINES)
