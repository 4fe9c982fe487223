"""Where the time goes: a profile of our side, on standard error."""

import cProfile
import pstats
import sys
from collections import Counter
from pathlib import Path

from .measure import Side

_LINES = 28
_PACKAGES = 10
_BUILT_IN = "~"


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
    """What each package took by itself, and the functions that took the most. A server's waiting is on whichever
    started it."""
    print(f"\n== profile: {title}", file=sys.stderr)
    statistics = pstats.Stats(source if isinstance(source, cProfile.Profile) else str(source), stream=sys.stderr)
    for package, seconds in shares(statistics).most_common(_PACKAGES):
        print(f"{seconds:8.3f} s  {package}", file=sys.stderr)
    statistics.sort_stats("tottime").print_stats(_LINES)


def shares(statistics: pstats.Stats) -> Counter[str]:
    """Seconds of each package; what is built in counts for whoever called it."""
    found: Counter[str] = Counter()
    for function, (_, _, own, _, callers) in statistics.stats.items():  # type: ignore[attr-defined]  # not in typeshed
        if function[0] != _BUILT_IN:
            found[_package(function[0])] += own
            continue
        for caller, (*_, own_then, _) in callers.items():
            found[_package(caller[0])] += own_then
    return found


def _package(path: str) -> str:
    """`litestar` or `keyfold.store`; Python itself for all else."""
    for root, depth in (("/site-packages/", 1), ("/src/keyfold/", 2)):
        if root in path:
            parts = (path.partition(root)[2] if depth == 1 else f"keyfold/{path.partition(root)[2]}").split("/")
            return ".".join(parts[:depth]).removesuffix(".py")
    return "Python"
