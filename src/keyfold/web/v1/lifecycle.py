"""Lifecycle events as a stream, for whoever wants to hear of them as they happen."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.enums import MediaType
from litestar.params import FromQuery, QueryParameter
from litestar.types import ASGIApp

from keyfold.app.access import Caller
from keyfold.domain.judgement import Question
from keyfold.domain.lifecycle_event import structured
from keyfold.domain.permissions import ANYTHING
from keyfold.domain.refusals import Invalid
from keyfold.web.auth import address, caller, services
from keyfold.web.services import Services
from keyfold.web.sse import EventStream, Item
from keyfold.web.v1.audit import within_trail
from keyfold.web.v1.common import LAST_POSITION

PERMISSION = "audit:read"


class LifecycleController(Controller):
    path = "/lifecycle"
    tags = ("Audit",)

    @get(
        "/stream",
        opt={"permission": PERMISSION},
        media_type=MediaType.TEXT,
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
        twice. `live=false` ends with what there is. A key that is narrowed is shown what the audit trail shows it. The
        stream ends within a second of the key, and when its permissions or its conditions change.
        """
        by, of = await caller(request), services(request)
        begin = await _begin(of, request.headers.get("last-event-id"), after)
        return EventStream(_items(of, by, begin, live=live), alive=_unchanged(of, by, address(request)))


async def _begin(of: Services, last_event_id: str | None, after: int | None) -> int:
    """The position to begin behind. Raises `Invalid` for one that nothing has been at yet."""
    head = await of.journal.head()
    if last_event_id is not None:
        if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
            raise Invalid("This is no position.", ("Last-Event-ID", "Send the `id` of an event as it was given."))
        after = int(last_event_id)
    if after is not None and after > head:
        raise Invalid("The log doesn't go so far.", ("?after", f"The last position is {head}."))
    return head if after is None else after


async def _items(of: Services, by: Caller, begin: int, *, live: bool) -> AsyncIterator[Item]:
    async for position, record in of.feed.follow(by.workspace_id, within_trail(by, {}), after=begin, live=live):
        yield Item(str(position), None, structured(record.encode()))


def _unchanged(of: Services, by: Caller, source: str) -> Callable[[], Awaitable[bool]]:
    """Whether the caller's key may still read the same."""

    async def unchanged() -> bool:
        known = await of.verifier.find_id(by.cause.actor.id)
        if known is None or known.decision(Question(address=source), of.clock()).code != "valid":
            return False
        conditions = known.subject.key.document.conditions or ANYTHING
        return PERMISSION in known.subject.permissions and conditions == by.conditions

    return unchanged
