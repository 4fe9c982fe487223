"""App events: what partners' apps send one another. Each that is stored is a CloudEvents 1.0 event, with the sender's
identity put there by Keyfold.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from keyfold.domain.event_attributes import Attributes, attribute_faults, recipients
from keyfold.domain.merging import autofill
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.topics import is_topic

SPECVERSION = "1.0"
MEDIA_TYPE = "application/cloudevents+json"
"""Of an event as it is stored and delivered: structured mode."""

LEVELS = 64
EVERYONE = "_"
"""In the place of a recipient: all who may receive the topic."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event as its sender has it. `data` is a JSON value, `data_base64` bytes in Base64; at most one is there.

    `to` are the ids of the partners that it is for, all who may receive the topic when empty; `ttl` is in seconds.
    """

    attributes: Attributes
    data: Any = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    to: tuple[str, ...] = ()
    ttl: int | None = None


class AppEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is stored: a draft that is complete. `data` and `data_base64` are as there."""

    id: str
    topic: str
    attributes: Attributes
    data: Any = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET


class AutofillImpossible(Refusal):
    """The key fills properties in, and the event's data is nothing that has properties."""

    code, status, title = "autofill-impossible", 422, "The data has no place for what the key fills in"


class EventTooLarge(Refusal):
    code, status, title = "event-too-large", 413, "The event is too large"

    @classmethod
    def beyond(cls, limit: int) -> "EventTooLarge":
        return cls(f"As it would be stored, an event may have {limit} bytes at the most.")


def stream_of(workspace_id: str, environment: str) -> str:
    """The name of the stream that an environment's events are in."""
    return f"EV_{workspace_id}_{environment}"


def subject_of(workspace_id: str, environment: str, to: str, topic: str) -> str:
    """What an event is stored under; `to` is `EVERYONE`, a partner's id, or a consumer's name."""
    return f"ev.{workspace_id}.{environment}.{to}.{topic.replace('/', '.')}"


def draft(
    given: Mapping[str, Any],
    *,
    at: str = "/",
    data: Any = msgspec.UNSET,
    data_base64: str | msgspec.UnsetType = msgspec.UNSET,
) -> Draft:
    """A draft of these attributes, null being none. `at` is what their names come after in pointers. Raises `Invalid`.

    Values are of any type, as JSON has them; `specversion` has been looked at.
    """
    attributes = {name: value for name, value in given.items() if value is not None and name != "specversion"}
    faults = [*attribute_faults(attributes, at)]
    if data is not msgspec.UNSET and is_deep(data):
        faults.append((f"{at}data", f"This may be nested {LEVELS} levels deep at the most."))
    if faults:
        raise Invalid("This is not a CloudEvents 1.0 event that can be sent.", *faults[:20])
    to, ttl = attributes.pop("to", ""), attributes.pop("ttl", None)
    return Draft(
        attributes=attributes,
        data=data,
        data_base64=data_base64,
        to=tuple(dict.fromkeys(recipients(to))),
        ttl=None if ttl is None else int(ttl),
    )


def topic_of(event: Draft, asked: str | None) -> str:
    """The topic that an event goes to: the one asked for, or its attribute `topic`, or its type with slashes for dots.

    Raises `Invalid` where that is none.
    """
    if asked is not None:
        place, topic = "?topic", asked
    elif "topic" in event.attributes:
        place, topic = "/topic", str(event.attributes["topic"])
    else:
        place, topic = "/type", str(event.attributes.get("type", "")).replace(".", "/")
    if not is_topic(topic):
        raise Invalid(
            "The event needs a topic.", (place, "Give a topic such as app/order/created, or a type app.order.created.")
        )
    return topic


def complete(
    sent: Draft,
    *,
    topic: str,
    partner_id: str,
    key_id: str,
    now: datetime,
    new_id: str,
    fillings: Iterable[dict[str, Any]] = (),
) -> AppEvent:
    """The event as it is stored: who sent it is what Keyfold knows, whatever the sender says; what is missing has its
    default; each of the `fillings` is merged into the data, the later ones win. Raises `AutofillImpossible`."""
    own = {"source": f"/partners/{partner_id}", "keyid": key_id, "topic": topic}
    given = {name: value for name, value in sent.attributes.items() if name not in own}
    defaults = {"id": new_id, "type": topic.replace("/", "."), "time": now.isoformat().replace("+00:00", "Z")}
    attributes: Attributes = {"specversion": SPECVERSION, **defaults, **given, **own}
    return AppEvent(
        id=str(attributes["id"]),
        topic=topic,
        attributes=attributes,
        data=filled(sent.data, fillings),
        data_base64=sent.data_base64,
    )


def filled(data: Any, fillings: Iterable[dict[str, Any]]) -> Any:
    """The data with every filling merged into it. Raises `AutofillImpossible` unless it is an object, or there is none
    to merge."""
    for properties in fillings:
        if properties and not isinstance(data, dict):
            raise AutofillImpossible(
                "This key fills properties into the events that it sends. Send a JSON object as data.",
                ("/data", "This must be an object."),
            )
        data = autofill(data, properties) if properties else data
    return data


def encode(event: AppEvent) -> bytes:
    """The event in the JSON format of CloudEvents, structured mode."""
    whole: dict[str, Any] = dict(event.attributes)
    if event.data is not msgspec.UNSET:
        whole["data"] = event.data
    if event.data_base64 is not msgspec.UNSET:
        whole["data_base64"] = event.data_base64
    return _encode(whole)


_encode = msgspec.json.Encoder().encode


def is_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than an event's data may be."""
    level = [value]
    for _ in range(LEVELS):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer if type(outer) is list else ())
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True
