"""Events at the portal: what its partner's keys may send and receive, a test of it, and all of it as it goes by."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.types import ASGIApp

from keyfold.app.catalogue import may
from keyfold.app.ingress import Published
from keyfold.app.portal import Home
from keyfold.app.views import View
from keyfold.bus.durables import Start
from keyfold.bus.following import read_place
from keyfold.bus.watching import Direction, Sight, Wanted
from keyfold.domain.aggregates import TOPIC
from keyfold.domain.app_event import EVERYONE
from keyfold.domain.judgement import Subject
from keyfold.domain.permissions import Environment
from keyfold.domain.record import encode
from keyfold.domain.refusals import Invalid
from keyfold.domain.topic_entry import Schema, Topic
from keyfold.web.auth import SESSION, address, home, idempotency_key, services
from keyfold.web.services import Services
from keyfold.web.sse import MEDIA_TYPE, EventStream, Item
from keyfold.web.v1.common import ONE_LINE, Body, CursorParameter, Envelope, Limit, ListEnvelope, secret
from keyfold.web.v1.following import GRACE, End, behind, patterns_of

Req = Request[Any, Any, Any]
STREAMS = 10
"""That one session has open at a time, with this process."""


class PortalTopicView(View, frozen=True, kw_only=True):
    """A topic with the ids of the partner's keys that may send to it, and receive from it, right now."""

    id: str
    name: str
    description: str
    deprecated: bool
    schema_version: int | None
    schema: Schema | None
    examples: tuple[Any, ...]
    send: tuple[str, ...]
    receive: tuple[str, ...]

    @classmethod
    def of(cls, topic: Topic, subjects: list[Subject], now: datetime) -> "PortalTopicView":
        newest = topic.newest
        return cls(
            id=topic.id,
            name=topic.name,
            description=topic.terms.description,
            deprecated=topic.terms.deprecated,
            schema_version=newest.version if newest else None,
            schema=newest.schema if newest else None,
            examples=topic.terms.examples,
            send=tuple(each.key.id for each in subjects if may(each, "send", topic.name, now)),
            receive=tuple(each.key.id for each in subjects if may(each, "receive", topic.name, now)),
        )


class TestEventBody(Body, frozen=True, kw_only=True):
    """`data` is any JSON; left out it is the topic's first example."""

    environment: Environment
    key_id: Annotated[str, msgspec.Meta(max_length=64, pattern=ONE_LINE)]
    topic: Annotated[str, msgspec.Meta(max_length=200)]
    data: Any = msgspec.UNSET


class SightView(View, frozen=True, kw_only=True):
    """An event that the partner has sent, may receive, or both, as `direction` says. `keyId` is the key that sent it,
    if it is the partner's; `road` how it came in, and a `test` came from a portal. `to` is a named recipient."""

    sequence: int
    environment: Environment
    stored_at: datetime
    topic: str
    direction: tuple[Direction, ...]
    key_id: str | None
    road: str | None
    test: bool
    to: str | None
    event: msgspec.Raw

    @classmethod
    def of(cls, sight: Sight, environment: Environment) -> "SightView":
        this = sight.passing
        return cls(
            sequence=this.met.sequence,
            environment=environment,
            stored_at=this.met.stored_at,
            topic=this.met.topic,
            direction=sight.directions,
            key_id=sight.key_id,
            road=this.road,
            test=this.road == "portal",
            to=None if this.to == EVERYONE else this.to,
            event=msgspec.Raw(this.met.data),
        )


