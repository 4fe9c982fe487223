"""Connections to Postgres, and the one place where its failures become `Unavailable`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from keyfold.app.patience import in_time
from keyfold.app.trouble import Trouble
from keyfold.domain.refusals import Unavailable

PATIENCE = 1.5
"""Seconds that a caller waits for Postgres at the most; the answer 503 is due within two."""

LONGEST = 30.0
"""Seconds that any statement takes at the most, a projection's batch for instance: longer means nobody is there."""

NO_ROOM = (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError)
"""What a Postgres says that can be asked, and whose disk is full or broken."""

OUTAGE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    *NO_ROOM,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
"""What a stopped, starting, failing, overloaded or not yet prepared Postgres makes asyncpg raise."""


def unavailable() -> Unavailable:
    return Unavailable("The database can't be reached. Nothing is lost; try again in a moment.")


async def _as_it_is(connection: asyncpg.Connection) -> None:
    """Nobody changes a session here, so there is nothing to undo when a connection goes back: asyncpg's own way would
    ask the server for it, which costs as much again as a small statement. What is left of a transaction it rolls back.
    """


class Line:
    """One connection for one who is at work all the time: to take one of the pool and give it back costs as much as a
    small statement. Made when it is first needed, and anew after a failure."""

    def __init__(self, postgres: "Postgres") -> None:
        self._postgres = postgres
        self._connection: asyncpg.Connection | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Raises `Unavailable` for every kind of outage, here and in the body."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._postgres.connect()
            yield self._connection
        except BaseException as error:
            self.drop()
            if isinstance(error, OUTAGE):
                raise unavailable() from error
            raise

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Postgres:
    """A pool for one login. Opens lazily, so that a process starts before its database does."""

    def __init__(self, url: str, *, name: str, schema: str = "keyfold", size: int = 8) -> None:
        self.url = url
        self._size = size
        self._session = {
            "application_name": name,
            "search_path": schema,
            "timezone": "UTC",
            # whoever gave up has closed the connection: what it asked for ends with it, and is not done much later
            "client_connection_check_interval": "1s",
            # a process that hangs amid a transaction keeps nobody else from the rows
            "idle_in_transaction_session_timeout": "5s",
            # costs more than it saves on statements of microseconds
            "jit": "off",
            # a plan made while a table was small stays with the connection: it must use the indexes from the beginning
            "enable_seqscan": "off",
        }
        self._pool: asyncpg.Pool | None = None
        self._lines: list[Line] = []
        self.trouble = Trouble()

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=self._size,
            timeout=PATIENCE,
            command_timeout=LONGEST,
            server_settings=self._session,
            reset=_as_it_is,
        )

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
        for line in self._lines:
            line.drop()

    def line(self) -> Line:
        """Closed with the pool."""
        self._lines.append(Line(self))
        return self._lines[-1]

    async def connect(self) -> asyncpg.Connection:
        """A connection of one's own, outside the pool."""
        return await asyncpg.connect(self.url, timeout=PATIENCE, command_timeout=LONGEST, server_settings=self._session)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool. Raises `Unavailable` for every kind of outage, here and in the body."""
        if self._pool is None:
            raise unavailable()
        try:
            async with in_time(PATIENCE):
                connection = await self._pool.acquire()
            try:
                yield connection
            except asyncio.CancelledError:
                # a query is under way: to give its connection back would wait for a server that may not answer
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection)
        except OUTAGE as outage:
            raise unavailable() from outage

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._in_time(), self.connection() as connection:
            return await connection.fetch(statement, *arguments)  # type: ignore[no-any-return]

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        async with self._in_time(), self.connection() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        async with self._in_time(), self.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with in_time(PATIENCE):
                yield
        except TimeoutError as late:
            raise unavailable() from late
