"""How keys are used: counts and last times by outcome, and the addresses they come from.

Observations, not facts: added up in memory, written now and then, never an event each.
"""

import re
from datetime import datetime
from typing import NamedTuple

import msgspec

CAPACITY = 100_000
"""Distinct uses, and distinct addresses, that a process keeps while they can't be written."""

_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")


class KeyUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a key has been used. Uses are those found `valid`; `counts` has every outcome."""

    last_used_at: datetime | None = None
    counts: dict[str, int] = {}
    last_used_by_action: dict[str, datetime] = {}


class Use(msgspec.Struct):
    count: int
    last_at: datetime


class Sight(msgspec.Struct):
    first_at: datetime
    last_at: datetime


class Observed(NamedTuple):
    """Uses by key id, outcome and action ('' where none was asked about); sights by key id and address."""

    uses: dict[tuple[str, str, str], Use]
    sights: dict[tuple[str, str], Sight]


class Usage:
    """What one process has observed and not yet written. `dropped` counts what there was no room for."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._uses: dict[tuple[str, str, str], Use] = {}
        self._sights: dict[tuple[str, str], Sight] = {}

    def note(
        self, key_id: str, outcome: str, at: datetime, *, action: str | None = None, address: str | None = None
    ) -> None:
        """One verification of a key that exists. An address that is none, by its characters, isn't kept."""
        self._add_use((key_id, outcome, action or ""), 1, at)
        if address is not None:
            self._add_sight((key_id, address), at, at)

    def drain(self) -> Observed:
        """All that was noted since the last time. What can't be written is to be put back."""
        observed = Observed(self._uses, self._sights)
        self._uses, self._sights = {}, {}
        return observed

    def put_back(self, observed: Observed) -> None:
        """As if it had not been drained. When there isn't room for both, the older stays."""
        newer = self.drain()
        self._uses, self._sights = observed
        for which, use in newer.uses.items():
            self._add_use(which, use.count, use.last_at)
        for pair, sight in newer.sights.items():
            self._add_sight(pair, sight.first_at, sight.last_at)

    def _add_use(self, which: tuple[str, str, str], count: int, at: datetime) -> None:
        use = self._uses.get(which)
        if use is not None:
            use.count += count
            if at > use.last_at:  # noqa: PLR1730  # max() and min() would double what a note costs
                use.last_at = at
        elif len(self._uses) < self._capacity:
            self._uses[which] = Use(count, at)
        else:
            self.dropped += count

    def _add_sight(self, pair: tuple[str, str], first_at: datetime, last_at: datetime) -> None:
        sight = self._sights.get(pair)
        if sight is not None:
            if first_at < sight.first_at:  # noqa: PLR1730
                sight.first_at = first_at
            if last_at > sight.last_at:  # noqa: PLR1730
                sight.last_at = last_at
        elif len(self._sights) >= self._capacity:
            self.dropped += 1
        # comes from clients: a text that Postgres refuses would hold up all the others, flush after flush
        elif _ADDRESS.fullmatch(pair[1]):
            self._sights[pair] = Sight(first_at, last_at)
