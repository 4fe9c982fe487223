"""Who saw what: readings of the audit trail and verifications of secrets, counted; and exports, each of them.

A reading is a stream of its own and never changes. An export is written down before the first byte of it goes out, and
again when it has ended, with how much did.
"""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from keyfold.domain.record import Event

What = Literal["events", "event", "stream", "changes", "holders", "history", "verification"]
"""Pages of the trail, single events of it, following it, what changed, who could do what, how things were; whether
keys are valid."""
ExportFormat = Literal["records", "ndjson", "ocsf", "ecs"]


class AuditRead(Event, frozen=True, kw_only=True):
    """The actor read `count` times from `since` to `until`."""

    type = "audit.read.v1"

    reading_id: str
    what: What
    count: int
    since: datetime
    until: datetime


class Reading(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    what: What
    status: Literal["read"] = "read"


def read(state: Reading | None, event: AuditRead, at: datetime) -> Reading:
    return Reading(id=event.reading_id, workspace_id=event.workspace_id, what=event.what)


class AuditExportBegun(Event, frozen=True, kw_only=True):
    """The actor is about to be given what lies behind position `after`, up to position `until`, as far as it matches
    the filters."""

    type = "audit.export-begun.v1"

    export_id: str
    format: ExportFormat
    filters: dict[str, str]
    after: int
    until: int


class AuditExported(Event, frozen=True, kw_only=True):
    """`count` events were handed out, the last of them at position `last`; not all where the reader left before."""

    type = "audit.exported.v1"

    export_id: str
    format: ExportFormat
    filters: dict[str, str]
    after: int
    until: int
    count: int
    last: int | None = None
    is_complete: bool


ExportEvent = AuditExportBegun | AuditExported


class Export(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    format: ExportFormat
    filters: dict[str, str]
    after: int
    until: int
    status: Literal["begun", "ended"] = "begun"


def export(state: Export | None, event: ExportEvent, at: datetime) -> Export:
    match event:
        case AuditExportBegun() | AuditExported():
            return Export(
                id=event.export_id,
                workspace_id=event.workspace_id,
                format=event.format,
                filters=event.filters,
                after=event.after,
                until=event.until,
                status="begun" if isinstance(event, AuditExportBegun) else "ended",
            )
        case _:
            assert_never(event)


def ended(state: Export, count: int, last: int | None, *, is_complete: bool) -> AuditExported:
    return AuditExported(
        workspace_id=state.workspace_id,
        export_id=state.id,
        format=state.format,
        filters=state.filters,
        after=state.after,
        until=state.until,
        count=count,
        last=last,
        is_complete=is_complete,
    )
