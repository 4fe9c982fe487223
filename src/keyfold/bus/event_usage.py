"""How keys are used for events, on its way from the APIs through the stream USAGE to whoever writes it down."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DiscardPolicy, Header, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

from keyfold.app.event_usage import EventUsage, Tally
from keyfold.bus.connection import Bus
from keyfold.bus.subjects import USAGE, USAGE_SUBJECT

log = structlog.get_logger()

_ANSWER = 2.0
"""Seconds that the server gets to acknowledge a batch."""
_WRITER = "writer"
_AT_ONCE = 64
"""Batches that are fetched together."""
_NAME_IN_USE = 10058
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Tally]).decode


class UsageSender:
    """Hands over what was noted. A batch without an answer is sent again as it was, under its own id, before any other:
    whether or not it was stored the first time, it is written down once."""

    def __init__(self, bus: Bus, usage: EventUsage, *, replicas: int, new_id: Callable[[str], str]) -> None:
        self._bus = bus
        self._usage = usage
        self._replicas = replicas
        self._new_id = new_id
        self._waiting: deque[tuple[str, bytes]] = deque()

    async def flush(self) -> None:
        """Returns when NATS has all that was noted before. Raises `nats.errors.Error`; the next call goes on."""
        if not self._waiting:
            self._waiting.extend((self._new_id("use"), _encode(batch)) for batch in self._usage.take())
        while self._waiting:
            await self._send(*self._waiting[0])
            self._waiting.popleft()

    async def _send(self, batch: str, payload: bytes) -> None:
        headers: dict[str, str] = {Header.MSG_ID: batch}
        try:
            await self._bus.jetstream(_ANSWER).publish(USAGE_SUBJECT, payload, stream=USAGE, headers=headers)
        except NoStreamResponseError:
            await ensure_usage_stream(self._bus, replicas=self._replicas)
            await self._bus.jetstream(_ANSWER).publish(USAGE_SUBJECT, payload, stream=USAGE, headers=headers)


class UsageBatch(NamedTuple):
    """One that was handed over. `payload` is a JSON list of `Tally`."""

    id: str
    payload: bytes
    message: Msg

    async def done(self) -> None:
        """To be called when it is written. Should this not arrive, the batch comes again."""
        with suppress(nats.errors.Error):
            await self.message.ack()


class UsageReader:
    """What the stream holds, for whoever writes it down. Each batch comes until it is done."""

    def __init__(self, bus: Bus, *, replicas: int) -> None:
        self._bus = bus
        self._replicas = replicas

    async def batches(self) -> list[UsageBatch]:
        """Those that are there now, some at a time. Raises `nats.errors.Error`."""
        js = self._bus.jetstream()
        try:
            info = await js.consumer_info(USAGE, _WRITER)
        except NotFoundError:  # the first time, or NATS has lost its disk
            await ensure_usage_stream(self._bus, replicas=self._replicas)
            info = await js.add_consumer(
                USAGE, ConsumerConfig(durable_name=_WRITER, ack_wait=10, filter_subject="usage.>")
            )
        if not info.num_pending and not info.num_ack_pending:
            return []
        subscription = await js.pull_subscribe_bind(_WRITER, USAGE)
        try:
            messages = await subscription.fetch(_AT_ONCE, timeout=1)
        except TimeoutError:  # what there is lies with somebody else, until its time is over
            return []
        finally:
            await subscription.unsubscribe()
        read = [await _read(message) for message in messages]
        return [batch for batch in read if batch is not None]


async def ensure_usage_stream(bus: Bus, *, replicas: int) -> None:
    """Makes the stream where it isn't there yet: what is written down leaves it, and when it is full it takes no more,
    so that the senders keep the rest."""
    config = StreamConfig(
        name=USAGE,
        subjects=["usage.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=7 * 86_400,
        max_bytes=256 * 1024 * 1024,
        num_replicas=replicas,
    )
    try:
        await bus.jetstream().add_stream(config)
    except BadRequestError as error:
        if error.err_code != _NAME_IN_USE:  # made by a process with other settings: good enough
            raise


async def _read(message: Msg) -> UsageBatch | None:
    """A batch that can't be read will never be: it is put away, loudly."""
    batch = (message.headers or {}).get(Header.MSG_ID, "")
    try:
        tallies = _decode(message.data)
    except msgspec.MsgspecError:
        tallies = []
    if batch and tallies and len({(each.key_id, each.minute, each.outcome) for each in tallies}) == len(tallies):
        return UsageBatch(batch, message.data, message)
    log.error("usage.unreadable", bytes=len(message.data))
    with suppress(nats.errors.Error):
        await message.term()
    return None
