"""Data keys in Postgres, and records opened with them."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from keyfold.app.ports import DataKey
from keyfold.app.sealing import Sealing
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.record import Record
from keyfold.store.grouped import Grouped
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

CAPACITY = 50_000
"""Data keys that are remembered to seal with."""
Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""`fetch` of a pool or a connection."""


class DataKeys:
    """For those who seal: what is remembered may be a moment behind an erasure, and then seals for nobody."""

    def __init__(self, postgres: Postgres) -> None:
        self._fetch = postgres.fetch
        self._reads: Grouped[DataKey] = Grouped(lambda subjects: data_keys_of(self._fetch, subjects))
        self._known: OrderedDict[str, DataKey] = OrderedDict()
        self._forgets = 0

    async def of(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        """Those that there are. Raises `Unavailable`."""
        found: dict[str, DataKey] = {}
        for subject in subjects:
            key = self._known.get(subject) or await self._ask(subject)
            if key is not None:
                found[subject] = key
        return found

    def forget(self, subjects: Iterable[str]) -> None:
        self._forgets += 1
        for subject in subjects:
            self._known.pop(subject, None)

    async def _ask(self, subject: str) -> DataKey | None:
        forgets = self._forgets
        key = await self._reads.get(subject)
        if key is not None and forgets == self._forgets:  # or it may have been deleted meanwhile
            self._known[subject] = key
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return key


class Opener:
    """For those who read: asks each time, so that nothing opens whose data key is gone."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    async def open(self, fetch: Fetch, records: Sequence[Record], *, actors: bool = True) -> list[Record]:
        """The records with what is sealed in them, as far as it hasn't been erased; without `actors` only those whose
        events have something personal. Raises `SealBrokenError`."""
        opens = [bool(record.sealed) and (actors or _is_personal(record)) for record in records]
        subjects = {box.under for record, opened in zip(records, opens, strict=True) if opened for box in record.sealed}
        if not subjects:
            return [*records]
        keys = await data_keys_of(fetch, [*subjects])
        each = zip(records, opens, strict=True)
        return [self._sealing.open(record, keys) if opened else record for record, opened in each]


def _is_personal(record: Record) -> bool:
    event = EVENT_TYPES.get(record.type)
    return event is not None and bool(event.personal)


async def data_keys_of(fetch: Fetch, subjects: list[str]) -> dict[str, DataKey]:
    rows = await fetch(query("data_keys"), subjects)
    return {row["subject"]: DataKey(*row) for row in rows}
