"""App events as server-sent events: with nothing to set up, and nothing left when the reader is gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from keyfold.app.memory import Known
from keyfold.bus.durables import Start
from keyfold.bus.following import read_place
from keyfold.domain.refusals import Invalid, Refusal, Unavailable
from keyfold.domain.topics import is_pattern
from keyfold.web.auth import EVENTS, address, services, user
from keyfold.web.services import Services
from keyfold.web.sse import MEDIA_TYPE, EventStream, Item
from keyfold.web.v1.consumers import demand_use

GRACE = 1.0
"""Seconds in which a reader that keeps up is told why its stream ends. It gets no event any more meanwhile."""
PATTERNS = 100


class End(msgspec.Struct):
    """The `data` of the last event of a stream: `code` is that of a verification, or of an error."""

    code: str


class FollowingController(Controller):
    path = "/events/stream"
    tags = ("Events",)

    @get("/", opt={"permission": EVENTS}, media_type=MEDIA_TYPE, summary="Follow events")
    async def stream(
        self,
        request: Request[Any, Any, Any],
        from_: Annotated[
            str,
            QueryParameter(name="from", description="`beginning`, `end`, a time with its offset, or a sequence."),
        ] = "end",
        topics: Annotated[
            str | None,
            QueryParameter(description="Patterns with commas between, to get less than all that the key may receive."),
        ] = None,
    ) -> ASGIApp:
        """Server-sent events, each a CloudEvent in JSON, with its sequence in the stream as `id`.

        A client that comes back with `Last-Event-ID` goes on behind it, with no gap and nothing twice. Within a second
        after the key can't be used any more an event `end` says why, and the stream ends. Nothing is acknowledged.
        """
        of, source = services(request), address(request)
        demand_use(request)
        known = await of.egress.still(user(request), source)
        patterns = patterns_of(topics)
        given = of.following.narrowed(known, patterns)
        last = request.headers.get("last-event-id")
        place = read_place(from_, "?from") if last is None else read_place(behind(last), "Last-Event-ID")
        start = await of.following.start(known.subject.key, given, place, of.clock())
        return EventStream(_items(of, known, patterns, start, source), alive=_alive(of, known, source))


def patterns_of(topics: str | None) -> tuple[str, ...]:
    """Raises `Invalid`."""
    patterns = tuple(topics.split(",")) if topics else ()
    if len(patterns) > PATTERNS or not all(is_pattern(each) for each in patterns):
        raise Invalid("These are no topic patterns.", ("?topics", "Such as app/order/*,app/return/**, up to 100."))
    return patterns


def behind(last_event_id: str) -> str:
    """Raises `Invalid`."""
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
        raise Invalid("This is no event's id.", ("Last-Event-ID", "Send the `id` of an event as it was given."))
    return str(int(last_event_id) + 1)


async def _items(of: Services, known: Known, topics: tuple[str, ...], start: Start, source: str) -> AsyncIterator[Item]:
    events: Any = of.following.events(known, topics, start, address=source)
    try:
        async with aclosing(events):
            async for each in events:
                yield Item(str(each.sequence), "message", each.data)
    except Unavailable:
        raise
    except Refusal as refusal:
        _, code = await of.egress.standing(known, source)
        yield Item(None, "end", msgspec.json.encode(End(refusal.code if code == "valid" else code)))


def _alive(of: Services, known: Known, source: str) -> Callable[[], Awaitable[bool]]:
    """Ends the stream of a reader that is too slow to be told."""

    async def alive() -> bool:
        if (await of.egress.standing(known, source))[1] == "valid":
            return True
        await asyncio.sleep(GRACE)
        return False

    return alive
