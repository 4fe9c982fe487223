"""The relay: from the log to JetStream, in order, each event on the sequence that is its position."""

import asyncio
import re
from collections.abc import Mapping

from nats.js.errors import NotFoundError

from keyfold.bus.lifecycle import LifecycleStream, Publication
from keyfold.bus.subjects import lifecycle
from keyfold.domain.lifecycle_event import attributes, read_head
from keyfold.metrics import RELAYED
from keyfold.store.journal import Logged
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.worker.loop import Halt

BATCH = 256
"""Events on their way to the server at once."""
PAUSE = 0.002
"""Seconds until the next ones, unless there are as many waiting: what is appended in quick succession goes together."""
_TOKENS = re.compile(r"[A-Za-z0-9_.-]+")
_PLAIN = re.compile(r"[!#$&-~]+")


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
        rows = [*map(Logged._make, await self._postgres.fetch(query("read_after"), cursor, BATCH))]
        if not rows:
            # idle: see whether the stream has lost something meanwhile
            self._cursor = cursor if await self._stream.last() == cursor else None
            return self._cursor is None
        await self._stream.publish([_message(row) for row in rows])
        RELAYED.inc(len(rows))
        self._cursor = rows[-1].position
        if len(rows) == BATCH:
            return True
        await asyncio.sleep(PAUSE)
        return False

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


def _message(row: Logged) -> Publication:
    """A CloudEvent in binary mode, whose data is the record as it is."""
    record = row.record.encode()
    try:
        head = read_head(record)
    except ValueError:
        head = None
    values = {} if head is None else attributes(head)
    if head is None or not (_is_token(head.data.workspace_id) and _is_token(head.type) and _are_plain(values)):
        # the relay is no judge: the projections stop at such an event, and say where and why
        return Publication(row.position, lifecycle("_", "unreadable"), record, {})
    headers = {f"ce-{name}": value for name, value in values.items()}
    return Publication(row.position, lifecycle(head.data.workspace_id, head.type), record, headers)


def _is_token(text: str) -> bool:
    return _TOKENS.fullmatch(text) is not None


def _are_plain(values: Mapping[str, str]) -> bool:
    """Whether they go into headers as they are: the NATS binding of CloudEvents escapes all other characters."""
    return _PLAIN.fullmatch("".join(values.values())) is not None
