"""The durable consumers behind the consumers of keys: made, changed, moved and removed at JetStream."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import nats.errors
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from keyfold.bus.connection import Bus
from keyfold.bus.dead_letters import DeadLetters
from keyfold.bus.event_streams import EventStreams
from keyfold.domain.refusals import Unavailable

ACK_WAIT = 30.0
"""Seconds that a delivery waits for its acknowledgement. No `backoff`: JetStream takes its steps in the place of this
one, and counts the delay of a rejection from the wrong one of them."""
MOST_DELIVERIES = 6
PENDING = 1_000
"""Events that are delivered and not yet acknowledged."""
WAITING = 64
"""Requests that wait for events."""
IDLE = 31 * 86400.0
"""Seconds after which a consumer that nobody asks is removed: longer than any event is kept, so nothing is lost by it,
nor delivered again when it is made anew."""
CAPACITY = 50_000
KEY = "key"
"""The metadata that says which key a consumer was made for."""


class Start(NamedTuple):
    """Where a consumer begins: at a time, at a sequence where that is given, or with the first event there is."""

    time: datetime | None = None
    sequence: int | None = None

    def settings(self) -> dict[str, Any]:
        if self.sequence is not None:
            return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": max(1, self.sequence)}
        if self.time is not None:
            return {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": self.time}
        return {"deliver_policy": DeliverPolicy.ALL}


class Durable(NamedTuple):
    """A durable as it shall be. `sibling` is another name of it, which it takes over from; `key_id` whom it is for."""

    workspace_id: str
    environment: str
    stream: str
    name: str
    subjects: tuple[str, ...]
    start: Start
    key_id: str
    sibling: str | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether its deliveries and acknowledgements are counted by asking JetStream, which knows the native ones too
        (see `consumer_samples`), and so by nobody else."""
        return self.name.startswith(("k_", "g_"))


class Durables:
    """Remembers which durables were there as they should be, in which generation of the connection."""

    def __init__(self, bus: Bus, streams: EventStreams, dead_letters: DeadLetters, *, replicas: int) -> None:
        self._bus = bus
        self._streams = streams
        self._dead_letters = dead_letters
        self._replicas = replicas
        self._there: OrderedDict[tuple[str, str], tuple[int, tuple[str, ...]]] = OrderedDict()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, this: Durable) -> None:
        """It is there, like this. No request when it was before. Raises `Unavailable`."""
        which, wanted = (this.stream, this.name), (self._bus.generation, this.subjects)
        if self._there.get(which) == wanted:
            return
        async with self._turn(which):
            if self._there.get(which) == wanted:
                return
            async with answering():
                try:
                    await self._put(this)
                except NotFoundError:  # the stream is gone, which was there before
                    self._streams.forget(this.stream)
                    await self._put(this)
            self._there[which] = wanted
            if len(self._there) > CAPACITY:
                self._there.popitem(last=False)

    def forget(self, stream: str, name: str) -> None:
        """It isn't there any more, as somebody has noticed."""
        self._there.pop((stream, name), None)

    async def info(self, stream: str, name: str) -> ConsumerInfo:
        """Raises `NotFoundError`, `Unavailable`."""
        async with answering():
            info: ConsumerInfo = await self._bus.jetstream().consumer_info(stream, name)
            return info

    async def move(self, this: Durable) -> None:
        """Begins anew at its start; what is under way counts no more. Raises `Unavailable`."""
        async with self._turn((this.stream, this.name)), answering():
            await self._delete(this.stream, this.name)
            await self._streams.ensure(this.workspace_id, this.environment)
            await self._bus.jetstream().add_consumer(this.stream, self._config(this, this.start))
        self._there[this.stream, this.name] = self._bus.generation, this.subjects

    async def remove(self, stream: str, name: str) -> None:
        """It is gone, if it was there. Raises `Unavailable`."""
        async with self._turn((stream, name)), answering():
            await self._delete(stream, name)

    async def _put(self, this: Durable) -> None:
        await self._dead_letters.ensure()
        await self._streams.ensure(this.workspace_id, this.environment)
        found = await self._find(this.stream, this.name)
        if found is None:
            before = await self._find(this.stream, this.sibling) if this.sibling else None
            try:
                await self._bus.jetstream().add_consumer(this.stream, self._config(this, _start(this, before)))
            except APIError:
                found = await self._find(this.stream, this.name)
                if found is None:
                    raise
                # another process was faster, with a start that differs by some milliseconds
        if found is not None and {*(found.config.filter_subjects or ())} != {*this.subjects}:
            await self._bus.jetstream().add_consumer(
                this.stream, found.config.evolve(filter_subjects=[*this.subjects], name=this.name)
            )
        if this.sibling:
            await self._delete(this.stream, this.sibling)

    async def _find(self, stream: str, name: str) -> ConsumerInfo | None:
        try:
            info: ConsumerInfo = await self._bus.jetstream().consumer_info(stream, name)
        except NotFoundError:
            return None
        return info

    async def _delete(self, stream: str, name: str) -> None:
        self.forget(stream, name)
        with suppress(NotFoundError):
            await self._bus.jetstream().delete_consumer(stream, name)

    def _config(self, this: Durable, start: Start) -> ConsumerConfig:
        return ConsumerConfig(
            name=this.name,
            durable_name=this.name,
            filter_subjects=[*this.subjects],
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            max_deliver=MOST_DELIVERIES,
            max_ack_pending=PENDING,
            max_waiting=WAITING,
            inactive_threshold=IDLE,
            num_replicas=self._replicas,
            metadata={KEY: this.key_id},
            **start.settings(),
        )

    def _turn(self, which: tuple[str, str]) -> asyncio.Lock:
        """One at a time for each durable."""
        return self._turns.setdefault(which, asyncio.Lock())


def _start(this: Durable, before: ConsumerInfo | None) -> Start:
    """Behind what the sibling has had acknowledged; what it had under way comes again."""
    floor = before.ack_floor.stream_seq if before and before.ack_floor else 0
    return Start(sequence=floor + 1) if floor else this.start


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises `Unavailable` for every kind of outage of JetStream; lets `NotFoundError` pass."""
    try:
        yield
    except NotFoundError:
        raise
    except (nats.errors.Error, OSError, TimeoutError) as outage:
        raise Unavailable("The events can't be reached right now. Try again in a moment.") from outage
