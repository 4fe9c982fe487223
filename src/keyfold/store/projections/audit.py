"""The audit trail: for each event who, what, on what, when, from where, by which request."""

from typing import Any

import asyncpg

from keyfold.domain.aggregates import read_event
from keyfold.domain.networks import host
from keyfold.store.projections.projection import Positioned, UnappliableError, erased_in
from keyfold.store.queries import query

_COLUMNS = (
    "position",
    "workspace_id",
    "type",
    "stream",
    "time",
    "actor_kind",
    "actor_id",
    "address",
    "correlation_id",
    "integration_id",
    "partner_id",
    "key_id",
    "id",
    "causation_id",
    "source",
)


class AuditTrail:
    name = "audit"
    tables: tuple[str, ...] = ("audit",)
    reads_actors = True

    async def apply(self, connection: asyncpg.Connection, batch: list[Positioned]) -> None:
        await connection.copy_records_to_table("audit", records=[_row(*each) for each in batch], columns=_COLUMNS)
        if erased := erased_in(batch):
            await connection.execute(query("erase_addresses"), erased)


def _row(position: int, record: Any) -> tuple[object, ...]:
    try:
        event = read_event(record)
    except Exception as error:
        raise UnappliableError(position, error) from error
    source = None if record.actor.address is None else host(record.actor.address)
    return (
        position,
        event.workspace_id,
        record.type,
        record.stream,
        record.time,
        record.actor.kind,
        record.actor.id,
        record.actor.address,
        record.correlation_id,
        getattr(event, "integration_id", None),
        getattr(event, "partner_id", None),
        getattr(event, "key_id", None),
        record.id,
        record.causation_id,
        None if source is None else source.packed,  # asyncpg would parse the text of anything else again
    )
