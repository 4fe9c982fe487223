"""Following a stream of app events, from wherever one likes: nothing is kept once nobody listens."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import nats.errors
from nats.js.errors import NotFoundError

from keyfold.app.cancellation import obey_cancellation
from keyfold.app.memory import Known
from keyfold.bus.connection import Bus
from keyfold.bus.consumers import Consumers, NothingToReceive, subjects_of
from keyfold.bus.durables import Start, answering
from keyfold.bus.egress import Egress, Met, met
from keyfold.bus.event_streams import EventStreams
from keyfold.bus.reader import StreamReader
from keyfold.domain.app_event import stream_of
from keyfold.domain.key_state import Key
from keyfold.domain.reach import Reach
from keyfold.domain.refusals import Invalid
from keyfold.domain.topics import common

AHEAD = 64
"""Events that are asked for at a time: what a slow listener costs."""
WAIT = 0.5
"""Seconds that pass between two looks at the key, at the most."""
_SEQUENCE = re.compile(r"[0-9]{1,19}")


class Place(NamedTuple):
    """Somewhere in a stream: its `beginning`, its `end`, a `sequence`, a `time`."""

    word: str = ""
    sequence: int | None = None
    time: datetime | None = None


def read_place(text: str, where: str) -> Place:
    """`beginning`, `end`, a sequence or a time with its offset. Raises `Invalid`, naming `where` it stood."""
    if text in ("beginning", "end"):
        return Place(text)
    if _SEQUENCE.fullmatch(text) and 1 <= int(text) < 2**63:
        return Place(sequence=int(text))
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if "T" in text and moment.tzinfo is not None:
            return Place(time=moment.astimezone(UTC))
    raise Invalid("This is no place in a stream.", (where, "Give beginning, end, a sequence or a time with offset."))


class Following:
    def __init__(self, bus: Bus, streams: EventStreams, consumers: Consumers, egress: Egress) -> None:
        self._bus = bus
        self._streams = streams
        self._consumers = consumers
        self._egress = egress

    async def start(self, key: Key, given: Reach, place: Place, now: datetime) -> Start:
        """Where to begin for this place, never before the window. Raises `Unavailable`."""
        earliest = given.earliest(now)
        if place.word == "end":
            return Start(sequence=await self.last(key) + 1)
        if place.sequence is not None and (earliest is None or await self._time_at(key, place.sequence) >= earliest):
            return Start(sequence=place.sequence)
        times = [each for each in (place.time, earliest) if each is not None]
        if times and max(times) > now:  # JetStream would take it for the beginning
            return Start(sequence=await self.last(key) + 1)
        return Start(max(times)) if times else Start(sequence=1)

    async def _time_at(self, key: Key, sequence: int) -> datetime:
        """When the first event from a sequence on was stored; the end of all time when there is none yet."""
        stream = await self._streams.ensure(key.workspace_id, str(key.environment))
        async with answering():
            try:
                found = await self._bus.jetstream().get_msg(stream, seq=sequence, subject=">", next=True)
            except NotFoundError:
                return datetime.max.replace(tzinfo=UTC)
        return found.time or datetime.min.replace(tzinfo=UTC)

    async def last(self, key: Key) -> int:
        """The last sequence of the key's stream. Raises `Unavailable`."""
        return await self._streams.last(key.workspace_id, str(key.environment))

    async def events(self, known: Known, topics: tuple[str, ...], start: Start, *, address: str) -> AsyncIterator[Met]:
        """All that the key may see of these topics, in order, each once, over every reconnection to NATS.

        Goes on for ever. Ends with what speaks against the key, as `Egress.still` raises it, or `NothingToReceive`.
        """
        reader: StreamReader[Met] | None = None
        reading: tuple[str, ...] = ()
        try:
            while True:
                obey_cancellation()
                known = await self._egress.still(known, address)
                given = self.narrowed(known, topics)
                subjects = subjects_of(known.subject.key, given)
                if reader is None or not reader.is_open or subjects != reading:
                    if reader is not None:
                        await reader.close()
                    reader, reading = self._reader(known.subject.key, subjects), subjects
                    start = await self._open(reader, known.subject.key, start)
                arrived = await self._batch(reader)
                if arrived:  # by what is so now: the wait for it may have been long
                    known = await self._egress.still(known, address)
                    given = self.narrowed(known, topics)
                for each in arrived:
                    if start.sequence is not None and each.sequence < start.sequence:
                        continue
                    start = Start(sequence=each.sequence + 1)
                    if self._egress.takes(given, each):
                        yield each
                        self._egress.note(known, "delivered", 1, size=len(each.data))
                    else:
                        self._egress.note(known, "filtered", 1)
        finally:
            if reader is not None:
                await asyncio.shield(reader.close())

    def narrowed(self, known: Known, topics: tuple[str, ...]) -> Reach:
        """What the key may receive of these topics; of all when there are none. Raises `NothingToReceive`."""
        given = self._consumers.reach_of(known)
        patterns = common(given.patterns, topics) if topics else given.patterns
        if not patterns:
            raise NothingToReceive("This key may receive nothing of these topics.")
        return Reach(
            patterns=patterns, filters=given.filters, since=given.since, until=given.until, seconds=given.seconds
        )

    def _reader(self, key: Key, subjects: tuple[str, ...]) -> StreamReader[Met]:
        stream = stream_of(key.workspace_id, str(key.environment))
        return StreamReader(self._bus, stream, met, subjects=subjects, ahead=AHEAD)

    async def _open(self, reader: StreamReader[Met], key: Key, start: Start) -> Start:
        """Where it has begun, which is at 1 where the stream was lost and made anew since. Raises `Unavailable`."""
        if start.sequence is not None and start.sequence > await self.last(key) + 1:
            start = Start(sequence=1)
        async with answering():
            try:
                await reader.open((start.sequence or 1) - 1, since=start.time)
            except NotFoundError as lost:
                self._streams.forget(stream_of(key.workspace_id, str(key.environment)))
                raise nats.errors.ConnectionClosedError from lost
        return start

    async def _batch(self, reader: StreamReader[Met]) -> list[Met]:
        async with answering():
            return await reader.batch(10 * AHEAD, WAIT)
