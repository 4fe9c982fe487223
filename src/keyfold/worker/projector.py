"""The projector: feeds one projection from JetStream, in order, a gap from the log."""

from keyfold.bus.lifecycle import Delivered, LifecycleReader
from keyfold.metrics import PROJECTED, PROJECTION_LAG
from keyfold.store.postgres import Postgres
from keyfold.store.projections.projection import (
    CursorMovedError,
    Positioned,
    Projection,
    UnappliableError,
    cursor_of,
    project,
    read_positioned,
)
from keyfold.store.queries import query
from keyfold.worker.loop import Halt

BATCH = 1_000
WAIT = 0.5
"""Seconds that a step waits for an event."""


class Projector:
    """Its cursor lives with the rows; what it holds in memory is only where it is reading."""

    def __init__(self, postgres: Postgres, reader: LifecycleReader, projection: Projection) -> None:
        self._postgres = postgres
        self._reader = reader
        self._projection = projection
        self._cursor: int | None = None

    async def step(self) -> bool:
        """Applies what has arrived. Raises `Halt` for an event that can't be applied."""
        if self._cursor is None or not self._reader.is_open:
            async with self._postgres.connection() as connection:
                self._cursor = await cursor_of(connection, self._projection)
            await self._reader.open(self._cursor)
        delivered = await self._reader.batch(BATCH, WAIT)
        try:
            if delivered:
                await self._apply(self._cursor, delivered)
            else:
                await self._look_around(self._cursor)
        except CursorMovedError:
            self._cursor = None
        except UnappliableError as error:
            self._cursor = None
            raise Halt(str(error)) from error
        except BaseException:
            self._cursor = None  # what was delivered is lost to us: read it again
            raise
        return True  # the next step waits by itself

    async def _apply(self, cursor: int, delivered: list[Delivered]) -> None:
        fresh = [each for each in delivered if each.position > cursor]
        if not fresh:
            return
        batch = [read_positioned(*each) for each in fresh]
        async with self._postgres.connection() as connection:
            if len(batch) != batch[-1].position - cursor:
                batch = await self._from_log(cursor, batch[-1].position)
            self._cursor = await project(connection, self._projection, cursor, batch)
        PROJECTED.labels(self._projection.name).inc(len(batch))

    async def _from_log(self, after: int, until: int) -> list[Positioned]:
        """A stretch with gaps, read from the log instead."""
        rows = await self._postgres.fetch(query("read_after"), after, min(until - after, BATCH))
        return [read_positioned(row["position"], row["record"]) for row in rows]

    async def _look_around(self, cursor: int) -> None:
        """Nothing arrived: is there something? Then the stream was lost under the reader, and it begins anew."""
        head = await self._postgres.fetchval(query("head"))
        PROJECTION_LAG.labels(self._projection.name).set(head - cursor)
        if head > cursor:
            self._cursor = None
