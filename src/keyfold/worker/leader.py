"""Who does it when several could: whoever holds a Postgres advisory lock."""

import asyncio
from contextlib import suppress

import asyncpg

from keyfold.store.postgres import OUTAGE, Postgres
from keyfold.store.queries import query

BEAT = 1.0
"""Seconds between two signs of life of a leader."""
SILENCE = 5.0
"""Seconds without one after which somebody else may take the lock from it."""


class Leader:
    """Leads as long as the connection that holds the lock lives, which is as long as it shows signs of life: a process
    that hangs keeps its connections, and would lead for ever.

    Advice, not proof: what a leader writes is guarded again where it is written, by the expected sequence or by
    compare-and-set of the cursor.
    """

    def __init__(self, postgres: Postgres, name: str) -> None:
        self._postgres = postgres
        self._name = name
        self._connection: asyncpg.Connection | None = None
        self._beating: asyncio.Task[None] | None = None

    async def leads(self) -> bool:
        """Whether this process leads now; tries to, when nobody does."""
        if self._connection is not None and self._connection.is_closed():
            await self.resign()
        if self._beating is None:
            if self._connection is None:
                self._connection = await self._postgres.connect()
            if await self._connection.fetchval(query("lead"), self._name, SILENCE, timeout=1.5):
                self._beating = asyncio.create_task(_beat(self._connection))
        return self._beating is not None

    async def resign(self) -> None:
        """Lets the next one lead at once."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.close(timeout=1)
            except OUTAGE:
                self._connection.terminate()
        self._connection = self._beating = None


async def _beat(connection: asyncpg.Connection) -> None:
    """Until the connection is lost, which whoever leads finds by itself."""
    with suppress(*OUTAGE):
        while True:
            await asyncio.sleep(BEAT)
            await connection.execute("SELECT", timeout=SILENCE)
    connection.terminate()