class PortalEventController(Controller):
    path = "/portal"
    tags = ("Portal",)

    @get("/topics", opt={"permission": SESSION}, summary="List the topics of a partner")
    async def topics(
        self,
        request: Req,
        environment: FromQuery[Environment | None] = None,
        cursor: CursorParameter = None,
        limit: Limit = 200,
    ) -> Response[ListEnvelope[PortalTopicView]]:
        """What of its integration's catalogue the partner's keys may send and receive, with schemas and examples. A
        page may be shorter than its `limit`; what counts is whether it has a `nextCursor`."""
        of, at, now = services(request), home(request), services(request).clock()
        subjects = await _subjects(of, at, _demanded(environment))
        page = await of.lists.page(
            TOPIC.prefix,
            at.partner.workspace_id,
            {"integration_id = $?": at.partner.integration_id},
            status="active",
            now=now,
            cursor=cursor,
            limit=limit,
        )
        shown = [PortalTopicView.of(each, subjects, now) for each in page.items]
        return secret(Response(ListEnvelope([each for each in shown if each.send or each.receive], page.next_cursor)))

    @post("/events/test", opt={"permission": SESSION}, summary="Send a test event")
    async def test(self, request: Req, data: JSONBody[TestEventBody]) -> Response[Envelope[Published]]:
        """Stores an event as if this key had sent it: by its rule, the topic's schema and its rate, and counted as the
        key's. The attribute `keyfoldtest` tells receivers. The key isn't noted as used."""
        published = await services(request).trials.publish(
            home(request),
            data.key_id,
            data.environment,
            data.topic,
            data.data,
            event_id=idempotency_key(request),
            address=address(request),
        )
        return secret(Response(Envelope(published), status_code=201))

    @get("/events/stream", opt={"permission": SESSION}, media_type=MEDIA_TYPE, summary="Watch events go by")
    async def stream(
        self,
        request: Req,
        environment: FromQuery[Environment | None] = None,
        topics: Annotated[str | None, QueryParameter(description="Patterns with commas between, for less.")] = None,
        direction: Annotated[Direction | None, QueryParameter(description="One of the two alone.")] = None,
        from_: Annotated[
            str,
            QueryParameter(name="from", description="`beginning`, `end`, a time with its offset, or a sequence."),
        ] = "end",
    ) -> ASGIApp:
        """Server-sent events: what the partner sends and may receive, with its sequence as `id`. Nothing is consumed.

        It begins with an event `begin`, whose `id` is where. A client that comes back with `Last-Event-ID` goes on
        behind it, with no gap and nothing twice. When the session
        ends, an event `end` says so within a second, and the stream ends.
        """
        of, at, last = services(request), home(request), request.headers.get("last-event-id")
        wanted = Wanted(_demanded(environment), patterns_of(topics), direction)
        place = read_place(from_, "?from") if last is None else read_place(behind(last), "Last-Event-ID")
        start = await of.watching.start(at, wanted.environment, place)
        return EventStream(_items(of, at, wanted, start, address(request)), alive=_alive(of, at))


def _demanded(environment: Environment | None) -> Environment:
    """Raises `Invalid` where none is named."""
    if environment is None:
        raise Invalid("Which environment?", ("?environment", "Name dev, stage or prod."))
    return environment


async def _subjects(of: Services, at: Home, environment: Environment) -> list[Subject]:
    """The partner's keys of an environment that haven't ended, with all that they are judged by."""
    known = [await of.verifier.find_id(key_id) for key_id in at.partner.keys]
    subjects = [each.subject for each in known if each is not None and each.subject.key.environment == environment]
    return [each for each in subjects if not each.key.has_ended(of.clock())]


_open: Counter[str] = Counter()


async def _items(of: Services, at: Home, wanted: Wanted, start: Start, source: str) -> AsyncIterator[Item]:
    session_id = at.session.id
    if _open[session_id] >= STREAMS:
        yield Item(None, "end", encode(End("too-many-streams")))
        return
    _open[session_id] += 1
    events: Any = of.watching.events(at, wanted, start, address=source)
    try:
        if start.sequence is not None:  # whoever is cut off before anything has come goes on here, too
            yield Item(str(start.sequence - 1), "begin", b"{}")
        async with aclosing(events):
            async for each in events:
                yield Item(str(each.passing.met.sequence), "message", encode(SightView.of(each, wanted.environment)))
        yield Item(None, "end", encode(End("session-ended")))
    finally:
        _open[session_id] -= 1
        if not _open[session_id]:
            del _open[session_id]


def _alive(of: Services, at: Home) -> Any:
    """Ends the stream of a reader that is too slow to be told."""

    async def alive() -> bool:
        if await of.portal.still(at.session.id) is not None:
            return True
        await asyncio.sleep(GRACE)
        return False

    return alive
