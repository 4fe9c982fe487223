"""App events over HTTP: a partner's app publishes with its key."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from keyfold.app.ingress import DeliveryView, Published, Ready
from keyfold.app.limits import RateLimited
from keyfold.app.views import View
from keyfold.domain.app_event import Draft, topic_of
from keyfold.domain.cloudevents import BATCH_MEDIA_TYPE, media_type, read, read_batch
from keyfold.domain.rates import Rate, Standing
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.web.auth import EVENTS, address, correlation_id, idempotency_key, services, user
from keyfold.web.problems import Problem, problem_of
from keyfold.web.ratelimit import rate_headers
from keyfold.web.v1.common import Envelope
from keyfold.web.v1.event_bodies import CONTENT

Req = Request[Any, Any, Any]
BODY_LIMIT = 2**20
"""The most bytes that an event, or a batch, has as it is sent."""
Topic = Annotated[
    str | None,
    QueryParameter(
        description="The topic to publish to. Without it: the attribute `topic`, or `type` with slashes for dots."
    ),
]


class AnsweredView(View, frozen=True, kw_only=True, omit_defaults=True):
    """What one event of a batch would have been answered if it had come alone: where it is stored (`status` is 201), or
    the `problem`."""

    status: int
    id: str | None = None
    stream: str | None = None
    sequence: int | None = None
    duplicate: bool | None = None
    deliveries: tuple[DeliveryView, ...] = ()
    problem: Problem | None = None


class BatchAnswer(View, frozen=True, kw_only=True):
    """An answer for each event of a batch, in their order."""

    data: list[AnsweredView]


class EventController(Controller):
    path = "/events"
    tags = ("Events",)

    @post(
        opt={"permission": EVENTS, "content": CONTENT},
        summary="Publish events",
        request_max_body_size=BODY_LIMIT,
        responses={200: ResponseSpec(BatchAnswer, generate_examples=False)},
    )
    async def publish(self, request: Req, topic: Topic = None) -> Response[Envelope[Published]]:
        """Stores an event, and answers when it is stored. A CloudEvent in structured or binary mode, or any JSON, which
        is the event's data. With the same id within two minutes it isn't stored again: `duplicate` says so.

        A batch is answered with 200 and an answer for each event, in order; one that is refused doesn't stop the rest.
        """
        body, content_type = await request.body(), request.headers.get("content-type", "")
        if media_type(content_type) == BATCH_MEDIA_TYPE:
            return await _publish_batch(request, body, topic)
        try:
            draft = read(content_type, _headers(request), body, fallback_id=idempotency_key(request))
            topic = topic_of(draft, topic)
        except Refusal as refusal:
            services(request).ingress.refused(user(request), refusal)
            raise
        return Response(Envelope(await (await _prepared(request, draft, topic))))


async def _publish_batch(request: Req, body: bytes, topic: str | None) -> Response[Any]:
    """Each is prepared after the one before, and all are stored in this order."""
    ingress = services(request).ingress
    try:
        drafts = read_batch(body)
    except Invalid as refusal:
        ingress.refused(user(request), refusal)
        raise
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(_answered(request, await _begun(request, each, topic))) for each in drafts]
    return Response(BatchAnswer(data=[each.result() for each in answers]), status_code=200)


async def _begun(request: Req, draft: Draft | Invalid, topic: str | None) -> Ready | Refusal:
    """What is left to do for one event of a batch."""
    try:
        if isinstance(draft, Invalid):
            raise draft
        topic = topic_of(draft, topic)
    except Invalid as refusal:
        services(request).ingress.refused(user(request), refusal)
        return refusal
    try:
        return await _prepared(request, draft, topic)
    except Refusal as refusal:
        return refusal


async def _answered(request: Req, begun: Ready | Refusal) -> AnsweredView:
    try:
        if isinstance(begun, Refusal):
            raise begun
        return AnsweredView(status=201, **msgspec.structs.asdict(await begun))
    except Refusal as refusal:
        return AnsweredView(status=refusal.status, problem=problem_of(refusal, correlation_id(request)))


async def _prepared(request: Req, draft: Draft, topic: str) -> Ready:
    """The event, if it may be stored. Tells the client how its key stands with its rate."""
    try:
        ready = await services(request).ingress.prepare(user(request), draft, topic=topic, address=address(request))
    except RateLimited as refusal:
        _tell_rate(request, (refusal.rate, refusal.standing))
        raise
    _tell_rate(request, ready.standing)
    return ready


def _tell_rate(request: Req, standing: tuple[Rate, Standing] | None) -> None:
    if standing is not None:
        request.scope["rate_headers"] = rate_headers({"key": standing})  # type: ignore[typeddict-unknown-key]


def _headers(request: Req) -> dict[str, str]:
    """The message's headers by their names. Raises `Invalid` for an attribute that came twice."""
    headers: dict[str, str] = {}
    for raw, value in request.scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in headers and name.startswith("ce-"):
            raise Invalid("An attribute came twice.", (name, "Send it once."))
        headers[name] = value.decode("utf-8", "surrogateescape")
    return headers
