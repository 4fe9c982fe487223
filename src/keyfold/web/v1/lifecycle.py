"""Lifecycle events as a stream, for whoever wants to hear of them as they happen."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.params import FromQuery, QueryParameter
from litestar.types import ASGIApp

from keyfold.app.access import Caller
from keyfold.domain.lifecycle_event import structured
from keyfold.web.auth import address, caller, services
from keyfold.web.services import Services
from keyfold.web.sse import MEDIA_TYPE, EventStream, Item
from keyfold.web.v1.common import LAST_POSITION
from keyfold.web.v1.trail import PERMISSION, beginning, ended, unchanged, within_trail


class LifecycleController(Controller):
    path = "/lifecycle"
    tags = ("Audit",)

    @get(
        "/stream",
        opt={"permission": PERMISSION},
        media_type=MEDIA_TYPE,
        summary="Follow lifecycle events",
    )
    async def stream(
        self,
        request: Request[Any, Any, Any],
        after: Annotated[
            int | None,
            QueryParameter(ge=0, le=LAST_POSITION, description="Begin behind this position; 0 replays everything."),
        ] = None,
        live: FromQuery[bool] = True,
    ) -> ASGIApp:
        """Server-sent events, each a CloudEvent in JSON whose `data` is the record, with its position as `id`.

        From now on; or from behind `after`, or the `Last-Event-ID` of a client that comes back, with no gap and nothing
        twice. The header `Keyfold-Position` has the last position by then: `live=false` ends there, with event `end`.
        A key that is narrowed is shown what the audit trail shows it. The stream ends within a second of the key, and
        when its permissions or its conditions change.
        """
        by, of = await caller(request), services(request)
        begin, head = await beginning(of, request, after)
        of.readings.note(by, "stream")
        items = _items(of, by, begin, None if live else head)
        return EventStream(items, alive=unchanged(of, by, address(request)), position=head)


async def _items(of: Services, by: Caller, begin: int, until: int | None) -> AsyncIterator[Item]:
    async for position, record in of.feed.follow(by.workspace_id, within_trail(by, {}), after=begin, until=until):
        yield Item(str(position), None, structured(record.encode()))
    if until is not None:
        yield ended(until)
