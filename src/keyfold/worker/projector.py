"""The projector: feeds one projection from JetStream, in order, a gap from the log."""

import asyncio

import asyncpg

from keyfold.app.sealing import SealBrokenError
from keyfold.bus.lifecycle import Delivered, LifecycleReader
from keyfold.metrics import PROJECTED, PROJECTION_LAG
from keyfold.store.data_keys import Opener
from keyfold.store.postgres import Postgres
from keyfold.store.projections.projection import (
    CursorMovedError,
    ForeignRecordError,
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
PAUSE = 0.002
"""Seconds until the next batch, unless this one was full: what comes in quick succession costs little more than one."""


class Projector:
    """Its cursor lives with the rows; what it holds in memory is only where it is reading."""

    def __init__(self, postgres: Postgres, reader: LifecycleReader, projection: Projection, opener: Opener) -> None:
        self._postgres = postgres
        self._line = postgres.line()
        self._reader = reader
        self._projection = projection
        self._opener = opener
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
        if delivered and len(delivered) < BATCH:
            await asyncio.sleep(PAUSE)
        return True  # the next step waits by itself

    async def _apply(self, cursor: int, delivered: list[Delivered]) -> None:
        fresh = [each for each in delivered if each.position > cursor]
        if not fresh:
            return
        async with self._line.connection() as connection:
            until = fresh[-1].position
            if [each.position for each in fresh] != [*range(cursor + 1, until + 1)]:
                fresh = await _from_log(connection, cursor, until)
            batch = await self._opened(connection, _readable(fresh))
            try:
                await self._project(connection, cursor, batch, fresh)
            except UnappliableError:
                if len(batch) == 1:
                    raise
                for each, its in zip(batch, fresh, strict=False):
                    # what comes before the one that can't be applied is held back by nothing
                    await self._project(connection, each.position - 1, [each], [its])
        PROJECTED.labels(self._projection.name).inc(len(batch))

    async def _project(
        self, connection: asyncpg.Connection, cursor: int, batch: list[Positioned], delivered: list[Delivered]
    ) -> None:
        """A message that no relay sent can only stand at the end of the stream: no relay publishes behind one."""
        last = delivered[len(batch) - 1].record
        try:
            self._cursor = await project(connection, self._projection, cursor, batch, last)
        except ForeignRecordError as error:
            raise _not_in_the_log(batch[-1].position) from error

    async def _opened(self, connection: asyncpg.Connection, batch: list[Positioned]) -> list[Positioned]:
        """With what is sealed in them. It is asked for after they have come: whoever was erased before isn't opened."""
        try:
            read, actors = [each.record for each in batch], self._projection.reads_actors
            records = await self._opener.open(connection.fetch, read, actors=actors)
        except SealBrokenError as error:
            raise Halt(f"behind position {batch[0].position - 1}: {error}") from error
        return [Positioned(each.position, record) for each, record in zip(batch, records, strict=True)]

    async def _look_around(self, cursor: int) -> None:
        """Nothing arrived: is there something? Then the stream was lost under the reader, or a crash of Postgres took
        the newest rows with their cursor, and it begins anew."""
        ((position, head),) = await self._postgres.fetch(query("standing"), self._projection.name)
        PROJECTION_LAG.labels(self._projection.name).set(head - position)
        if position != cursor or head > cursor:
            self._cursor = None


def _not_in_the_log(position: int) -> Halt:
    return Halt(f"position {position} of the stream is not what the log says")


async def _from_log(connection: asyncpg.Connection, after: int, until: int) -> list[Delivered]:
    """A stretch with gaps, read from the log instead."""
    rows = await connection.fetch(query("read_after"), after, min(until - after, BATCH))
    if not rows:
        raise _not_in_the_log(until)
    return [Delivered(row["position"], row["record"].encode()) for row in rows]


def _readable(delivered: list[Delivered]) -> list[Positioned]:
    """As far as they can be read. Raises `UnappliableError` when the first can't; what is left out comes again."""
    batch: list[Positioned] = []
    for each in delivered:
        try:
            batch.append(read_positioned(*each))
        except UnappliableError:
            if not batch:
                raise
            break
    return batch
