"""How keys are used, in Postgres: added up over all processes."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from keyfold.app.usage import KeyUsage, Observed, Usage
from keyfold.store.postgres import PATIENCE, Postgres
from keyfold.store.queries import query

BATCH = 5_000
"""Rows of each kind that one statement writes: about a tenth of a second."""


class Neighbour(NamedTuple):
    """A key that was used from an address, and when last."""

    key_id: str
    address: str
    last_at: datetime


class UsageStore:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def flush(self, usage: Usage) -> bool:
        """Writes what was noted, as a loop's step with nothing more to do. Raises `Unavailable`.

        What isn't written is put back. So is what may have been, when the answer was lost: it is counted twice.
        """
        observed = usage.drain()
        try:
            while observed.uses or observed.sights:
                await self._write_some(observed)
        except BaseException:
            usage.put_back(observed)
            raise
        return False

    async def of(self, key_ids: list[str]) -> dict[str, KeyUsage]:
        """The usage of each of these keys, of one never used too. Raises `Unavailable`."""
        found: dict[str, list[Any]] = {key_id: [] for key_id in key_ids}
        for row in await self._postgres.fetch(query("usage_of"), key_ids):
            found[row["key_id"]].append(row)
        return {key_id: _key_usage(rows) for key_id, rows in found.items()}

    async def neighbours(self, key_id: str, since: datetime) -> list[Neighbour]:
        """Other keys used, whenever, from an address that this key was used from since then. Newest first, up to 1,000.

        Of all workspaces: whoever shows them must leave out what the caller doesn't see. Raises `Unavailable`.
        """
        rows = await self._postgres.fetch(query("usage_neighbours"), key_id, since)
        return [Neighbour(*row) for row in rows]

    async def _write_some(self, observed: Observed) -> None:
        """Writes the first of what was observed, and takes it out."""
        uses = list(islice(observed.uses.items(), BATCH))
        sights = list(islice(observed.sights.items(), BATCH))
        arguments = (
            *_columns(((*which, use.count, use.last_at) for which, use in uses), 5),
            *_columns(((*pair, sight.first_at, sight.last_at) for pair, sight in sights), 4),
        )
        async with self._postgres.connection() as connection:
            # this timeout cancels the statement in Postgres too: left there behind a lock, it would write after all
            await connection.execute(query("note_usage"), *arguments, timeout=PATIENCE)
        for which, _ in uses:
            del observed.uses[which]
        for pair, _ in sights:
            del observed.sights[pair]


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _key_usage(rows: list[Any]) -> KeyUsage:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["outcome"]] = counts.get(row["outcome"], 0) + row["count"]
    valid = [row for row in rows if row["outcome"] == "valid"]
    return KeyUsage(
        last_used_at=max((row["last_at"] for row in valid), default=None),
        counts=counts,
        last_used_by_action={row["action"]: row["last_at"] for row in valid if row["action"]},
    )
