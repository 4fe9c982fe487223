"""The end of the log, asked again and again: which streams have moved."""

from typing import Any

import asyncpg

from keyfold.app.patience import in_time
from keyfold.store.postgres import PATIENCE, Postgres, unavailable
from keyfold.store.queries import query


class Tail:
    """Has a connection of its own, made when it is first asked: no slow query in the pool makes its answer late.

    Both questions raise `Unavailable`, also for what is no outage: whoever asks can do without an answer for a while.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._line = postgres.line()

    async def head(self) -> int:
        """The last position, 0 when the log is empty."""
        ((head,),) = await self._fetch("head")
        return int(head)

    async def moved_after(self, position: int, most: int) -> list[tuple[int, str]]:
        """The first `most` positions after that one, in order, each with its stream."""
        return [(row["position"], row["stream"]) for row in await self._fetch("moved_after", position, most)]

    async def _fetch(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            async with in_time(PATIENCE), self._line.connection() as connection:
                return await connection.fetch(query(name), *arguments)  # type: ignore[no-any-return]
        except (TimeoutError, asyncpg.PostgresError) as error:
            raise unavailable() from error
