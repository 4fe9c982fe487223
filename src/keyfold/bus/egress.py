"""The way out for app events over HTTP: pulled, looked at once more, and answered for."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from nats.aio.msg import Msg

from keyfold.app.event_permission import demand
from keyfold.app.event_usage import EventUsage
from keyfold.app.memory import Known
from keyfold.app.ports import Clock
from keyfold.app.verifier import Verdict, Verifier
from keyfold.app.views import View
from keyfold.bus.connection import Bus
from keyfold.bus.consumers import Consumer, Consumers, topic_of
from keyfold.bus.durables import answering
from keyfold.bus.pulling import Answer, ConsumerGoneError, answer, give_back, is_token, pull, settle, token_of
from keyfold.domain.judgement import Question
from keyfold.domain.reach import Reach
from keyfold.domain.refusals import Unavailable

OUTCOMES: dict[Answer, str | None] = {
    "ack": "acknowledged",
    "nack": "rejected",
    "terminate": "terminated",
    "extend": None,
}
_decode = msgspec.json.Decoder().decode


class PulledView(View, frozen=True, kw_only=True):
    """One event as a consumer gives it. `token` is what it is acknowledged with; `sequence` is its place in the stream
    of its environment; `deliveries` counts how often it was given."""

    sequence: int
    deliveries: int
    token: str
    topic: str
    stored_at: datetime
    event: msgspec.Raw


class TokenView(View, frozen=True, kw_only=True):
    """What became of one token: `done` is confirmed, `unknown` stands for no delivery that is under way."""

    token: str
    status: Literal["done", "unknown"]


class Met(NamedTuple):
    """A stored event as it was met in its stream."""

    sequence: int
    topic: str
    stored_at: datetime
    data: bytes


class Egress:
    def __init__(self, bus: Bus, consumers: Consumers, *, verifier: Verifier, usage: EventUsage, clock: Clock) -> None:
        self._bus = bus
        self._consumers = consumers
        self._verifier = verifier
        self._usage = usage
        self._clock = clock

    def judge(self, known: Known, address: str) -> Verdict:
        """Whether the key may receive at all; counts as one use. Raises `NotPermitted`, `RateLimited`,
        `Unauthenticated`."""
        verdict = self._verifier.judge(known, Question("receive", None, address), self._clock())
        if not verdict.valid:
            self._usage.note(known.subject.key.id, f"refused:{verdict.code}", at=self._clock())
        demand(verdict, "receive events")
        return verdict

    async def still(self, known: Known, address: str) -> Known:
        """The key as it is by now, if it may still receive. Counts nothing. Raises as `judge` does, `Unavailable`."""
        fresh, code = await self.standing(known, address)
        demand(Verdict(code), "receive events")
        return fresh

    async def standing(self, known: Known, address: str) -> tuple[Known, str]:
        """The key as it is by now, and the code of what would be decided if it were used. Raises `Unavailable`."""
        fresh = await self._verifier.find_id(known.subject.key.id)
        if fresh is None:
            return known, "unknown-key"
        return fresh, fresh.decision(Question("receive", None, address), self._clock()).code

    async def pull(self, known: Known, name: str, *, most: int, wait: float, address: str) -> list[PulledView]:
        """Up to `most` events, as soon as there is one, else none after `wait` seconds. What the key may not see is
        left out for good. Raises as `still` and `Consumers.named` do, and `TooManyWaiting`."""
        deadline = time.monotonic() + wait
        while True:
            consumer = await self._consumers.named(known, name)
            found = await self._pull(consumer, most, max(0.0, deadline - time.monotonic()), known, address)
            try:
                known = await self.still(known, address)
                consumer = await self._consumers.find(known, name)
            except Exception:
                for message in found:
                    await give_back(self._bus, message)
                raise
            shown = [each for each in found if await self._shows(known, consumer, each)]
            if shown or time.monotonic() >= deadline:
                if not consumer.durable.is_sampled:
                    self.note(known, "delivered", len(shown), size=sum(len(each.data) for each in shown))
                return [_view(each) for each in shown]

    async def _pull(self, consumer: Consumer, most: int, wait: float, known: Known, address: str) -> list[Msg]:
        """Waits no longer than the key may be used."""
        pulling = asyncio.create_task(self._pull_anyway(consumer, most, wait))
        try:
            while not (await asyncio.wait({pulling}, timeout=0.5))[0]:
                await self.still(known, address)
            return pulling.result()
        finally:
            if not pulling.done():
                pulling.cancel()
                await asyncio.gather(pulling, return_exceptions=True)

    async def _pull_anyway(self, consumer: Consumer, most: int, wait: float) -> list[Msg]:
        """The durable is made anew where JetStream has lost it meanwhile."""
        this = consumer.durable
        try:
            return await pull(self._bus, this.stream, this.name, most, wait)
        except ConsumerGoneError:
            self._consumers.durables.forget(this.stream, this.name)
            await self._consumers.durables.ensure(this)
        try:
            return await pull(self._bus, this.stream, this.name, most, wait)
        except ConsumerGoneError:
            raise Unavailable("The consumer went away again and again. Try again in a moment.") from None

    async def _shows(self, known: Known, consumer: Consumer, message: Msg) -> bool:
        if self.takes(consumer.reach, met(message)):
            return True
        await settle(self._bus, message)
        self.note(known, "filtered", 1)
        return False

    def takes(self, given: Reach, this: Met) -> bool:
        """Whether an event lies within what a consumer gives."""
        event: Any = None
        if given.filters:
            try:
                event = _decode(this.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return False
        return given.takes(this.topic, this.stored_at, event, self._clock())

    async def answer(
        self, known: Known, name: str, tokens: Sequence[str], what: Answer, *, detail: str | float | None = None
    ) -> list[TokenView]:
        """What became of each token. They reach no other consumer than this one, whatever is in them. Raises as
        `Consumers.named` does."""
        this = (await self._consumers.named(known, name)).durable
        sound = [*dict.fromkeys(each for each in tokens if is_token(each))]
        async with answering():
            confirmed = await answer(self._bus, this.stream, this.name, sound, what, detail=detail)
        done = dict(zip(sound, confirmed, strict=True))
        outcome = OUTCOMES[what]
        if outcome is not None and not (outcome == "acknowledged" and this.is_sampled):
            self.note(known, outcome, sum(confirmed))
        return [TokenView(token=each, status="done" if done.get(each) else "unknown") for each in tokens]

    def note(self, known: Known, outcome: str, count: int, *, size: int = 0) -> None:
        if count:
            self._usage.note(known.subject.key.id, outcome, at=self._clock(), count=count, size=size)


def met(message: Msg) -> Met:
    """What there is to know of a message that came from a consumer."""
    tail = message.reply.split(".")[-5:]
    stored_at = datetime.fromtimestamp(int(tail[3]) // 1_000_000_000, UTC)
    stored_at += timedelta(microseconds=int(tail[3]) % 1_000_000_000 // 1_000)
    return Met(int(tail[1]), topic_of(message.subject), stored_at, message.data)


def _view(message: Msg) -> PulledView:
    token, this = token_of(message), met(message)
    return PulledView(
        sequence=this.sequence,
        deliveries=int(token.partition(".")[0]),
        token=token,
        topic=this.topic,
        stored_at=this.stored_at,
        event=msgspec.Raw(this.data),
    )
