"""The record: one JSON text for each lifecycle event, hashed, replayed and stored exactly as written."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from keyfold.domain.sealing import Box

LIMIT = 65_536 - len('"number":9223372036854775807,')
"""The most bytes that a record has before it gets its number; with it they are 64 KiB."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A fact, past tense. `type` carries the version of its shape: `key.issued.v1`.

    `personal` names, as in JSON, the members that say something about a person: those are never written readable.
    """

    type: ClassVar[str]
    personal: ClassVar[tuple[str, ...]] = ()

    workspace_id: str

    @property
    def subject(self) -> str | None:
        """Whom the event is about, as far as that is a person's business: the partner, or the key of an operator."""
        return getattr(self, "partner_id", None) or getattr(self, "key_id", None)


class Actor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who did it: an access key, a portal session, an operator at the machine, or the system by the rule named.

    `session` is that of the console, when a key has acted through it.
    """

    kind: Literal["key", "portal", "operator", "system"]
    id: str
    address: str | None = None
    session: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One entry of the log. `data` is the event as JSON text; `time` is UTC. What is personal is in `sealed`.

    `number` counts the records of its workspace: 1, 2, 3 … It is 0, and not in the text, until the record is appended.
    """

    number: int = 0
    id: str
    stream: str
    version: int
    type: str
    time: datetime
    actor: Actor
    correlation_id: str
    causation_id: str | None = None
    data: msgspec.Raw
    sealed: tuple[Box, ...] = ()


_decoder = msgspec.json.Decoder(Record)
encode = msgspec.json.Encoder().encode


def read_record(text: str | bytes) -> Record:
    """The record in a JSON text. Raises `msgspec.ValidationError`."""
    return _decoder.decode(text)
