"""The stream LIFECYCLE: every lifecycle event in the log's order, its sequence being the log's position."""

import asyncio
import contextlib
import json
from collections import deque
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import LIFECYCLE, LIFECYCLE_SUBJECTS

PULL = 1_000
"""Messages that a reader asks for at a time."""
QUIET = 15.0
"""Seconds without a word from the server, heartbeats included, after which a reader begins anew."""
_SECOND = 1_000_000_000


class Delivered(NamedTuple):
    position: int
    record: bytes


class LifecycleStream:
    """What the relay does with the stream: where it ends, what stands there, and the next message."""

    def __init__(self, bus: Bus, *, replicas: int) -> None:
        self._bus = bus
        self._replicas = replicas

    async def last(self) -> int:
        """The last sequence; makes the stream when there is none."""
        js = self._bus.jetstream()
        try:
            info = await js.stream_info(LIFECYCLE)
        except NotFoundError:
            info = await js.add_stream(self._config())
        return info.state.last_seq

    async def record_at(self, sequence: int) -> bytes:
        message = await self._bus.jetstream().get_msg(LIFECYCLE, seq=sequence)
        return message.data or b""

    async def publish(self, events: list[tuple[int, str, bytes]]) -> None:
        """Publishes (position, subject, record) in order; the server refuses whatever would not land on its position.

        All of them are on their way at once: the server takes them in order, and refuses all that follow a refused one.
        """
        js = self._bus.jetstream()
        sent = [
            js.publish(subject, record, headers={Header.EXPECTED_LAST_SEQUENCE: str(position - 1)}, stream=LIFECYCLE)
            for position, subject, record in events
        ]
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _config(self) -> StreamConfig:
        return StreamConfig(
            name=LIFECYCLE,
            subjects=[LIFECYCLE_SUBJECTS],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=self._replicas,
            deny_delete=True,
            deny_purge=True,
            allow_direct=True,
        )


class LifecycleReader:
    """Messages from a position on, in order, with as many on their way as the reader can take.

    Asks by itself instead of through nats-py's `fetch`, which waits for a full batch or polls.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._arrived: deque[Delivered] = deque()
        self._news = asyncio.Event()
        self._owed = 0
        self._heard = 0.0
        self._generation = -1
        self._subscription: Subscription | None = None
        self._consumer = ""

    @property
    def is_open(self) -> bool:
        """Whether messages can still be expected: same connection, and the server was heard of lately."""
        quiet = asyncio.get_running_loop().time() - self._heard
        return self._generation == self._bus.generation and self._bus.is_connected and quiet < QUIET

    async def open(self, after: int) -> None:
        """Begins (anew) behind a position. Raises `nats.errors.Error`, `NotFoundError` when there is no stream."""
        await self.close()
        client, js = self._bus.client, self._bus.jetstream()
        self._generation = self._bus.generation
        inbox = client.new_inbox()
        self._subscription = await client.subscribe(inbox, cb=self._on_message)
        consumer = await js.add_consumer(LIFECYCLE, _consumer(after + 1))
        self._consumer = consumer.name
        self._inbox = inbox
        self._owed = 0
        self._heard = asyncio.get_running_loop().time()
        await self._ask()

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, ""
        subscription, self._subscription, self._generation = self._subscription, None, -1
        self._arrived.clear()
        if consumer and self._bus.is_connected:
            # by itself it would go after a minute, and until then they could add up
            with contextlib.suppress(nats.errors.Error):
                await self._bus.jetstream().delete_consumer(LIFECYCLE, consumer)
        if subscription is not None:
            # also while disconnected: it would be subscribed again with the connection, and deliver beside the next one
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def batch(self, most: int, timeout: float) -> list[Delivered]:
        """What has arrived, `most` at once; waits up to `timeout` seconds for the first."""
        if not self._arrived:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except TimeoutError:
                pass
        batch = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        if self._owed < PULL // 2:
            await self._ask()
        return batch

    async def _ask(self) -> None:
        request = {"batch": PULL, "expires": 30 * _SECOND, "idle_heartbeat": 5 * _SECOND}
        self._owed += PULL
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{LIFECYCLE}.{self._consumer}"
        await self._bus.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    async def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        status = JetStreamContext.is_status_msg(message)
        if status is None:
            self._owed -= 1
            self._arrived.append(Delivered(message.metadata.sequence.stream, message.data))
        elif status == "408":  # a request has expired, and with it what it still owed
            self._owed -= int((message.headers or {}).get("Nats-Pending-Messages", PULL))
        elif status != "100":  # not a heartbeat either: the consumer is gone, or won't have our requests
            self._generation = -1
        self._news.set()


def _consumer(start: int) -> ConsumerConfig:
    return ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=start,
        inactive_threshold=60,
        mem_storage=True,
        num_replicas=1,
    )
