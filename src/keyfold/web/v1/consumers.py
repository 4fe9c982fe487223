"""Consumers of a key: pulled from over HTTP, and what can be done with them and with what they gave up on."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from keyfold.app.consumer_groups import GroupView
from keyfold.app.limits import RateLimited
from keyfold.bus.egress import PulledView, TokenView
from keyfold.bus.following import read_place
from keyfold.bus.inspecting import ConsumerView, DeadLetterView
from keyfold.bus.pulling import Answer
from keyfold.domain.consumer_group import OWN
from keyfold.domain.refusals import Invalid, NotFound
from keyfold.domain.rule import Receive
from keyfold.web.auth import EVENTS, address, cause, replay_key, services, user
from keyfold.web.ratelimit import rate_headers
from keyfold.web.v1.common import LAST_POSITION, Envelope, Limit, ListEnvelope, answered
from keyfold.web.v1.consumer_bodies import ConsumerBody, NackBody, PullBody, SeekBody, TerminateBody, TokensBody

Req = Request[Any, Any, Any]


class ConsumerController(Controller):
    path = "/consumers"
    tags = ("Consumers",)

    @get("/", opt={"permission": EVENTS}, summary="List consumers")
    async def consumers(self, request: Req) -> ListEnvelope[ConsumerView]:
        """The key's own, which is called `own` and goes on with its successors, and those of its partner's groups in
        its environment that give no more than the key may receive."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        return ListEnvelope(await of.tending.views(known), None)

    @post("/", opt={"permission": EVENTS, "records": True}, summary="Make a consumer")
    async def add(self, request: Req, data: JSONBody[ConsumerBody]) -> Response[Envelope[GroupView]]:
        """A consumer that all of the partner's keys in this environment share: each event goes to one of those who
        pull. At most 20 in an environment."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        receive, place = _receive(of.consumers.receive_of(known), data), read_place(data.start, "/start")
        if place.sequence is not None:
            raise Invalid("A consumer starts at a time.", ("/start", "Give beginning, end, or a time with its offset."))
        start = of.clock() if place.word == "end" else place.time and min(place.time, of.clock())
        by = cause(request, known.subject.key)
        by = msgspec.structs.replace(by, replay=await replay_key(request, by.actor.id))
        return answered(await of.consumer_groups.add(by, known, data.name, receive, start), 201)

    @delete(
        "/{consumer_name:str}",
        status_code=200,
        opt={"permission": EVENTS, "records": True},
        summary="Remove a consumer",
    )
    async def remove(self, request: Req, consumer_name: FromPath[str]) -> Response[Envelope[GroupView]]:
        """What it hadn't acknowledged, and its dead letters, go with it."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        if consumer_name == OWN:
            raise Invalid("A key's own consumer lives as long as the key.")
        this = await of.consumers.find(known, consumer_name)
        answer = await of.consumer_groups.remove(cause(request, known.subject.key), known, consumer_name)
        await of.tending.clear(this)
        return answered(answer)

    @post("/{consumer_name:str}/pull", status_code=200, opt={"permission": EVENTS}, summary="Pull events")
    async def pull(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[PullBody]
    ) -> ListEnvelope[PulledView]:
        """Answers as soon as there is something, and else with an empty list when the time is over. What isn't
        acknowledged within 30 seconds comes again, up to six times in all, and then is a dead letter."""
        of = services(request)
        demand_use(request)
        pulling = asyncio.create_task(
            of.egress.pull(
                user(request), consumer_name, most=data.batch, wait=data.wait_seconds, address=address(request)
            )
        )
        return ListEnvelope(await _unless_gone(request, pulling), None)

    @post("/{consumer_name:str}/ack", status_code=200, opt={"permission": EVENTS}, summary="Acknowledge events")
    async def ack(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[TokensBody]
    ) -> ListEnvelope[TokenView]:
        """They won't come again. Each token is answered on its own, when the server has confirmed it."""
        return await _answer(request, consumer_name, data.tokens, "ack")

    @post("/{consumer_name:str}/nack", status_code=200, opt={"permission": EVENTS}, summary="Reject events for now")
    async def nack(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[NackBody]
    ) -> ListEnvelope[TokenView]:
        """They come again after a while, until they have come six times in all."""
        return await _answer(request, consumer_name, data.tokens, "nack", data.delay_seconds)

    @post(
        "/{consumer_name:str}/terminate", status_code=200, opt={"permission": EVENTS}, summary="Reject events for good"
    )
    async def terminate(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[TerminateBody]
    ) -> ListEnvelope[TokenView]:
        """They won't come again, and are dead letters at once."""
        return await _answer(request, consumer_name, data.tokens, "terminate", data.reason)

    @post("/{consumer_name:str}/extend", status_code=200, opt={"permission": EVENTS}, summary="Ask for more time")
    async def extend(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[TokensBody]
    ) -> ListEnvelope[TokenView]:
        """The time that their acknowledgement has begins again."""
        return await _answer(request, consumer_name, data.tokens, "extend")

    @post("/{consumer_name:str}/seek", status_code=200, opt={"permission": EVENTS}, summary="Move a consumer")
    async def seek(
        self, request: Req, consumer_name: FromPath[str], data: JSONBody[SeekBody]
    ) -> Envelope[ConsumerView]:
        """It goes on from there, for everybody who shares it; never before the window that the key may read. What was
        under way comes again if it lies behind."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        return Envelope(await of.tending.seek(known, consumer_name, read_place(str(data.from_), "/from")))


class DeadLetterController(Controller):
    path = "/consumers/{consumer_name:str}/dead-letters"
    tags = ("Consumers",)

    @get("/", opt={"permission": EVENTS}, summary="List dead letters")
    async def dead_letters(
        self,
        request: Req,
        consumer_name: FromPath[str],
        cursor: Annotated[
            int, QueryParameter(ge=0, le=LAST_POSITION, description="`nextCursor` of the page before.")
        ] = 0,
        limit: Limit = 50,
    ) -> ListEnvelope[DeadLetterView]:
        """The events that the consumer has given up on, the oldest first."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        found = await of.tending.dead_letters(known, consumer_name, after=cursor, most=limit)
        return ListEnvelope(found, str(found[-1].sequence) if len(found) == limit else None)

    @post(
        "/{sequence:int}/redrive",
        status_code=200,
        opt={"permission": EVENTS, "content": None},
        summary="Give a dead letter again",
    )
    async def redrive(
        self, request: Req, consumer_name: FromPath[str], sequence: FromPath[int]
    ) -> Envelope[DeadLetterView]:
        """The event is stored once more, for this consumer alone, and is no dead letter any more."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        return Envelope(await of.tending.redrive(known, consumer_name, _demand_sequence(sequence)))

    @delete("/{sequence:int}", status_code=200, opt={"permission": EVENTS}, summary="Discard a dead letter")
    async def discard(
        self, request: Req, consumer_name: FromPath[str], sequence: FromPath[int]
    ) -> Envelope[DeadLetterView]:
        """Nobody gets the event from this consumer any more."""
        of = services(request)
        known = await of.egress.still(user(request), address(request))
        return Envelope(await of.tending.discard(known, consumer_name, _demand_sequence(sequence)))


async def _answer(
    request: Req, name: str, tokens: tuple[str, ...], what: Answer, detail: str | float | None = None
) -> ListEnvelope[TokenView]:
    egress = services(request).egress
    known = await egress.still(user(request), address(request))
    return ListEnvelope(await egress.answer(known, name, tokens, what, detail=detail), None)


def demand_use(request: Req) -> None:
    """That the key may receive. Counts one use, and tells the client how its key stands with its rate."""
    try:
        standing = services(request).egress.judge(user(request), address(request)).standing
    except RateLimited as refusal:
        request.scope["rate_headers"] = rate_headers({"key": (refusal.rate, refusal.standing)})  # type: ignore[typeddict-unknown-key]
        raise
    if standing is not None:
        request.scope["rate_headers"] = rate_headers({"key": standing})  # type: ignore[typeddict-unknown-key]


async def _unless_gone(request: Req, pulling: "asyncio.Task[list[PulledView]]") -> list[PulledView]:
    """What was pulled; nothing is pulled for a client that has gone away meanwhile."""
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({pulling, gone}, return_when=asyncio.FIRST_COMPLETED)
        return pulling.result() if pulling.done() else []
    finally:
        for task in (pulling, gone):
            task.cancel()
        await asyncio.gather(pulling, gone, return_exceptions=True)


async def _disconnected(request: Req) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _receive(most: Receive, data: ConsumerBody) -> Receive:
    """What is asked for, and all that the key may have of what isn't."""
    given = {"topics": data.topics, "filters": data.filters, "history": data.history}
    return msgspec.structs.replace(most, **{name: each for name, each in given.items() if each is not None})


def _demand_sequence(sequence: int) -> int:
    if not 1 <= sequence <= LAST_POSITION:
        raise NotFound.of("dead letter", str(sequence))
    return sequence
