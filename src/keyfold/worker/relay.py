"""The relay: from the log to JetStream, in order, each event on the sequence that is its position."""

import re

import msgspec
from nats.js.errors import NotFoundError

from keyfold.bus.lifecycle import LifecycleStream
from keyfold.bus.subjects import lifecycle
from keyfold.domain.record import read_record
from keyfold.metrics import RELAYED
from keyfold.store.journal import Logged
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.worker.loop import Halt

BATCH = 256
"""Events on their way to the server at once."""
_TOKENS = re.compile(r"[A-Za-z0-9_.-]+")


class _Tenanted(msgspec.Struct, rename="camel"):
    """All that the relay needs of an event."""

    workspace_id: str


class Relay:
    """Its cursor is the stream's own last sequence: it resumes exactly, and a second relay is refused by the server."""

    def __init__(self, postgres: Postgres, stream: LifecycleStream) -> None:
        self._postgres = postgres
        self._stream = stream
        self._cursor: int | None = None

    async def step(self) -> bool:
        """Publishes the next batch; whether there may be more. Raises `Halt` when stream and log disagree."""
        cursor, self._cursor = self._cursor, None  # whatever fails below, the next step looks again
        if cursor is None:
            cursor = await self._agreed_end()
        rows = [Logged(*row) for row in await self._postgres.fetch(query("read_after"), cursor, BATCH)]
        if not rows:
            # idle: see whether the stream has lost something meanwhile
            self._cursor = cursor if await self._stream.last() == cursor else None
            return self._cursor is None
        await self._stream.publish([(row.position, _subject(row), row.record.encode()) for row in rows])
        RELAYED.inc(len(rows))
        self._cursor = rows[-1].position
        return len(rows) == BATCH

    async def _agreed_end(self) -> int:
        """The stream's last sequence, once it is certain that the log says the same there."""
        last = await self._stream.last()
        if last == 0:
            return 0
        rows = await self._postgres.fetch(query("read_after"), last - 1, 1)
        if not rows:
            raise Halt(f"The stream is ahead of the log: it ends at {last}. Was an older backup of Postgres restored?")
        try:
            published = await self._stream.record_at(last)
        except NotFoundError as error:
            raise Halt(f"The stream says that it ends at {last} and doesn't hold that message.") from error
        if published != rows[0]["record"].encode():
            raise Halt(
                f"The stream and the log differ at position {last}: another log was published, or this one changed."
            )
        return last


def _subject(row: Logged) -> str:
    try:
        record = read_record(row.record)
        workspace = msgspec.json.decode(record.data, type=_Tenanted).workspace_id
    except ValueError:
        workspace = ""
    if not workspace or not _TOKENS.fullmatch(workspace) or not _TOKENS.fullmatch(record.type):
        # the relay is no judge: the projections stop at such an event, and say where and why
        return lifecycle("_", "unreadable")
    return lifecycle(workspace, record.type)
