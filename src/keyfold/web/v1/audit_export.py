"""The audit trail as a file: streamed line by line, resumable at any position, in four formats."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

import structlog
from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from keyfold.app.access import Caller
from keyfold.app.readings import Begun
from keyfold.audit import siem
from keyfold.domain.reading import ExportFormat
from keyfold.domain.record import encode, read_record
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.store.feed import PAGE
from keyfold.store.lists import Audited
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import address, caller, services
from keyfold.web.flow import Flow
from keyfold.web.services import Services
from keyfold.web.v1.bulk import NDJSON
from keyfold.web.v1.common import LAST_POSITION, POSITION
from keyfold.web.v1.trail import PERMISSION, AuditView, conditions, trail_filter, unchanged

log = structlog.get_logger()
Logged = tuple[int, str]


class AuditExportController(Controller):
    path = "/audit/export"
    tags = ("Audit",)

    @get(
        "/",
        opt={"permission": PERMISSION},
        media_type=NDJSON,
        summary="Export the audit trail",
        dependencies={"wanted": Provide(trail_filter)},
    )
    async def export(
        self,
        request: Request[Any, Any, Any],
        wanted: NamedDependency[TrailFilter],
        format_: Annotated[
            ExportFormat,
            QueryParameter(
                name="format",
                description="`records` as they stand in the log, byte by byte; `ndjson` as they are listed; `ocsf` and "
                "`ecs` for SIEMs.",
            ),
        ] = "ndjson",
        after: Annotated[
            int, QueryParameter(ge=0, le=LAST_POSITION, description="Begin behind this position, to go on from there.")
        ] = 0,
    ) -> ASGIApp:
        """A line for each event, oldest first, with all that there is when it begins, or up to the position `until`.

        The header `Keyfold-Position` says up to where it goes: the next export begins `after` that. One that was cut
        off, also by us, since the key ended or the database can't be asked, lacks the end of HTTP's last chunk; it is
        resumed after the last whole line. Each export is written down, with its filters and how many events went out.
        """
        return await exported(request, wanted, format_, after)


async def exported(
    request: Request[Any, Any, Any],
    wanted: TrailFilter,
    format_: ExportFormat,
    after: int,
    *headers: tuple[bytes, bytes],
) -> Flow:
    """The lines, as they flow, under these headers and those that every export has."""
    by, of = await caller(request), services(request)
    filters = conditions(by, wanted)
    until = await _end(of, wanted, after)
    pages = of.feed.pages(by.workspace_id, filters, after=after, until=until)
    first: list[Logged] = await anext(pages, [])
    begun = None
    if not _is_own_reading(by, first):
        begun = await of.exports.begin(by, format_, wanted.given(), after=after, until=until)
    every = [
        (b"content-type", NDJSON.encode()),
        (b"cache-control", b"no-store"),
        (POSITION.lower().encode(), str(until).encode()),
    ]
    chunks = _chunks(of, by, begun, first, pages, format_)
    return Flow(chunks, headers=[*every, *headers], alive=unchanged(of, by, address(request)))


async def _end(of: Services, wanted: TrailFilter, after: int) -> int:
    """The position up to which it goes. Raises `Invalid` for a beginning that lies ahead, `Unavailable`."""
    head = await of.journal.head()
    if after > head:
        raise Invalid("The log doesn't go so far.", ("?after", f"The last position is {head}."))
    ends = [head, wanted.until_position, wanted.before_position and wanted.before_position - 1]
    until = min(each for each in ends if each is not None)
    for projection in ("audit", "current"):
        await of.lists.include(projection, until)
    return until


def _is_own_reading(by: Caller, first: list[Logged]) -> bool:
    """Whether it is nothing, or nothing but what the caller's own reading has left behind: whoever asks again and
    again would otherwise make more of it each time, and find that the next time."""
    if len(first) == PAGE:
        return False
    records = [read_record(record) for _, record in first]
    return all(each.type.startswith("audit.") and each.actor.id == by.cause.actor.id for each in records)


async def _chunks(
    of: Services,
    by: Caller,
    begun: Begun | None,
    page: list[Logged],
    pages: AsyncIterator[list[Logged]],
    format_: ExportFormat,
) -> AsyncIterator[bytes]:
    """The lines, as many at a time as are read at once: no more is read before they are taken."""
    count, last, is_complete = 0, None, False
    try:
        while page:
            count, last = count + len(page), page[-1][0]  # as given, from the moment that they might arrive
            yield await _lines(of, format_, page)
            page = await anext(pages, [])
        is_complete = True
    finally:
        if begun is not None:
            await _ended(of, by, begun, count, last, is_complete=is_complete)


async def _ended(of: Services, by: Caller, begun: Begun, count: int, last: int | None, *, is_complete: bool) -> None:
    """Writes down what went out, also when the reader leaves meanwhile, as whoever has got the line it wants does."""
    writing = asyncio.ensure_future(of.exports.end(by, begun, count, last, is_complete=is_complete))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
    except Refusal as refusal:  # that it began is written down
        log.warning("export.end_unwritten", export=begun.export_id, code=refusal.code)


async def _lines(of: Services, format_: ExportFormat, page: list[Logged]) -> bytes:
    if format_ == "records":
        return b"".join([b'{"position":%d,"record":%s}\n' % (position, text.encode()) for position, text in page])
    opened, line = await of.lists.opened(page), _LINES[format_]
    return b"".join([encode(line(each, text)) + b"\n" for each, (_, text) in zip(opened, page, strict=True)])


_LINES: Mapping[ExportFormat, Callable[[Audited, str], Any]] = {
    "ndjson": lambda each, text: AuditView.of(each),
    "ocsf": lambda each, text: siem.ocsf(each.position, each.record, text),
    "ecs": lambda each, text: siem.ecs(each.position, each.record, text),
}
