"""What there is to see of a consumer: how far it is, and what it has given up on."""

from datetime import datetime

import msgspec

from keyfold.app.views import View
from keyfold.bus.consumers import Consumer, topic_of
from keyfold.bus.dead_letters import DeadLetter, Why
from keyfold.bus.durables import Durables
from keyfold.domain.filters import Filter
from keyfold.domain.reach import receive_of
from keyfold.domain.rule import History


class NativeView(View, frozen=True, kw_only=True):
    """What a NATS client binds to, in the JetStream domain `keyfold`."""

    stream: str
    consumer: str


class ObstacleView(View, frozen=True, kw_only=True):
    code: str
    detail: str


class ConsumerView(View, frozen=True, kw_only=True):
    """A consumer as it is now. `native` is null where it works over HTTP alone: `why` says why.

    `pending` counts events that it hasn't given yet, `ackPending` those that wait for an acknowledgement, `redelivered`
    those of them that were given more than once. `waiting` counts requests that wait for events.
    """

    name: str
    topics: tuple[str, ...]
    filters: tuple[Filter, ...]
    history: History
    native: NativeView | None
    why: ObstacleView | None
    pending: int
    ack_pending: int
    redelivered: int
    waiting: int


class DeadLetterView(View, frozen=True, kw_only=True):
    """An event that a consumer has given up on, at `at`: after as many `deliveries` as there are, or as whoever got it
    said, with the `detail` that they gave. `event` is null when it isn't stored any more, or isn't the key's to see."""

    sequence: int
    event_sequence: int
    topic: str | None
    reason: Why
    detail: str | None
    deliveries: int
    at: datetime
    event: msgspec.Raw


async def consumer_view(durables: Durables, this: Consumer) -> ConsumerView:
    """Raises `NotFoundError`, `Unavailable`."""
    info, given = await durables.info(this.stream, this.durable.name), receive_of(this.reach)
    why = this.why_not_native
    return ConsumerView(
        name=this.name,
        topics=given.topics,
        filters=given.filters,
        history=given.history,
        native=NativeView(stream=this.stream, consumer=this.durable.name) if why is None else None,
        why=None if why is None else ObstacleView(code=why.code, detail=why.detail),
        pending=info.num_pending or 0,
        ack_pending=info.num_ack_pending or 0,
        redelivered=info.num_redelivered or 0,
        waiting=info.num_waiting or 0,
    )


def dead_letter_view(letter: DeadLetter, *, shown: bool) -> DeadLetterView:
    advisory, event = letter.advisory, letter.event if shown else None
    return DeadLetterView(
        sequence=letter.sequence,
        event_sequence=advisory.stream_seq,
        topic=None if event is None else topic_of(str(event.subject)),
        reason=advisory.why,
        detail=advisory.reason or None,
        deliveries=advisory.deliveries,
        at=advisory.timestamp,
        event=msgspec.Raw((event and event.data) or b"null"),
    )
