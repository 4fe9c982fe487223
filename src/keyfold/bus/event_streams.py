"""The streams of app events: one for each environment of a workspace, made when somebody first needs it."""

import asyncio

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError

from keyfold.app.patience import in_time
from keyfold.app.ports import Stored
from keyfold.bus.connection import Bus
from keyfold.domain.app_event import EventTooLarge, stream_of
from keyfold.domain.event_attributes import LONGEST_LIFE
from keyfold.domain.refusals import Unavailable

DUPLICATE_WINDOW = 120
"""Seconds in which an event with an id that was there before is a duplicate."""
PATIENCE = 2.0
"""Seconds that one store may take in all."""
OUTAGE = (nats.errors.Error, OSError, TimeoutError)
HEADERS = 2048
"""Bytes that the headers of a message have at the most."""


class _Seen:
    """That a stream was there, by this generation of the connection."""

    def __init__(self, generation: int) -> None:
        self.generation = generation


class EventStreams:
    """Implements `keyfold.app.ports.EventStore`. What is told to be stored, JetStream has; what raises `Unavailable` it
    may have, so whoever tries again does so under the same id.

    What begins one after the other is stored in this order, also when the stream has to be made first.
    """

    def __init__(self, bus: Bus, *, replicas: int) -> None:
        self._bus = bus
        self._replicas = replicas
        self._seen: dict[str, _Seen] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._jetstream: tuple[int, JetStreamContext] | None = None

    async def ensure(self, workspace_id: str, environment: str) -> str:
        """The name of the stream, which is there now. Raises `Unavailable`."""
        name = stream_of(workspace_id, environment)
        try:
            async with in_time(PATIENCE):
                await self._be_there(name)
        except OUTAGE as outage:
            raise _unavailable() from outage
        return name

    async def last(self, workspace_id: str, environment: str) -> int:
        """The last sequence of the stream. Raises `Unavailable`."""
        stream = await self.ensure(workspace_id, environment)
        try:
            async with in_time(PATIENCE):
                return (await self._context().stream_info(stream)).state.last_seq
        except NotFoundError:  # somebody has wiped it just now
            self.forget(stream)
            return 0
        except OUTAGE as outage:
            raise _unavailable() from outage

    def forget(self, stream: str) -> None:
        """It isn't there any more, as somebody has noticed."""
        self._seen.pop(stream, None)

    async def store(self, stream: str, subject: str, payload: bytes, headers: dict[str, str]) -> Stored:
        """Where the message is in the stream. Raises `Unavailable`, `EventTooLarge`."""
        try:
            async with in_time(PATIENCE):
                seen = self._seen.get(stream)
                if seen is not None and seen.generation == self._bus.generation and not self._waiting.get(stream):
                    try:
                        return await self._publish(subject, payload, headers)
                    except (NoStreamResponseError, NotFoundError):  # somebody has wiped it while we were connected
                        if self._seen.get(stream) is seen:  # nor has anybody made it again since
                            del self._seen[stream]
                await self._be_there(stream)
                return await self._publish(subject, payload, headers)
        except OUTAGE as outage:
            self._bus.trouble.failed(outage)
            raise _unavailable() from outage

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> Stored:
        # the client looks at the payload alone, and for a message that is too large the server hangs up on all of us
        if len(payload) + HEADERS > self._bus.client.max_payload:
            raise EventTooLarge.beyond(self._bus.client.max_payload - HEADERS)
        ack = await self._context().publish(subject, payload, headers=headers)
        self._bus.trouble.over()
        return Stored(ack.seq, bool(ack.duplicate))

    async def _be_there(self, stream: str) -> None:
        """In turn: whoever comes while others wait for the stream comes after them."""
        self._waiting[stream] = self._waiting.get(stream, 0) + 1
        try:
            async with self._turns.setdefault(stream, asyncio.Lock()):
                generation = self._bus.generation
                seen = self._seen.get(stream)
                if seen is None or seen.generation != generation:
                    await self._make(stream)
                    self._seen[stream] = _Seen(generation)
        finally:
            self._waiting[stream] -= 1

    async def _make(self, stream: str) -> None:
        js = self._context()
        try:
            await js.stream_info(stream)
        except NotFoundError:
            await js.add_stream(self._config(stream))

    def _context(self) -> JetStreamContext:
        client, generation = self._bus.client, self._bus.generation
        if self._jetstream is None or self._jetstream[0] != generation:
            self._jetstream = generation, client.jetstream(timeout=2 * PATIENCE)  # the client's own has less patience
        return self._jetstream[1]

    def _config(self, stream: str) -> StreamConfig:
        workspace_id, _, environment = stream.removeprefix("EV_").rpartition("_")
        return StreamConfig(
            name=stream,
            subjects=[f"ev.{workspace_id}.{environment}.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=self._replicas,
            max_age=LONGEST_LIFE.total_seconds(),
            duplicate_window=DUPLICATE_WINDOW,
            allow_msg_ttl=True,
            allow_direct=True,
        )


def _unavailable() -> Unavailable:
    return Unavailable(
        "The events can't be reached. Perhaps the event was stored: send it again with the same id, in a moment."
    )
