"""The stream LIFECYCLE: every lifecycle event in the log's order, its sequence being the log's position."""

import asyncio
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.js.api import Header, PersistMode, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from keyfold.bus.connection import Bus
from keyfold.bus.reader import StreamReader
from keyfold.bus.subjects import LIFECYCLE, LIFECYCLE_SUBJECTS


class Delivered(NamedTuple):
    position: int
    record: bytes


class Publication(NamedTuple):
    """A message of the stream, and the sequence that it must get."""

    position: int
    subject: str
    record: bytes
    headers: dict[str, str]


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

    async def publish(self, events: list[Publication]) -> None:
        """Publishes them in order; the server refuses whatever would not land on its position.

        All of them are on their way at once: the server takes them in order, and refuses all that follow a refused one.
        """
        js = self._bus.jetstream()
        sent = [
            js.publish(
                subject,
                record,
                headers={Header.EXPECTED_LAST_SEQUENCE: str(position - 1), **headers},
                stream=LIFECYCLE,
            )
            for position, subject, record, headers in events
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
            # what a crash takes of it is in the log, and is published again; several servers keep it for one another
            persist_mode=PersistMode.ASYNC if self._replicas == 1 else None,
            deny_delete=True,
            deny_purge=True,
            allow_direct=True,
        )


class LifecycleReader(StreamReader[Delivered]):
    """Messages from a position on, in order, with as many on their way as the reader can take."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, LIFECYCLE, _delivered)


def _delivered(message: Msg) -> Delivered:
    return Delivered(message.metadata.sequence.stream, message.data)
