"""What the client gives: events, deliveries, receipts, verdicts."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

import msgspec

Verb = Literal["ack", "nack", "terminate", "extend"]
Settle = Callable[["Delivery", Verb, float | None], Awaitable[None]]


class Event(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A CloudEvents 1.0 event. `source` and `key_id` are whose it is, as Keyfold attests.

    `sequence` is its place in the stream of its environment, `deliveries` how often it was given to this consumer.
    `data` is a JSON value, or bytes; `attributes` are all context attributes by their names.
    """

    id: str
    type: str
    source: str
    topic: str
    time: datetime | None
    data: Any
    sequence: int
    deliveries: int = 1
    attributes: dict[str, Any] = {}

    @property
    def key_id(self) -> str | None:
        """The key that it was published with."""
        return self.attributes.get("keyid")

    @property
    def subject(self) -> str | None:
        return self.attributes.get("subject")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, topic={self.topic!r}, sequence={self.sequence})"


class Delivery(Event, frozen=True, kw_only=True, eq=False):
    """An event as a consumer gets it: acknowledged by itself when the loop's body is done with it.

    Whichever of these is said first counts; `extend` can be said as often as wanted, and is said by itself.
    """

    token: str
    settle: Settle

    async def ack(self) -> None:
        """It is done: before the body ends, or before a `break`."""
        await self.settle(self, "ack", None)

    async def nack(self, delay: float | None = None) -> None:
        """It couldn't be done now: it comes again after `delay` seconds; without one after 1, 5, 30, 120, 600."""
        await self.settle(self, "nack", delay)

    async def terminate(self) -> None:
        """It can never be done: it doesn't come again, and shows up among the consumer's dead letters."""
        await self.settle(self, "terminate", None)

    async def extend(self) -> None:
        """It takes longer: the time until it would come again starts anew."""
        await self.settle(self, "extend", None)


class SyncDelivery(Event, frozen=True, kw_only=True, eq=False):
    """`Delivery` for those who don't await."""

    answer: Callable[[Verb, float | None], None]

    def ack(self) -> None:
        self.answer("ack", None)

    def nack(self, delay: float | None = None) -> None:
        self.answer("nack", delay)

    def terminate(self) -> None:
        self.answer("terminate", None)

    def extend(self) -> None:
        self.answer("extend", None)


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """Where a published event is stored. A `duplicate` was stored before, by an earlier try or an earlier run."""

    id: str
    sequence: int
    stream: str
    duplicate: bool = False


class Rotated(msgspec.Struct, frozen=True):
    """The key's successor, its `secret` shown this once. The old key goes on until `retires_at`, where that is known
    already."""

    key_id: str
    secret: str
    retires_at: datetime | None

    def __repr__(self) -> str:
        return f"Rotated(key_id={self.key_id!r}, retires_at={self.retires_at})"


class Verification(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a key may be used (for this), and why not, as a stable code. `age` is how old the answer is, in seconds,
    which is never more than was asked for."""

    valid: bool
    code: str
    key_id: str | None = None
    kind: str | None = None
    workspace_id: str | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: str | None = None
    expires_at: datetime | None = None
    remaining_seconds: float | None = None
    retry_after_seconds: float | None = None
    age: float = 0.0


def event_fields(event: dict[str, Any], *, sequence: int, deliveries: int = 1) -> dict[str, Any]:
    """The fields of an `Event` from a stored CloudEvent in structured mode."""
    attributes = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
    return {
        "id": str(attributes.get("id", "")),
        "type": str(attributes.get("type", "")),
        "source": str(attributes.get("source", "")),
        "topic": str(attributes.get("topic", "")),
        "time": moment(attributes.get("time")),
        "data": base64.b64decode(event["data_base64"]) if "data_base64" in event else event.get("data"),
        "sequence": sequence,
        "deliveries": deliveries,
        "attributes": attributes,
    }


def moment(text: Any) -> datetime | None:
    """A timestamp of RFC 3339; a leap second is the one before it."""
    with suppress(ValueError, AttributeError):
        return datetime.fromisoformat(text.upper().replace(":60", ":59"))
    return None


def encoded(
    data: Any,
    *,
    id: str,  # noqa: A002  # the attribute's name
    type: str | None,  # noqa: A002
    to: Sequence[str],
    ttl: int | None,
    attributes: dict[str, Any],
) -> bytes:
    """A CloudEvent in structured mode, as it is sent. Raises `TypeError` for what JSON doesn't have."""
    event = {"specversion": "1.0", "id": id, **attributes}
    if type is not None:
        event["type"] = type
    if to:
        event["to"] = ",".join(to)
    if ttl is not None:
        event["ttl"] = ttl
    if isinstance(data, bytes | bytearray | memoryview):
        event.setdefault("datacontenttype", "application/octet-stream")
        event["data_base64"] = base64.b64encode(data).decode()
    else:
        event["data"] = data
    return msgspec.json.encode(event)
