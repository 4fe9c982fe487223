"""What a projection is, and how a batch of events gets into it: rows and cursor in one transaction."""

from typing import NamedTuple, Protocol

import asyncpg

from keyfold.domain.key_events import KeyErased
from keyfold.domain.partner import PartnerErased
from keyfold.domain.record import Record, read_record
from keyfold.store.queries import query


class Positioned(NamedTuple):
    """A record with its place in the log."""

    position: int
    record: Record


class Projection(Protocol):
    """`apply` writes to tables by their bare names: which schema that is, live or rebuilt, is not its business.
    `reads_actors` says whether it looks at what of the actors is sealed."""

    name: str
    tables: tuple[str, ...]
    reads_actors: bool

    async def apply(self, connection: asyncpg.Connection, batch: list[Positioned]) -> None:
        """Applies events in order. Raises `UnappliableError`."""
        ...


class CursorMovedError(Exception):
    """Another process has applied events meanwhile; this batch was not applied."""


class ForeignRecordError(Exception):
    """What is to be applied last isn't what the log says at its position."""


class UnappliableError(Exception):
    """An event that the projection can't take. It is never skipped."""

    def __init__(self, position: int, why: object) -> None:
        super().__init__(f"position {position} can't be applied: {type(why).__name__}: {why}")


def erased_in(batch: list[Positioned]) -> list[str]:
    """The streams that a batch says were erased."""
    return [each.record.stream for each in batch if each.record.type in (PartnerErased.type, KeyErased.type)]


def read_positioned(position: int, text: str | bytes) -> Positioned:
    """Raises `UnappliableError` for what is not a record."""
    try:
        return Positioned(position, read_record(text))
    except ValueError as error:
        raise UnappliableError(position, error) from error


async def cursor_of(connection: asyncpg.Connection, projection: Projection) -> int:
    return int(await connection.fetchval(query("cursor"), projection.name))


async def project(
    connection: asyncpg.Connection, projection: Projection, after: int, batch: list[Positioned], last: bytes
) -> int:
    """Applies what comes right after the cursor `after`, and gives the new one. `last` is the text of the last record.

    Raises `CursorMovedError`, `ForeignRecordError` and `UnappliableError`: nothing of the batch was applied, and its
    first event is named where Postgres doesn't say which it was.
    """
    async with connection.transaction():
        until = batch[-1].position
        row = await connection.fetchrow(query("advance"), projection.name, after, until)
        if row is None:
            raise CursorMovedError
        if row["record"] is None or row["record"].encode() != last:
            raise ForeignRecordError
        try:
            await projection.apply(connection, batch)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise UnappliableError(batch[0].position, error) from error
    return until
