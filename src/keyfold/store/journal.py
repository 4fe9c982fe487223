"""The event store as the application sees it: one object for append, load and what lies beside the log."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from keyfold.app.ports import DataKey, Digest, Loaded, Replay, Write
from keyfold.app.sealing import Sealing
from keyfold.domain.aggregates import Aggregate, fold
from keyfold.domain.record import read_record
from keyfold.store.appender import Appender, OnAppend
from keyfold.store.data_keys import DataKeys, Opener
from keyfold.store.grouped import Grouped
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.store.streams import Streams

S = TypeVar("S")

CAPACITY = 50_000
"""Digests that are remembered."""


class Logged(NamedTuple):
    """One row of the log. `record` is its exact text."""

    position: int
    stream: str
    version: int
    record: str


class PostgresJournal:
    """Implements `keyfold.app.ports.Journal`."""

    def __init__(
        self, postgres: Postgres, sealing: Sealing, *, on_append: OnAppend = lambda position, streams: None
    ) -> None:
        self._postgres = postgres
        self._sealing = sealing
        self._opener = Opener(sealing)
        self._data_keys = DataKeys(postgres)
        self._streams = Streams(postgres, sealing)
        self._appender = Appender(postgres, on_append=on_append)
        self._digests: Grouped[Digest] = Grouped(self._fetch_digests)
        self._known_digests: OrderedDict[str, Digest] = OrderedDict()

    async def load(self, aggregate: Aggregate[S], stream: str) -> Loaded[S]:
        return await self._streams.load(aggregate, stream)

    async def load_at(self, aggregate: Aggregate[S], stream: str, at: datetime) -> Loaded[S]:
        rows = await self._postgres.fetch(query("stream"), stream)
        records = await self._opener.open(self._postgres.fetch, [read_record(row["record"]) for row in rows])
        # a prefix, since any other selection could fold to a state that never was
        until = max((record.version for record in records if record.time <= at), default=1)
        state: S | None = None
        for record in records[:until]:
            state = fold(aggregate, state, record)
        return Loaded(state, min(until, len(records)))

    async def append(self, write: Write) -> int:
        return await self._appender.append(write)

    async def digest(self, of: str) -> Digest | None:
        return await self._digests.get(of)

    def remembered_digest(self, of: str) -> Digest | None:
        return self._known_digests.get(of)

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        return await self._data_keys.of(subjects)

    def forget(self, streams: Iterable[str]) -> None:
        """These have moved: perhaps they were erased."""
        moved = [*streams]
        self._data_keys.forget(moved)
        self._sealing.forget(moved)

    async def replay(self, replay: bytes) -> Replay | None:
        row = await self._postgres.fetchrow(query("replay"), replay)
        return None if row is None else Replay(*row)

    async def has_replayed(self, replays: Sequence[bytes]) -> bool:
        """Whether one of these requests was made before."""
        return bool(await self._postgres.fetchval(query("has_replayed"), [*replays]))

    async def newest(self, stream: str, types: Sequence[str]) -> str | None:
        found: str | None = await self._postgres.fetchval(query("newest"), stream, [*types])
        return found

    async def head(self) -> int:
        return int(await self._postgres.fetchval(query("head")))

    async def close(self) -> None:
        await self._appender.close()

    async def _fetch_digests(self, ids: list[str]) -> dict[str, Digest]:
        rows = await self._postgres.fetch(query("digests"), ids)
        found = {row["id"]: Digest(row["id"], row["pepper"], row["digest"]) for row in rows}
        self._known_digests |= found  # a digest never changes; whether its key is still good is in the key's stream
        while len(self._known_digests) > CAPACITY:
            self._known_digests.popitem(last=False)
        return found


async def read_log(
    postgres: Postgres, after: int, until: int | None = None, *, batch: int
) -> AsyncIterator[list[Logged]]:
    """All that comes after a position, in order and in batches, until a position or the end that is found."""
    while until is None or after < until:
        size = batch if until is None else min(batch, until - after)
        rows = await postgres.fetch(query("read_after"), after, size)
        if not rows:
            return
        yield [*map(Logged._make, rows)]
        after = rows[-1]["position"]
