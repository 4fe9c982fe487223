"""What there is of somebody, for those who are about to erase it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from keyfold.app.erasing import Found
from keyfold.app.sealing import Sealing
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.record import Record, read_record
from keyfold.domain.sealing import Contents
from keyfold.store.data_keys import data_keys_of
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

BATCH = 1_000


class PersonalStore:
    """Implements `keyfold.app.erasing.Survey`."""

    def __init__(self, postgres: Postgres, sealing: Sealing) -> None:
        self._postgres = postgres
        self._sealing = sealing

    async def of(self, subjects: list[str], streams: list[str]) -> Found:
        keys = await data_keys_of(self._postgres.fetch, subjects)
        seen = await self._postgres.fetch(query("sightings"), streams)
        addresses = {str(row["address"]) for row in seen}
        fields: Counter[str] = Counter()
        count = after = 0
        while rows := await self._postgres.fetch(query("about"), streams, after, BATCH):
            for record in (read_record(row["record"]) for row in rows):
                count += any(box.under in subjects for box in record.sealed)
                for contents in self._sealing.contents(record, keys):
                    found = dict(_personal(record, contents))
                    fields.update(f"{record.type} {place}" for place in found)
                    addresses |= {str(value) for place, value in found.items() if place.endswith(".address")}
            after = rows[-1]["position"]
        return Found(count, dict(sorted(fields.items())), sorted(addresses), len(seen))


def _personal(record: Record, contents: Contents) -> Iterator[tuple[str, Any]]:
    """What a box holds, by its place in the record."""
    for name, value in contents.actor.items():
        yield f"actor.{name}", value
    for path in EVENT_TYPES[record.type].personal:
        there: Any = contents.data
        for name in path.split("."):
            there = there.get(name, {})
        if there != {}:
            yield f"data.{path}", there
