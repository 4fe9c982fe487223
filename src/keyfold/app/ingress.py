"""The way in for app events, the same from HTTP and from NATS: judged, completed, checked, and stored."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from keyfold.app import event_permission
from keyfold.app.event_usage import EventUsage
from keyfold.app.memory import Known
from keyfold.app.ports import Clock, EventStore, Schemas, Stored
from keyfold.app.recipients import Recipients
from keyfold.app.verifier import Verdict, Verifier
from keyfold.app.views import View
from keyfold.domain.app_event import (
    EVERYONE,
    MEDIA_TYPE,
    AppEvent,
    Draft,
    EventTooLarge,
    complete,
    encode,
    stream_of,
    subject_of,
)
from keyfold.domain.judgement import Question, Subject
from keyfold.domain.policy import KeyPolicy
from keyfold.domain.rates import Rate, Standing
from keyfold.domain.refusals import Refusal
from keyfold.metrics import INGRESS

ROAD = "Keyfold-Road"
"""The header of a stored message that says which way the event came in, where no sender can write it."""
UNDER_WAY = 256
"""Stores that a process has under way. What has waited for its turn is looked at once more, so that no queue for a slow
disk outlives a key."""
_PLAIN = re.compile(r"[!-~]{1,160}")
"""Event ids that stand in a header as they are."""


Road = Literal["http", "nats", "portal"]


class DeliveryView(View, frozen=True, kw_only=True):
    """Where the event is for one of its named recipients."""

    to: str
    sequence: int
    duplicate: bool


class Published(View, frozen=True, kw_only=True, omit_defaults=True):
    """Where an event is stored. A `duplicate` was stored before, under the sequence that is given.

    With named recipients there is one delivery for each: `sequence` is the last, and it is a duplicate if all are.
    """

    id: str
    stream: str
    sequence: int
    duplicate: bool
    deliveries: tuple[DeliveryView, ...] = ()


class Ready:
    """An event that may be stored: awaiting it stores it, `payload` once under each of the subjects of `to`.

    `standing` is how the key stands with its rate, where it has one. Awaited once; raises `Unavailable`,
    `EventTooLarge`.
    """

    def __init__(
        self,
        store: Callable[["Ready"], Awaitable[Published]],
        *,
        known: Known,
        event: AppEvent,
        payload: bytes,
        to: tuple[str, ...],
        ttl: int | None,
        road: Road,
        address: str | None,
        began: float,
        standing: tuple[Rate, Standing] | None,
    ) -> None:
        self._store = store
        self.known = known
        self.event = event
        self.payload = payload
        self.to = to
        self.ttl = ttl
        self.road = road
        self.address = address
        self.began = began
        self.standing = standing

    def __await__(self) -> Generator[Any, None, Published]:
        return self._store(self).__await__()


class Ingress:
    """`prepare` must be called in the order in which a key's events came, and what it gives awaited in that order."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        streams: EventStore,
        schemas: Schemas,
        recipients: Recipients,
        usage: EventUsage,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._verifier = verifier
        self._streams = streams
        self._schemas = schemas
        self._recipients = recipients
        self._usage = usage
        self._clock = clock
        self._new_id = new_id
        self._turns = asyncio.Semaphore(UNDER_WAY)

    async def publish(
        self, known: Known, draft: Draft, *, topic: str, address: str | None, road: Road = "http"
    ) -> Published:
        """Stores the event that this key sends. Raises as `prepare` does, and what that gives."""
        return await (await self.prepare(known, draft, topic=topic, address=address, road=road))

    async def prepare(
        self, known: Known, draft: Draft, *, topic: str, address: str | None, road: Road = "http"
    ) -> Ready:
        """The event as it is going to be stored, if the key may send it to the topic, which counts as one use of it.

        On the road `portal` nobody has shown the key: it counts against its rate, and isn't noted as used.

        Raises `NotPermitted`, `RateLimited`, `Unauthenticated`, `UnknownRecipient`, `AutofillImpossible`,
        `EventTooLarge`, `Unavailable`, and what the topic's schema demands.
        """
        began, now, key = time.perf_counter(), self._clock(), known.subject.key
        with self._noting(known):
            question = Question("send", topic, address)
            verdict = self._verifier.judge(known, question, now, is_trial=road == "portal")
            event_permission.demand(verdict, f"send to {topic}")
            if draft.to:
                await self._recipients.demand(key.workspace_id, draft.to)
            event = complete(
                draft,
                topic=topic,
                partner_id=key.partner_id or "",
                key_id=key.id,
                now=now,
                new_id=str(draft.attributes.get("id") or self._new_id("evt")),
                fillings=_fillings(known.subject),
            )
            await self._schemas.demand_valid(known, topic, event.data)
            payload = _encoded(event, known.subject.offer.policy if known.subject.offer else KeyPolicy())
        return Ready(
            self._stored,
            known=known,
            event=event,
            payload=payload,
            to=draft.to or (EVERYONE,),
            ttl=draft.ttl,
            road=road,
            address=address,
            began=began,
            standing=verdict.standing,
        )

    def refused(self, known: Known, refusal: Refusal) -> None:
        """Notes the refusal of an event that never came as far as `prepare`."""
        self._usage.note(known.subject.key.id, f"refused:{refusal.code}", at=self._clock())
        INGRESS.labels(refusal.code).inc()

    async def _stored(self, ready: Ready) -> Published:
        known, key = ready.known, ready.known.subject.key
        stream = stream_of(key.workspace_id, str(key.environment))
        with self._noting(known):
            is_late = self._turns.locked()
            async with self._turns:
                if is_late:
                    await self._demand_still(ready)
                stored = await asyncio.gather(*[self._store(stream, ready, to) for to in ready.to])
        view = Published(
            id=ready.event.id,
            stream=stream,
            sequence=max(each.sequence for each in stored),
            duplicate=all(each.duplicate for each in stored),
            deliveries=() if ready.to == (EVERYONE,) else _deliveries(ready.to, stored),
        )
        outcome, seconds = "duplicate" if view.duplicate else "published", time.perf_counter() - ready.began
        self._usage.note(key.id, outcome, at=self._clock(), size=len(ready.payload), seconds=seconds)
        INGRESS.labels(outcome).inc()
        return view

    async def _demand_still(self, ready: Ready) -> None:
        """That the key may send it even now. From memory without a pause, in which others could go first."""
        known = await self._verifier.find_id(ready.known.subject.key.id)
        question = Question("send", ready.event.topic, ready.address)
        code = "unknown-key" if known is None else known.decision(question, self._clock()).code
        event_permission.demand(Verdict(code), f"send to {question.topic}")

    @contextmanager
    def _noting(self, known: Known) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self.refused(known, refusal)
            raise

    async def _store(self, stream: str, ready: Ready, to: str) -> Stored:
        key, event = ready.known.subject.key, ready.event
        message = message_id(str(key.partner_id), to, event.id)
        headers = {"content-type": MEDIA_TYPE, "Nats-Msg-Id": message, ROAD: ready.road}
        if ready.ttl is not None:
            headers["Nats-TTL"] = str(ready.ttl)
        subject = subject_of(key.workspace_id, str(key.environment), to, event.topic)
        return await self._streams.store(stream, subject, ready.payload, headers)


def message_id(partner_id: str, to: str, event_id: str) -> str:
    """What makes an event the same one: its id, of the same partner, for the same recipient."""
    if _PLAIN.fullmatch(event_id) is None:
        event_id = "sha256 " + hashlib.sha256(event_id.encode()).hexdigest()
    return f"{partner_id}/{to}/{event_id}"


def _fillings(subject: Subject) -> Iterator[dict[str, Any]]:
    """What is filled in, the highest last: what stands above a key may have changed after the key got its own."""
    rules = [key.document.rule for key in (subject.key, *subject.parents)]
    if subject.offer is not None:
        rules.append(subject.offer.rule)
    for rule in rules:
        if rule is not None:
            yield rule.options.send.autofill


def _encoded(event: AppEvent, policy: KeyPolicy) -> bytes:
    payload = encode(event)
    if len(payload) > policy.event_bytes:
        raise EventTooLarge.beyond(policy.event_bytes)
    return payload


def _deliveries(to: tuple[str, ...], stored: list[Stored]) -> tuple[DeliveryView, ...]:
    return tuple(
        DeliveryView(to=each, sequence=at.sequence, duplicate=at.duplicate) for each, at in zip(to, stored, strict=True)
    )
