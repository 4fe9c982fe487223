"""Pulling from a durable consumer: what there is at once, or else the first that comes, and never one more."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Literal

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from keyfold.bus.connection import Bus
from keyfold.bus.durables import answering
from keyfold.domain.refusals import Refusal

PATIENCE = 2.0
"""Seconds in which the server answers what it needn't wait for."""
MOST_BYTES = 8 * 2**20
"""Bytes of one pull. An event has up to 1 MiB."""
NACK_DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds until an event comes again that was rejected, after the first delivery, the second and so on."""
_SECOND = 1_000_000_000
_TOKEN = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20}){4}")

Answer = Literal["ack", "nack", "terminate", "extend"]


class ConsumerGoneError(Exception):
    """JetStream doesn't have the consumer (any more)."""


class TooManyWaiting(Refusal):
    """As many requests wait for the consumer's events as may."""

    code, status, title = "too-many-waiting", 429, "Too many requests wait for the consumer"


async def pull(bus: Bus, stream: str, consumer: str, most: int, wait: float) -> list[Msg]:
    """Up to `most` messages, as soon as there is one; none when there is none within `wait` seconds.

    Asks without waiting first and else for a single message: of a larger request, what came after the answer would be
    lost to everybody until its time is over. Raises `ConsumerGoneError`, `TooManyWaiting`, `Unavailable`.
    """
    async with answering():
        inbox = _Inbox(bus, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
        await inbox.open()
        try:
            found = await inbox.ask(most)
            if not found and wait > 0 and (found := await inbox.ask(1, wait)) and most > 1:
                found += await inbox.ask(most - 1)
            return found
        finally:
            await inbox.close()


class _Inbox:
    """Where messages come in that one pull has asked for."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._client = bus.client
        self._subject = subject
        self._address = self._client.new_inbox()
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()

    async def open(self) -> None:
        self._generation = self._bus.generation
        self._subscription = await self._client.subscribe(self._address, cb=self._arrived.put)

    async def close(self) -> None:
        """A request that still waits goes with it: the server sends nothing to where nobody listens."""
        if not self._client.is_closed:
            await self._subscription.unsubscribe()

    async def ask(self, most: int, wait: float = 0.0) -> list[Msg]:
        request = {"batch": most, "max_bytes": MOST_BYTES}
        request |= {"expires": int(wait * _SECOND)} if wait else {"no_wait": True}
        await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._address)
        messages: list[Msg] = []
        async with asyncio.timeout(wait + PATIENCE):
            while len(messages) < most:
                message = await self._next()
                status = JetStreamContext.is_status_msg(message)
                if status is None:
                    messages.append(message)
                elif _is_end(status, message):
                    break
        return messages

    async def _next(self) -> Msg:
        """Raises `nats.errors.ConnectionClosedError` on another connection: nothing comes here any more."""
        while True:
            try:
                async with asyncio.timeout(1):
                    return await self._arrived.get()
            except TimeoutError:
                if self._bus.generation != self._generation or not self._bus.is_connected:
                    raise nats.errors.ConnectionClosedError from None


def _is_end(status: str, message: Msg) -> bool:
    """Whether this status is the end of a request. Raises what is wrong with it."""
    description = (message.headers or {}).get("Description", "").lower()
    if status == "503" or "consumer deleted" in description:
        raise ConsumerGoneError
    if "exceeded maxwaiting" in description:
        raise TooManyWaiting("Pull from it in one place at a time, or give fewer processes longer waits.")
    return status != "100"


def token_of(message: Msg) -> str:
    """What stands for one delivery: the numbers of its acknowledgement, without stream and consumer."""
    return ".".join(message.reply.split(".")[-5:])


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def deliveries_of(token: str) -> int:
    return int(token.partition(".")[0])


async def answer(
    bus: Bus, stream: str, consumer: str, tokens: Iterable[str], what: Answer, *, detail: str | float | None = None
) -> list[bool]:
    """Says it of each delivery, and whether the server has confirmed it; what it doesn't know it doesn't confirm.

    `detail` is the reason of a `terminate`, or the seconds until a `nack` comes again.
    """
    client = bus.client

    async def one(token: str) -> bool:
        payload = _payload(what, detail, deliveries_of(token))
        try:
            await client.request(f"$JS.ACK.{stream}.{consumer}.{token}", payload, timeout=PATIENCE)
        except (TimeoutError, nats.errors.NoRespondersError):
            return False
        return True

    return await asyncio.gather(*[one(token) for token in tokens])


def _payload(what: Answer, detail: str | float | None, deliveries: int) -> bytes:
    match what:
        case "ack":
            return b"+ACK"
        case "extend":
            return b"+WPI"
        case "terminate":
            return f"+TERM {detail}".encode() if detail else b"+TERM"
        case "nack":
            usual = NACK_DELAYS[min(max(1, deliveries), len(NACK_DELAYS)) - 1]
            seconds = usual if detail is None else float(detail)
            return b"-NAK " + json.dumps({"delay": int(seconds * _SECOND)}).encode()


async def settle(bus: Bus, message: Msg) -> None:
    """Acknowledges without asking for a confirmation."""
    await bus.tell(message.reply, b"+ACK")


async def give_back(bus: Bus, message: Msg) -> None:
    """It may come again at once: nobody has got it."""
    await bus.tell(message.reply, b"-NAK")
