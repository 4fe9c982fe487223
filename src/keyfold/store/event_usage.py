"""How keys are used for events, in Postgres: added up over all processes and kept by the minute, then by the hour."""

from collections.abc import Collection

from keyfold.app.event_usage import ConsumerSample
from keyfold.app.usage_report import EventUsageView, Span, Total, report
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query


class EventUsageStore:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def add(self, batch: str, tallies: bytes) -> bool:
        """Adds a batch, JSON of a list of `Tally`, unless that was done before; whether it was now.

        Raises `Unavailable`.
        """
        async with self._postgres.connection() as connection:
            added: bool = await connection.fetchval(query("note_event_usage"), batch, tallies.decode())
        return added

    async def sample(self, minute: int, samples: Collection[ConsumerSample]) -> None:
        """Adds what consumers did since they were sampled before, to that minute. Raises `Unavailable`."""
        columns = [list(column) for column in zip(*samples, strict=True)]
        async with self._postgres.connection() as connection:
            await connection.execute(query("note_consumers"), minute, *columns)

    async def age(self) -> bool:
        """Adds up what is old, and forgets what is older; whether there may be more to do. Raises `Unavailable`."""
        async with self._postgres.connection() as connection:
            more: bool = await connection.fetchval(query("age_event_usage"))
        return more

    async def report(self, key_ids: list[str], span: Span) -> EventUsageView:
        """The usage of all these keys together. Raises `Unavailable`."""
        rows = await self._postgres.fetch(query("event_usage_of"), key_ids, span.first, span.end, span.step)
        latencies = await self._postgres.fetch(query("event_latencies_of"), key_ids, span.first, span.end)
        return report(span, [tuple(row) for row in rows], [tuple(row) for row in latencies])

    async def by_key(self, key_ids: list[str], span: Span) -> dict[str, dict[str, Total]]:
        """The totals by outcome of each of these keys that was used. Raises `Unavailable`."""
        found: dict[str, dict[str, Total]] = {}
        for row in await self._postgres.fetch(query("event_usage_by_key"), key_ids, span.first, span.end):
            found.setdefault(row["key_id"], {})[row["outcome"]] = Total(count=row["count"], bytes=row["bytes"])
        return found

    async def keys_of(self, workspace_id: str, partner_id: str, environments: Collection[str] | None) -> list[str]:
        """The ids of a partner's keys, of these environments if any are named. Raises `Unavailable`."""
        within = None if environments is None else [*environments]
        rows = await self._postgres.fetch(query("keys_of_partner"), workspace_id, partner_id, within)
        return [row["id"] for row in rows]
