"""Who does it when several could: whoever holds a Postgres advisory lock."""

import asyncpg

from keyfold.store.postgres import OUTAGE, Postgres


class Leader:
    """Leads as long as the connection that holds the lock lives. Advice, not proof: what a leader writes is guarded
    again where it is written, by the expected sequence or by compare-and-set of the cursor."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self._postgres = postgres
        self._name = name
        self._connection: asyncpg.Connection | None = None
        self._leads = False

    async def leads(self) -> bool:
        """Whether this process leads now; tries to, when nobody does."""
        if self._connection is not None and self._connection.is_closed():
            self._connection, self._leads = None, False
        if not self._leads:
            if self._connection is None:
                self._connection = await self._postgres.connect()
            statement = "SELECT pg_try_advisory_lock(hashtext('keyfold leader'), hashtext($1))"
            self._leads = await self._connection.fetchval(statement, self._name, timeout=1.5)
        return self._leads

    async def resign(self) -> None:
        """Lets the next one lead at once."""
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.close(timeout=1)
            except OUTAGE:
                self._connection.terminate()
        self._connection, self._leads = None, False
