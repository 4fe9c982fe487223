"""The audit trail: who, what, on what, when, from where, by which request. Listed, followed, and cause to effect."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

from litestar import Controller, Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp

from keyfold.app.access import Caller
from keyfold.domain.record import encode
from keyfold.domain.refusals import NotFound
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import address, caller, services
from keyfold.web.services import Services
from keyfold.web.sse import MEDIA_TYPE, EventStream, Item
from keyfold.web.v1.common import LAST_POSITION, Envelope, Limit, ListEnvelope, MinPosition
from keyfold.web.v1.trail import (
    PERMISSION,
    AuditView,
    beginning,
    conditions,
    ended,
    position,
    trail_filter,
    unchanged,
    within_trail,
)

Req = Request[Any, Any, Any]


class ChainView(AuditView, frozen=True, kw_only=True):
    """The event with what caused it, the nearest first, and all that it caused, also by way of others, in order.

    `has_more_effects` says that there are more than the 500 that are shown.
    """

    causes: list[AuditView]
    effects: list[AuditView]
    has_more_effects: bool


class AuditController(Controller):
    path = "/audit"
    tags = ("Audit",)
    dependencies = {"wanted": Provide(trail_filter)}  # noqa: RUF012  # as Litestar has it

    @get("/events", opt={"permission": PERMISSION}, summary="Read the audit trail")
    async def events(
        self,
        request: Req,
        wanted: NamedDependency[TrailFilter],
        order: FromQuery[Literal["asc", "desc"]] = "desc",
        cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before.")] = None,
        min_position: MinPosition = None,
        limit: Limit = 50,
    ) -> ListEnvelope[AuditView]:
        """Newest first, or `order=asc` for the story as it went. `since` is included, a time as `until` isn't.

        A key that is narrowed is shown what happened to the things that it is narrowed to, and nothing else. That
        somebody has read here is written down as well.
        """
        await _include(services(request), await caller(request), min_position, wanted.environment)
        return await entries(request, wanted, ascending=order == "asc", cursor=cursor, limit=limit)

    @get("/stream", opt={"permission": PERMISSION}, media_type=MEDIA_TYPE, summary="Follow the audit trail")
    async def stream(
        self,
        request: Req,
        wanted: NamedDependency[TrailFilter],
        after: Annotated[
            int | None,
            QueryParameter(ge=0, le=LAST_POSITION, description="Begin behind this position; 0 replays everything."),
        ] = None,
        live: FromQuery[bool] = True,
    ) -> ASGIApp:
        """Server-sent events, each an event as it is listed, with its position as `id`.

        From now on; or from behind `after`, or the `Last-Event-ID` of a client that comes back, with no gap and nothing
        twice. The header `Keyfold-Position` has the last position by then: `live=false` ends there, with event `end`.
        The stream ends within a second of the key, and when its permissions or its conditions change.
        """
        by, of = await caller(request), services(request)
        filters = conditions(by, wanted)
        begin, head = await beginning(of, request, after)
        of.readings.note(by, "stream")
        items = _items(of, by, filters, begin, None if live else head)
        return EventStream(items, alive=unchanged(of, by, address(request)), position=head)


class AuditEventController(Controller):
    path = "/audit/events"
    tags = ("Audit",)

    @get("/{event_id:str}", opt={"permission": PERMISSION}, summary="Follow cause to effect")
    async def event(
        self, request: Req, event_id: FromPath[str], min_position: MinPosition = None
    ) -> Envelope[ChainView]:
        """One event, with the chain of those that caused it, and all that it caused."""
        await _include(services(request), await caller(request), min_position)
        return Envelope(await chain_of(request, event_id))


async def entries(
    request: Req, wanted: TrailFilter, *, ascending: bool, cursor: str | None, limit: int
) -> ListEnvelope[AuditView]:
    """A page of the trail, as far as the caller sees it. That it was read is written down."""
    by, of = await caller(request), services(request)
    at = None if cursor is None else position(cursor, "?cursor", "Send `nextCursor` as it was given.")
    asked = conditions(by, wanted)
    page = await of.lists.audit(by.workspace_id, asked, ascending=ascending, cursor=at, limit=limit)
    of.readings.note(by, "events")
    return ListEnvelope([AuditView.of(each) for each in page.items], page.next_cursor)


async def chain_of(request: Req, event_id: str) -> ChainView:
    """One event with what led to it and what it led to. That it was read is written down. Raises `NotFound`."""
    by, of = await caller(request), services(request)
    chain = await of.lists.chain(by.workspace_id, event_id, within_trail(by, {}))
    if chain is None:
        raise NotFound.of("event", event_id)
    of.readings.note(by, "event")
    view = AuditView.of(chain.event)
    return ChainView(
        **{name: getattr(view, name) for name in AuditView.__struct_fields__},
        causes=[AuditView.of(each) for each in chain.causes],
        effects=[AuditView.of(each) for each in chain.effects],
        has_more_effects=chain.has_more,
    )


async def _include(of: Services, by: Caller, min_position: int | None, environment: str | None = None) -> None:
    """Of which environment something was, the keys as they are now tell."""
    if min_position:
        for projection in ("audit", "current") if environment or "environment" in by.bounds() else ("audit",):
            await of.lists.include(projection, min_position)


async def _items(
    of: Services, by: Caller, filters: Mapping[str, object], begin: int, until: int | None
) -> AsyncIterator[Item]:
    async for page in of.feed.pages(by.workspace_id, filters, after=begin, until=until):
        for each in await of.lists.opened(page):
            yield Item(str(each.position), None, encode(AuditView.of(each)))
    if until is not None:
        yield ended(until)
