"""Dead letters: what a consumer has given up on, noted by JetStream itself, to be looked at and given once more."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import Header, RawStreamMsg, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from keyfold.bus.connection import Bus
from keyfold.domain.event_attributes import LONGEST_LIFE
from keyfold.domain.refusals import NotFound, Refusal

DEAD = "DEAD"
"""The stream of JetStream's advisories on events that a consumer won't get again."""
_ADVISORIES = "$JS.EVENT.ADVISORY.CONSUMER"
_PATIENCE = 2.0

Why = Literal["max-deliveries", "terminated"]


class EventGone(Refusal):
    """The event is older than events are kept, or has outlived its own time to live."""

    code, status, title = "event-gone", 410, "The event isn't stored any more"


class Advisory(msgspec.Struct):
    """What JetStream says of an event that it gave up on; see its schemas io.nats.jetstream.advisory.v1."""

    type: str
    timestamp: datetime
    stream: str
    consumer: str
    stream_seq: int
    deliveries: int = 0
    reason: str = ""

    @property
    def why(self) -> Why:
        return "terminated" if self.type.endswith(".terminated") else "max-deliveries"


class DeadLetter(NamedTuple):
    """`sequence` is the note's own. `subject`, `data` and `headers` are the event's, None when it is gone."""

    sequence: int
    advisory: Advisory
    event: RawStreamMsg | None


class DeadLetters:
    """Of each consumer for itself: `names` are those that its durable goes or went by. Every method raises
    `nats.errors.Error` and its like for an outage."""

    def __init__(self, bus: Bus, *, replicas: int) -> None:
        self._bus = bus
        self._replicas = replicas
        self._generation = -1

    async def ensure(self) -> None:
        """From now on nothing is given up on unnoticed."""
        generation = self._bus.generation
        if self._generation == generation:
            return
        js = self._bus.jetstream()
        try:
            await js.stream_info(DEAD)
        except NotFoundError:
            await js.add_stream(_config(self._replicas))
        self._generation = generation

    async def page(self, stream: str, names: Sequence[str], *, after: int, most: int) -> list[DeadLetter]:
        """Those behind a sequence, the oldest first."""
        pages = await asyncio.gather(*[self._noted(stream, name, after, most) for name in names])
        notes = sorted((note for page in pages for note in page), key=lambda note: note[0])[:most]
        events = await asyncio.gather(*[self._event(advisory) for _, advisory in notes])
        return [DeadLetter(*note, event) for note, event in zip(notes, events, strict=True)]

    async def one(self, stream: str, names: Sequence[str], sequence: int) -> DeadLetter:
        """Raises `NotFound` for what isn't there, or is another consumer's."""
        with suppress(NotFoundError):
            note = await self._bus.jetstream().get_msg(DEAD, seq=sequence)
            if str(note.subject).endswith(tuple(f".{stream}.{name}" for name in names)):
                advisory = _decode(note.data or b"")
                return DeadLetter(sequence, advisory, await self._event(advisory))
        raise NotFound.of("dead letter", str(sequence))

    async def redrive(self, letter: DeadLetter, subject: str) -> int:
        """Stores the event once more, under a subject that is the consumer's alone, and forgets the note. Gives the new
        sequence; the same for two at once. Raises `EventGone`."""
        if letter.event is None:
            raise EventGone("The event isn't stored any more, so it can't be given again. Discard the dead letter.")
        js, event = self._bus.jetstream(), letter.event
        headers = {
            **(event.headers or {}),
            Header.MSG_ID.value: f"redrive/{letter.advisory.consumer}/{letter.sequence}",
        }
        headers.pop("Nats-TTL", None)  # it has been counting since the event was sent
        ack = await js.publish(subject, event.data or b"", headers=headers)
        await self.discard(letter)
        return ack.seq

    async def discard(self, letter: DeadLetter) -> None:
        js = self._bus.jetstream()
        try:
            await js.delete_msg(DEAD, letter.sequence)
        except APIError:  # of a message that isn't there the server says "stream store EOF"
            with suppress(NotFoundError):
                await js.get_msg(DEAD, seq=letter.sequence)
                raise

    async def purge(self, stream: str, name: str) -> None:
        """Discards all of a consumer that is gone."""
        with suppress(NotFoundError):
            await self._bus.jetstream().purge_stream(DEAD, subject=f"{_ADVISORIES}.*.{stream}.{name}")

    async def _event(self, advisory: Advisory) -> RawStreamMsg | None:
        try:
            return await self._bus.jetstream().get_msg(advisory.stream, seq=advisory.stream_seq)
        except NotFoundError:
            return None

    async def _noted(self, stream: str, name: str, after: int, most: int) -> list[tuple[int, Advisory]]:
        """In one request (NATS ADR-31, batches of direct gets)."""
        client, arrived = self._bus.client, asyncio.Queue[Msg]()
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=arrived.put)
        asked: dict[str, Any] = {"next_by_subj": f"{_ADVISORIES}.*.{stream}.{name}", "seq": after + 1, "batch": most}
        found: list[tuple[int, Advisory]] = []
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{DEAD}", json.dumps(asked).encode(), reply=inbox)
            async with asyncio.timeout(_PATIENCE):
                while JetStreamContext.is_status_msg(message := await arrived.get()) is None:
                    found.append((int((message.headers or {})["Nats-Sequence"]), _decode(message.data)))
        finally:
            await subscription.unsubscribe()
        return found


def _config(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=DEAD,
        subjects=[f"{_ADVISORIES}.{what}.>" for what in ("MAX_DELIVERIES", "MSG_TERMINATED")],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=replicas,
        max_age=LONGEST_LIFE.total_seconds(),
        allow_direct=True,
    )


_decode = msgspec.json.Decoder(Advisory).decode
