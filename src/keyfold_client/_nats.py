"""The road over NATS: events published as requests, and native pull consumers."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyfold_client._connection import Connection, Link, LostError
from keyfold_client._road import Found, Native
from keyfold_client.errors import KeyRefused, Unreachable, of_answer
from keyfold_client.models import Receipt, Verb

DOMAIN = "keyfold"
HEARTBEAT = 5.0
NACK_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds until an event comes again that was rejected, after the first delivery, the second and so on."""
ANSWER = 5.0
"""Seconds that an event gets to be stored, before it is sent again."""
_SECOND = 1_000_000_000
_STRUCTURED = {"content-type": "application/cloudevents+json"}


class _Stored(msgspec.Struct):
    """As JetStream acknowledges (`PubAck`)."""

    stream: str
    seq: int
    id: str
    duplicate: bool = False


async def publish(connection: Connection, topic: str, payload: bytes, seconds: float) -> Receipt:
    """One try. Raises `KeyfoldError`."""
    began = time.monotonic()
    link = await connection.link(seconds)
    left = max(0.1, seconds - (time.monotonic() - began))
    message = await link.request("events." + topic.replace("/", "."), payload, _STRUCTURED, min(ANSWER, left))
    if error := of_answer(message.data):
        if isinstance(error, KeyRefused) and await connection.has_turned(link):
            raise LostError
        raise error
    try:
        stored = msgspec.json.decode(message.data, type=_Stored)
    except msgspec.MsgspecError:
        raise Unreachable("What came back over NATS isn't of Keyfold's making.") from None
    return Receipt(stored.id, stored.seq, stored.stream, stored.duplicate)


class NativeSource:
    """Pulls from a durable over whichever connection there is. `find` says where it is, and sees to it that it's
    there; it is asked again whenever the durable can't be found."""

    def __init__(self, connection: Connection, find: Callable[[], Awaitable[Native]]) -> None:
        self._connection = connection
        self._find = find
        self._place: Native | None = None
        self._link: Link | None = None
        self._subscription: Subscription | None = None
        self._arrived: list[Found] = []
        self._news = asyncio.Event()
        self._owed = 0
        self._heard = 0.0
        self._trouble = ""

    async def pull(self, batch: int, wait: float) -> list[Found]:
        """Raises `KeyfoldError`."""
        link = await self._connection.link()
        if link is not self._link or self._place is None:
            self._place = await self._move(link)
        if not self._owed and not self._arrived:
            await self._ask(link, self._place, batch, wait)
        self._news.clear()
        if not self._arrived:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * HEARTBEAT + 1):
                    await self._news.wait()
        if not self._arrived and self._owed and time.monotonic() - self._heard > 2 * HEARTBEAT:
            self._trouble = "no heartbeat"
        if not self._arrived and self._trouble:
            trouble, self._trouble, self._place = self._trouble, "", None
            raise Unreachable(f"The consumer can't be pulled from right now: {trouble}.")
        found, self._arrived = self._arrived, []
        return found

    async def settle(self, verb: Verb, found: Sequence[Found], delay: float | None) -> None:
        link = await self._connection.link()
        try:
            for each in found:
                await link.client.publish(each.token, _answer(verb, each.deliveries, delay))
        except (nats.errors.Error, OSError):
            raise LostError from None

    async def close(self) -> list[Found]:
        """What has arrived and nobody has asked for."""
        await self._leave()
        found, self._arrived = self._arrived, []
        return found

    async def _move(self, link: Link) -> Native:
        """What has arrived over the old connection still counts; what is on its way there comes again."""
        await self._leave()
        place = await self._find()
        self._link = link
        self._inbox = link.client.new_inbox()
        link.on_loss(self._news.set)
        try:
            self._subscription = await link.client.subscribe(self._inbox, cb=self._on_message)
        except (nats.errors.Error, OSError):
            raise LostError from None
        return place

    async def _leave(self) -> None:
        subscription, self._subscription, self._owed = self._subscription, None, 0
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await subscription.drain()  # type: ignore[no-untyped-call]

    async def _ask(self, link: Link, place: Native, batch: int, wait: float) -> None:
        request: dict[str, Any] = {"batch": batch, "expires": int(wait * _SECOND)}
        if wait >= 2 * HEARTBEAT:
            request["idle_heartbeat"] = int(HEARTBEAT * _SECOND)
        subject = f"$JS.{DOMAIN}.API.CONSUMER.MSG.NEXT.{place.stream}.{place.consumer}"
        try:
            await link.client.publish(subject, msgspec.json.encode(request), reply=self._inbox)
        except (nats.errors.Error, OSError):
            raise LostError from None
        self._owed, self._heard = batch, time.monotonic()

    async def _on_message(self, message: Msg) -> None:
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status")
        if status is None or message.data:
            self._owed -= 1
            self._arrived.append(found(message))
        elif status == "100":
            return
        else:  # the end of the request, with or without all that was asked for
            self._owed = 0
            if status not in ("404", "408"):
                self._trouble = (message.headers or {}).get("Description") or status
        self._news.set()


def found(message: Msg) -> Found:
    """A delivery as it comes from JetStream. Its reply subject, which acknowledges it, has the numbers at its end."""
    deliveries, sequence = message.reply.split(".")[-5:-3]
    return Found(message.reply, int(sequence), int(deliveries), message.data)


def _answer(verb: Verb, deliveries: int, delay: float | None) -> bytes:
    match verb:
        case "ack":
            return b"+ACK"
        case "extend":
            return b"+WPI"
        case "terminate":
            return b"+TERM"
        case "nack":
            usual = NACK_DELAYS[min(max(1, deliveries), len(NACK_DELAYS)) - 1]
            seconds = usual if delay is None else delay
            return b"-NAK " + msgspec.json.encode({"delay": int(seconds * _SECOND)})
