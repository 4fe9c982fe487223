"""Reading a stream in order, from anywhere on, with nothing kept at the server but for as long as it is read."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from keyfold.bus.connection import Bus

T = TypeVar("T")

PULL = 1_000
"""Messages that a reader asks for at a time, unless it is told otherwise."""
QUIET = 15.0
"""Seconds without a word from the server, heartbeats included, after which a reader begins anew."""
_SECOND = 1_000_000_000


class StreamReader(Generic[T]):
    """Messages of a stream from a sequence or a time on, in order, which are asked for `ahead` at a time.

    `subjects` are those that it reads, all when empty; `read` makes of a message what the reader hands out. Asks by
    itself instead of through nats-py's `fetch`, which waits for a full batch or polls.
    """

    def __init__(
        self, bus: Bus, stream: str, read: Callable[[Msg], T], *, subjects: Sequence[str] = (), ahead: int | None = None
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._read = read
        self._subjects = subjects
        self._ahead = ahead
        self._arrived: deque[T] = deque()
        self._news = asyncio.Event()
        self._owed = 0
        self._heard = 0.0
        self._generation = -1
        self._subscription: Subscription | None = None
        self._consumer = ""

    @property
    def _most(self) -> int:
        return self._ahead or PULL

    @property
    def is_open(self) -> bool:
        """Whether messages can still be expected: same connection, and the server was heard of lately."""
        quiet = asyncio.get_running_loop().time() - self._heard
        return self._generation == self._bus.generation and self._bus.is_connected and quiet < QUIET

    async def open(self, after: int, *, since: datetime | None = None) -> None:
        """Begins (anew) behind a sequence, or with a time instead. Raises `nats.errors.Error`, `NotFoundError` when
        there is no stream."""
        await self.close()
        client, js = self._bus.client, self._bus.jetstream()
        self._generation = self._bus.generation
        inbox = client.new_inbox()
        self._subscription = await client.subscribe(inbox, cb=self._on_message)
        consumer = await js.add_consumer(self._stream, self._config(after, since))
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
                await self._bus.jetstream().delete_consumer(self._stream, consumer)
        if subscription is not None:
            # also while disconnected: it would be subscribed again with the connection, and deliver beside the next one
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def batch(self, most: int, timeout: float) -> list[T]:
        """What has arrived, `most` at once; waits up to `timeout` seconds for the first."""
        if not self._arrived:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except TimeoutError:
                pass
        batch = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        if self._owed < self._most // 2:
            await self._ask()
        return batch

    async def _ask(self) -> None:
        request = {"batch": self._most, "expires": 30 * _SECOND, "idle_heartbeat": 5 * _SECOND}
        self._owed += self._most
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._bus.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    async def _on_message(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        status = JetStreamContext.is_status_msg(message)
        if status is None:
            self._owed -= 1
            self._arrived.append(self._read(message))
        elif status == "408":  # a request has expired, and with it what it still owed
            self._owed -= int((message.headers or {}).get("Nats-Pending-Messages", self._most))
        elif status != "100":  # not a heartbeat either: the consumer is gone, or won't have our requests
            self._generation = -1
        self._news.set()

    def _config(self, after: int, since: datetime | None) -> ConsumerConfig:
        start: dict[str, Any] = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": after + 1}
        if since is not None:
            start = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": since}
        return ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            filter_subjects=[*self._subjects] or None,
            inactive_threshold=60,
            mem_storage=True,
            num_replicas=1,
            **start,
        )
