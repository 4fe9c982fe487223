"""History: every thing with where it began, and each of its versions with where it came to be and what finds it.

Rows are only ever added, and only names are ever erased. They have no state: what a version was like is folded from the
log, as a single read is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import asyncpg
import msgspec

from keyfold.domain.aggregates import (
    INTEGRATION,
    KEY,
    LINK,
    PARTNER,
    ROLE,
    TOPIC,
    WORKSPACE,
    Aggregate,
    aggregate_of,
    fold,
)
from keyfold.domain.key_state import Key
from keyfold.domain.link import Link
from keyfold.domain.record import Record, read_record
from keyfold.store.projections.projection import Positioned, UnappliableError, erased_in
from keyfold.store.queries import query

KEPT: dict[str, Aggregate[Any]] = {
    each.prefix: each for each in (WORKSPACE, INTEGRATION, PARTNER, LINK, KEY, ROLE, TOPIC)
}
_THING = (
    *("id", "workspace_id", "aggregate", "position", "latest_id", "integration_id", "partner_id", "kind"),
    *("environment", "issued_at", "rotation_due_at"),
)
_VERSION = (
    *("id", "position", "version", "workspace_id", "time", "status", "parent_id", "role", "tags", "name"),
    *("not_before", "expires_at", "retires_at", "rotated"),
)
_NOTHING = (None, None, "", None, None)


class _Kept(NamedTuple):
    position: int
    record: Record
    aggregate: Aggregate[Any]


class _Folded(NamedTuple):
    version: int
    state: Any


_UNBORN = _Folded(0, None)


class History:
    name = "history"
    tables: tuple[str, ...] = ("things", "versions")
    reads_actors = False

    async def apply(self, connection: asyncpg.Connection, batch: list[Positioned]) -> None:
        events = _kept(batch)
        known = await _before(connection, events)
        begun: list[tuple[int, Aggregate[Any], Any]] = []
        versions: list[tuple[object, ...]] = []
        for event in events:
            position, record, aggregate = event
            state = _next(event, known.get(record.stream, _UNBORN))
            known[record.stream] = _Folded(record.version, state)
            if record.version == 1:
                begun.append((position, aggregate, state))
            found_by = _FOUND_BY.get(aggregate.prefix, _others)(state)
            versions.append(
                (record.stream, position, record.version, state.workspace_id, record.time, *found_by),
            )
        things = await _things(connection, begun)
        await connection.copy_records_to_table("things", records=things, columns=_THING)
        await connection.copy_records_to_table("versions", records=versions, columns=_VERSION)
        if erased := erased_in(batch):
            await connection.execute(query("erase_names"), erased)


def _kept(batch: list[Positioned]) -> list[_Kept]:
    events: list[_Kept] = []
    for position, record in batch:
        try:
            aggregate = aggregate_of(record.stream)
        except KeyError as error:
            raise UnappliableError(position, error) from error
        if aggregate.prefix in KEPT:
            events.append(_Kept(position, record, aggregate))
    return events


async def _before(connection: asyncpg.Connection, events: list[_Kept]) -> dict[str, _Folded]:
    """The streams as they were before these events, from the log: so no state has to be kept beside what finds them."""
    until: dict[str, int] = {}
    for each in events:
        until.setdefault(each.record.stream, each.record.version - 1)
    wanted = {stream: version for stream, version in until.items() if version > 0}
    known: dict[str, _Folded] = {}
    if wanted:
        for stream, version, position, text in await connection.fetch(query("prefixes"), [*wanted], [*wanted.values()]):
            event = _Kept(position, read_record(text), aggregate_of(stream))
            known[stream] = _Folded(version, _next(event, known.get(stream, _UNBORN)))
        for key_id, name in await connection.fetch(query("latest_names"), [*known]):
            known[key_id] = _named(known[key_id], name)
    return known


def _named(folded: _Folded, name: str) -> _Folded:
    """With the name of its last version: it is sealed in the log, and gone from here too when it is erased."""
    document = msgspec.structs.replace(folded.state.document, name=name)
    return _Folded(folded.version, msgspec.structs.replace(folded.state, document=document))


def _next(event: _Kept, before: _Folded) -> Any:
    """What comes of it. Raises `UnappliableError`."""
    record = event.record
    try:
        if record.version != before.version + 1:
            raise ValueError(f"{record.stream} is at version {before.version}")  # noqa: TRY301
        return fold(event.aggregate, before.state, record)
    except Exception as error:
        raise UnappliableError(event.position, error) from error


async def _things(
    connection: asyncpg.Connection, begun: list[tuple[int, Aggregate[Any], Any]]
) -> list[tuple[object, ...]]:
    of = {(state.workspace_id, aggregate.word) for _, aggregate, state in begun}
    latest: dict[tuple[str, str], str] = {}
    if of:
        found = await connection.fetch(query("latest_ids"), *([*column] for column in zip(*of, strict=True)))
        latest = {(row["workspace_id"], row["aggregate"]): row["latest_id"] for row in found}
    rows: list[tuple[object, ...]] = []
    for position, aggregate, state in begun:
        these = (state.workspace_id, aggregate.word)
        latest[these] = max(latest.get(these, ""), state.id)
        rows.append((state.id, *these, position, latest[these], *_fixed(aggregate, state)))
    return rows


def _fixed(aggregate: Aggregate[Any], state: Any) -> tuple[object, ...]:
    """What of a thing never changes. An integration is one of its own, and so is a partner."""
    integration_id = state.id if aggregate is INTEGRATION else getattr(state, "integration_id", None)
    partner_id = state.id if aggregate is PARTNER else getattr(state, "partner_id", None)
    if isinstance(state, Key):
        more = (state.kind, state.environment, state.issued_at, state.upkeep.rotation_due_at)
        return (integration_id, partner_id, *more)
    return integration_id, partner_id, None, None, None, None


def _key(key: Key) -> tuple[object, ...]:
    document = key.document
    tags = "\n".join(("", *document.tags, ""))
    named = (key.status, key.parent_id, document.role, tags, document.name)
    return (*named, document.not_before, document.expires_at, key.retires_at, key.succession is not None)


def _link(link: Link) -> tuple[object, ...]:
    return (link.status, *_NOTHING, link.expires_at, None, False)


def _others(state: Any) -> tuple[object, ...]:
    return (getattr(state, "status", "active"), *_NOTHING, None, None, False)


_FOUND_BY: dict[str, Callable[[Any], tuple[object, ...]]] = {KEY.prefix: _key, LINK.prefix: _link}
