"""The audit trail of a workspace as it grows, for those who follow it."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from keyfold.store.lists import Lists
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

EVERY = 0.05
"""Seconds between two looks at how far the projections are, for all followers of a process together."""

PAGE = 200


class Feed:
    """What the projections have, they have in order and without a gap: whoever follows misses nothing and gets nothing
    twice, whatever happens to NATS. Both are waited for, since the trail of a narrowed caller takes both."""

    def __init__(self, postgres: Postgres, lists: Lists) -> None:
        self._postgres = postgres
        self._lists = lists
        self._turn = asyncio.Lock()
        self._next = 0.0
        self._shown = 0

    async def follow(
        self, workspace_id: str, filters: Mapping[str, object], *, after: int, until: int | None
    ) -> AsyncIterator[tuple[int, str]]:
        """Positions and records behind a position, up to another one; or without end. Raises `Unavailable`."""
        async for page in self.pages(workspace_id, filters, after=after, until=until):
            for each in page:
                yield each

    async def pages(
        self, workspace_id: str, filters: Mapping[str, object], *, after: int, until: int | None
    ) -> AsyncIterator[list[tuple[int, str]]]:
        """The same, as many at a time as were read at once."""
        while until is None or after < until:
            shown = await self._beyond(after)
            shown = shown if until is None else min(shown, until)
            while rows := await self._lists.trail(workspace_id, filters, after=after, until=shown, limit=PAGE):
                yield rows
                after = rows[-1][0]
                if len(rows) < PAGE:
                    break
            after = max(after, shown)

    async def _beyond(self, position: int) -> int:
        """How far the projections are, once that is beyond a position."""
        while (shown := await self._look()) <= position:  # noqa: ASYNC110  # there is no event: it happens in Postgres
            await asyncio.sleep(EVERY)
        return shown

    async def _look(self) -> int:
        """Asks for all who wait, and not more often than is said above."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now >= self._next:
                self._shown = await self._postgres.fetchval(query("shown"))
                self._next = now + EVERY
            return self._shown
