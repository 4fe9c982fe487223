"""The arithmetic: rounds of several sides in turn, medians, ratios, percentiles, and whether a bound is kept."""

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import msgspec

Side = Callable[[], Awaitable[float]]
"""Runs one round and gives its figure."""

Figure = Literal["ratio", "rate", "p50", "p99", "worst", "late", "seconds"]
"""`rate` is so many a second, `p50`, `p99` and `worst` are milliseconds, `late` counts, `ratio` is ours to theirs."""


class Bound(msgspec.Struct, frozen=True):
    """One number of the design's section 10: what is measured, and the least or the most that it should be."""

    figure: Figure
    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: what is measured, against what, and its target; without one it is there to be known.
    `is_profiled` is false where `--profile` has nothing of ours to show."""

    name: str
    what: str
    against: str
    bounds: tuple[Bound, ...]
    is_profiled: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a row came to. `ours` and `theirs` are the figures of the rounds, all of them rates, times or sizes by
    `unit` (a KB is 1,000 bytes); `figures` has what the row's bounds are about. `skipped` says why there is nothing."""

    row: str
    unit: Literal["/s", "ms", "s", "KB"] = "/s"
    ours: list[float] = []
    theirs: list[float] = []
    figures: dict[Figure, float] = {}
    skipped: str = ""

    @property
    def our_median(self) -> float | None:
        return statistics.median(self.ours) if self.ours else None

    @property
    def their_median(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    def is_met(self, row: Row) -> bool | None:
        """Whether every bound holds; None for a row that was skipped, or has none."""
        if self.skipped or not row.bounds:
            return None
        return all(bound.holds(self.figures[bound.figure]) for bound in row.bounds)


def compared(row: str, ours: Sequence[float], theirs: Sequence[float]) -> Outcome:
    """Rates of two sides in the same rounds."""
    figures: dict[Figure, float] = {"ratio": ratio(ours, theirs), "rate": statistics.median(ours)}
    return Outcome(row=row, ours=[*ours], theirs=[*theirs], figures=figures)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios: what slows a whole round down slows both of its sides."""
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is no less than `share` (0 to 1) of them all."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def interleaved(sides: Mapping[str, Side], rounds: int, *, uncounted: int = 1) -> dict[str, list[float]]:
    """Each side's figures, by round, after so many that don't count.

    Every other round goes backwards, so that a machine that gets slower or faster meanwhile favours no side.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-uncounted, rounds):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for name in order:
            figure = await sides[name]()
            if number >= 0:
                figures[name].append(figure)
    return figures
