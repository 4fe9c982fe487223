"""The scheduler: finds the keys that time has come for, by the projection, and lets their own state decide."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from keyfold.app.ports import Clock
from keyfold.app.schedules import Schedules
from keyfold.domain.refusals import Refusal, Unavailable
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.worker.loop import Halt

BATCH = 500
"""Keys whose state is asked for at once."""
LOOK = 1_000
"""Keys whose use one step looks at: with more of them, a round takes as many seconds as there are thousands."""
SLACK = timedelta(seconds=10)
"""How much later a key is found unused: uses are written down every few seconds only."""

Place = tuple[datetime, str]
_START: Place = (datetime.min.replace(tzinfo=UTC), "")


class Scheduler:
    """Goes through the keys in rounds and goes on behind the last one: while the projection stands still, what was
    written down for its first keys keeps it from no other."""

    def __init__(self, postgres: Postgres, schedules: Schedules, clock: Clock) -> None:
        self._postgres = postgres
        self._schedules = schedules
        self._clock = clock
        self._due = self._idle = _START

    async def step(self) -> bool:
        """Writes down what is due and suspends what is unused; whether there may be more that is due. Raises `Halt` for
        a key that it can't be done for, after it was done for the others."""
        now = self._clock()
        due = await self._postgres.fetch(query("due_keys"), now, *self._due, BATCH)
        idle = await self._postgres.fetch(query("idle_keys"), now - SLACK, *self._idle, LOOK)
        self._due, self._idle = _behind(due, BATCH), _behind(idle, LOOK)
        await self._for_each(self._schedules.write_due, [row["id"] for row in due])
        await self._for_each(self._schedules.suspend_unused, [row["id"] for row in idle if row["is_unused"]])
        return len(due) == BATCH

    @staticmethod
    async def _for_each(command: Callable[[str], Awaitable[None]], keys: list[str]) -> None:
        outcomes = await asyncio.gather(*[command(key_id) for key_id in keys], return_exceptions=True)
        failed = [error for error in outcomes if isinstance(error, BaseException)]
        if unavailable := [error for error in failed if isinstance(error, Unavailable)]:
            raise unavailable[0]
        for error in failed:
            # it would fail again after a restart: that mustn't end the relay and the projections each time
            if not isinstance(error, Refusal):
                raise Halt(f"what time brings to a key can't be written down: {type(error).__name__}") from error


def _behind(rows: list[Any], most: int) -> Place:
    """Where the next look begins: from the start when this one found the end."""
    return (rows[-1]["at"], rows[-1]["id"]) if len(rows) == most else _START
