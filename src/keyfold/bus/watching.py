"""Watching a partner's events go by: those that it sends and those that its keys may receive. Nothing is consumed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from keyfold.app.ingress import ROAD
from keyfold.app.memory import Known
from keyfold.app.portal import Home, Portal
from keyfold.app.ports import Clock
from keyfold.bus.connection import Bus
from keyfold.bus.durables import Start, answering
from keyfold.bus.egress import Egress, Met, met
from keyfold.bus.event_streams import EventStreams
from keyfold.bus.following import AHEAD, WAIT, Place
from keyfold.bus.reader import StreamReader
from keyfold.domain.app_event import EVERYONE, stream_of
from keyfold.domain.judgement import Question
from keyfold.domain.permissions import Environment
from keyfold.domain.reach import Reach, coarse, reach
from keyfold.domain.topics import common, covers

Direction = Literal["sent", "received"]


class Wanted(NamedTuple):
    """What of the partner's events in an environment: of these topic patterns, all when empty, and this direction."""

    environment: Environment
    topics: tuple[str, ...] = ()
    direction: Direction | None = None


class Passing(NamedTuple):
    """A stored event on its way: `to` is `EVERYONE`, a partner's id, or a consumer's name; `road` how it came in."""

    met: Met
    to: str
    road: str | None


class Sight(NamedTuple):
    """An event that the partner has sent, may receive, or both. `key_id` is whose key sent it, if one of its own."""

    passing: Passing
    directions: tuple[Direction, ...]
    key_id: str | None


class View(NamedTuple):
    """What there is to see by now: patterns that its keys send to, and what each of them may receive."""

    home: Home
    sends: tuple[str, ...]
    reaches: tuple[Reach, ...]


class Watching:
    """`find` gives a key by its id, from memory or from the truth."""

    def __init__(
        self,
        bus: Bus,
        streams: EventStreams,
        egress: Egress,
        portal: Portal,
        *,
        find: Callable[[str], Awaitable[Known | None]],
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._streams = streams
        self._egress = egress
        self._portal = portal
        self._find = find
        self._clock = clock

    async def start(self, home: Home, environment: Environment, place: Place) -> Start:
        """Where to begin for this place. Raises `Unavailable`."""
        if place.sequence is not None:
            return Start(sequence=place.sequence)
        if place.word == "beginning":
            return Start(sequence=1)
        if place.time is not None and place.time <= self._clock():  # JetStream takes what lies ahead for the beginning
            return Start(place.time)
        return Start(sequence=await self._streams.last(home.partner.workspace_id, environment) + 1)

    async def events(self, home: Home, wanted: Wanted, start: Start, *, address: str) -> AsyncIterator[Sight]:
        """All that there is to see, in order, each once, over every reconnection to NATS, until the session ends.

        Keys that aren't for the network of `address` show nothing that they receive. Raises `Unavailable`.
        """
        stream = stream_of(home.partner.workspace_id, wanted.environment)
        reader: StreamReader[Passing] | None = None
        reading: tuple[str, ...] = ()
        try:
            while (view := await self._view(home, wanted, address)) is not None:
                subjects = _subjects(view, wanted)
                if not subjects:  # a reader of no subjects would read them all
                    await asyncio.sleep(WAIT)
                    continue
                if reader is None or not reader.is_open or subjects != reading:
                    if reader is not None:
                        await reader.close()
                    reader, reading = (
                        StreamReader(self._bus, stream, _passing, subjects=subjects, ahead=AHEAD),
                        subjects,
                    )
                    start = await self._open(reader, view.home, wanted.environment, start)
                async with answering():
                    arrived = await reader.batch(10 * AHEAD, WAIT)
                if arrived and (view := await self._view(home, wanted, address)) is None:
                    return  # by what is so now: the wait for it may have been long
                for each in arrived:
                    if start.sequence is not None and each.met.sequence < start.sequence:
                        continue
                    start = Start(sequence=each.met.sequence + 1)
                    if (sight := self._sight(view, wanted, each)) is not None:
                        yield sight
        finally:
            if reader is not None:
                await asyncio.shield(reader.close())

    async def _open(self, reader: StreamReader[Passing], home: Home, environment: Environment, start: Start) -> Start:
        """Where it has begun, which is at 1 where the stream was lost and made anew since. Raises `Unavailable`."""
        workspace_id = home.partner.workspace_id
        last = await self._streams.last(workspace_id, environment)  # which makes the stream where there is none yet
        if start.sequence is not None and start.sequence > last + 1:
            start = Start(sequence=1)
        async with answering():
            try:
                await reader.open((start.sequence or 1) - 1, since=start.time)
            except NotFoundError as lost:
                self._streams.forget(stream_of(workspace_id, environment))
                raise nats.errors.ConnectionClosedError from lost
        return start

    async def _view(self, home: Home, wanted: Wanted, address: str) -> View | None:
        """None when the session has ended. Raises `Unavailable`."""
        now, fresh = self._clock(), await self._portal.still(home.session.id)
        if fresh is None:
            return None
        sends: dict[str, None] = {}
        reaches: dict[Reach, None] = {}
        for key_id in fresh.partner.keys:
            known = await self._find(key_id)
            if known is None or known.subject.key.environment != wanted.environment:
                continue
            rule = known.subject.key.document.rule
            if rule is not None and "send" in rule.permitted and not known.subject.key.has_ended(now):
                sends |= dict.fromkeys(rule.options.send.topics)
            if known.decision(Question("receive", None, address), now).code == "valid":
                reaches[reach(known.subject)] = None
        return View(fresh, tuple(sends), tuple(reaches))

    def _sight(self, view: View, wanted: Wanted, this: Passing) -> Sight | None:
        if wanted.topics and not any(covers(each, this.met.topic) for each in wanted.topics):
            return None
        partner = view.home.partner
        if this.to not in (EVERYONE, partner.id) and not this.to.startswith("prt_"):
            return None  # given once more, to one consumer alone
        sender = _sender(this.met.data)
        is_own = sender.source == f"/partners/{partner.id}"
        directions: list[Direction] = []
        if is_own and wanted.direction != "received":
            directions.append("sent")
        is_for_us = this.to in (EVERYONE, partner.id) and wanted.direction != "sent"
        if is_for_us and any(self._egress.takes(each, this.met) for each in view.reaches):
            directions.append("received")
        return Sight(this, tuple(directions), sender.keyid if is_own else None) if directions else None


class _Sender(msgspec.Struct):
    source: str = ""
    keyid: str | None = None


_sender = msgspec.json.Decoder(_Sender).decode


def _passing(message: Msg) -> Passing:
    return Passing(met(message), message.subject.split(".")[3], (message.headers or {}).get(ROAD))


def _subjects(view: View, wanted: Wanted) -> tuple[str, ...]:
    """The subjects of all that may be seen, none within another; what else is under them is left out when it comes."""
    base = f"ev.{view.home.partner.workspace_id}.{wanted.environment}"
    received = tuple(pattern for each in view.reaches for pattern in each.patterns)
    if wanted.direction == "received":
        return tuple(
            f"{base}.{to}.{each}" for to in (EVERYONE, view.home.partner.id) for each in _dotted(received, wanted)
        )
    patterns = view.sends if wanted.direction == "sent" else (*view.sends, *received)
    return tuple(f"{base}.*.{each}" for each in _dotted(patterns, wanted))


def _dotted(patterns: tuple[str, ...], wanted: Wanted) -> list[str]:
    within = common(patterns, wanted.topics or ("**",))
    return [each.replace("**", ">").replace("/", ".") for each in coarse(within)]
