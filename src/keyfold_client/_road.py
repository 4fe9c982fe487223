"""What both roads have in common, and the one over HTTP."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from keyfold_client._http import TIMEOUT, Http
from keyfold_client.errors import KeyfoldError, Unreachable
from keyfold_client.models import Receipt, Verb

EVENTS = "/api/v1/events"
CONSUMERS = "/api/v1/consumers"
OWN = "own"
"""The consumer that each key has, and its successors after it."""


class Found(NamedTuple):
    """One delivery. `token` is what it is answered with; `event` a CloudEvent in structured mode."""

    token: str
    sequence: int
    deliveries: int
    event: bytes


class NotNative(Unreachable):
    """The consumer works over HTTP alone by now."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The consumer {name} works over HTTP only by now.")


class Source(Protocol):
    """A consumer over one of the roads. Whatever it can't do raises `KeyfoldError`."""

    async def pull(self, batch: int, wait: float) -> list[Found]:
        """Up to `batch` events, as soon as there is one; maybe none, after `wait` seconds at the latest."""

    async def settle(self, verb: Verb, found: Sequence[Found], delay: float | None) -> None:
        """Says it of each; says nothing of those that aren't under way any more."""

    async def close(self) -> list[Found]:
        """Ends it; what it had in stock is given back to its caller."""


class Native(msgspec.Struct, frozen=True):
    """What a NATS client pulls from, in the JetStream domain `keyfold`."""

    stream: str
    consumer: str


class Listed(msgspec.Struct):
    """A consumer as `GET /api/v1/consumers` has it. Without `native` it works over HTTP alone."""

    name: str
    topics: list[str]
    native: Native | None = None


class _Delivered(msgspec.Struct, rename="camel"):
    sequence: int
    deliveries: int
    token: str
    event: msgspec.Raw


async def publish(http: Http, topic: str, payload: bytes, seconds: float) -> Receipt:
    """One try. Raises `KeyfoldError`."""
    return await http.call(
        "POST",
        EVENTS,
        Receipt,
        params={"topic": topic},
        content=payload,
        headers={"Content-Type": "application/cloudevents+json"},
        timeout=min(TIMEOUT, seconds),
    )


class HttpSource:
    def __init__(self, http: Http, name: str) -> None:
        self._http = http
        self._path = f"{CONSUMERS}/{name}"

    async def pull(self, batch: int, wait: float) -> list[Found]:
        asked = {"batch": batch, "waitSeconds": int(wait)}
        given = await self._http.call(
            "POST", f"{self._path}/pull", list[_Delivered], body=asked, timeout=wait + TIMEOUT
        )
        return [Found(each.token, each.sequence, each.deliveries, bytes(each.event)) for each in given]

    async def settle(self, verb: Verb, found: Sequence[Found], delay: float | None) -> None:
        body: dict[str, Any] = {"tokens": [each.token for each in found]}
        if delay is not None:
            body["delaySeconds"] = math.ceil(delay)
        await self._http.call("POST", f"{self._path}/{verb}", list[Any], body=body)

    async def close(self) -> list[Found]:
        return []


async def consumer(http: Http, name: str, topics: Sequence[str]) -> Listed:
    """The key's consumer of this name, made for these topics if it isn't there: those of all that the key may receive
    where none are given. Raises `KeyfoldError`."""
    for listed in await http.call("GET", CONSUMERS, list[Listed]):
        if listed.name == name:
            if topics and {*topics} != {*listed.topics}:
                others = f"The consumer {name} is there, for other topics: {', '.join(listed.topics)}."
                raise KeyfoldError("consumer-exists", others, status=409)
            return listed
    if name == OWN:
        raise KeyfoldError("nothing-to-receive", "The key has no topic to receive from.", status=403)
    wanted = {"name": name, **({"topics": topics} if topics else {})}
    try:
        await http.call("POST", CONSUMERS, dict[str, Any], body=wanted)
    except KeyfoldError as error:
        if error.code != "consumer-exists":  # which somebody else has just made
            raise
    return await consumer(http, name, topics)
