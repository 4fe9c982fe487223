"""Streams folded to state: always current, yet only what is new is read and folded."""

from collections import OrderedDict
from typing import Any, TypeVar

from keyfold.app.ports import DataKey, Loaded
from keyfold.app.sealing import Sealing
from keyfold.domain.aggregates import EVENT_TYPES, Aggregate, aggregate_of, fold
from keyfold.domain.record import Record, read_record
from keyfold.store.grouped import Grouped
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

S = TypeVar("S")


class Streams:
    """Remembers the states of `capacity` streams with their versions. A prefix of a stream never changes, so what is
    remembered is never wrong, and each load asks Postgres for what came after it. What is personal is opened with the
    data key that the same statement finds: a stream that says that it was erased is read without it."""

    def __init__(self, postgres: Postgres, sealing: Sealing, *, capacity: int = 50_000) -> None:
        self._postgres = postgres
        self._sealing = sealing
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._reads: Grouped[tuple[Any, int]] = Grouped(self._fetch)

    async def load(self, aggregate: Aggregate[S], stream: str) -> Loaded[S]:
        found = await self._reads.get(stream)
        return Loaded(*(found or (None, 0)))

    async def _fetch(self, streams: list[str]) -> dict[str, tuple[Any, int] | Exception]:
        known = [self._known.get(stream, (None, 0))[1] for stream in streams]
        broken: dict[str, Exception] = {}
        for stream, version, text, *data_key in await self._postgres.fetch(query("load"), streams, known):
            if stream in broken:
                continue
            state, _ = self._known.get(stream, (None, 0))
            try:
                self._known[stream] = fold(aggregate_of(stream), state, self._read(text, data_key)), version
            except Exception as error:  # noqa: BLE001  # for who asks for this stream, not for the others of the query
                broken[stream] = error
        found = {stream: self._known[stream] for stream in streams if stream in self._known}
        for stream in found:
            self._known.move_to_end(stream)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return {**found, **broken}

    def _read(self, text: str, data_key: list[Any]) -> Record:
        record = read_record(text)
        subject = data_key[0]
        event = EVENT_TYPES.get(record.type)
        if subject is None or event is None or not event.personal:
            return record
        return self._sealing.open(record, {subject: DataKey(*data_key)})
