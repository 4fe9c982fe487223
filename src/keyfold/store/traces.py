"""What a key has left behind, in Postgres: the keys that it issued, and those of the addresses that it came from."""

from datetime import datetime

from keyfold.app.compromise import Trace
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.store.usage import UsageStore


class TraceStore:
    """Implements `keyfold.app.compromise.Traces`."""

    def __init__(self, postgres: Postgres, usage: UsageStore) -> None:
        self._postgres = postgres
        self._usage = usage

    async def of(self, workspace_id: str, key_id: str, since: datetime) -> list[Trace]:
        issued = [Trace(*row) for row in await self._postgres.fetch(query("traces"), workspace_id, key_id, since)]
        used = [
            Trace(each.key_id, "used-from", each.address, each.last_at)
            for each in await self._usage.neighbours(key_id, since)
            if each.last_at >= since
        ]
        return sorted([*issued, *used], key=lambda trace: trace.at, reverse=True)
