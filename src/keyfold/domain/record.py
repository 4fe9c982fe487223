"""The record: one JSON text for each lifecycle event, hashed, replayed and stored exactly as written."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

LIMIT = 65_536
"""The most bytes that a record has."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A fact, past tense. `type` carries the version of its shape: `key.issued.v1`."""

    type: ClassVar[str]

    workspace_id: str


class Actor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who did it: an access key, a portal session, an operator at the machine, or the system by the rule named."""

    kind: Literal["key", "portal", "operator", "system"]
    id: str
    address: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One entry of the log. `data` is the event as JSON text; `time` is UTC."""

    id: str
    stream: str
    version: int
    type: str
    time: datetime
    actor: Actor
    correlation_id: str
    causation_id: str | None = None
    data: msgspec.Raw


_decoder = msgspec.json.Decoder(Record)
encode = msgspec.json.Encoder().encode


def read_record(text: str | bytes) -> Record:
    """The record in a JSON text. Raises `msgspec.ValidationError`."""
    return _decoder.decode(text)
