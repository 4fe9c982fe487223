"""Every aggregate by the prefix of its ids, and how the events of its stream are read and folded.

Old payloads are upcast here, one pure hop per version: an event that gets a `.v2` keeps a function from its `.v1`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, get_args

import msgspec

from keyfold.domain import (
    attempt,
    console,
    integration,
    key,
    link,
    partner,
    reading,
    role,
    session,
    topic_entry,
    workspace,
)
from keyfold.domain.key_events import AnyKeyEvent
from keyfold.domain.key_state import Key
from keyfold.domain.record import Event, Record

S = TypeVar("S")


class Aggregate(Generic[S]):
    """One kind of stream: the word for it, the prefix of its ids, its events and their fold."""

    def __init__(
        self, word: str, prefix: str, state: type[S], events: Any, evolve: Callable[[S | None, Any, datetime], S]
    ) -> None:
        self.word = word
        self.prefix = prefix
        self.state = state
        self.events: tuple[type[Event], ...] = get_args(events) or (events,)
        self.evolve = evolve

    def __repr__(self) -> str:
        return f"Aggregate({self.word})"


WORKSPACE = Aggregate("workspace", "ws", workspace.Workspace, workspace.WorkspaceEvent, workspace.evolve)
INTEGRATION = Aggregate("integration", "int", integration.Integration, integration.IntegrationEvent, integration.evolve)
PARTNER = Aggregate("partner", "prt", partner.Partner, partner.PartnerEvent, partner.evolve)
LINK = Aggregate("link", "lnk", link.Link, link.LinkEvent, link.evolve)
KEY = Aggregate("key", "key", Key, AnyKeyEvent, key.evolve)
ROLE = Aggregate("role", "rol", role.CustomRole, role.RoleEvent, role.evolve)
TOPIC = Aggregate("topic", "top", topic_entry.Topic, topic_entry.TopicEvent, topic_entry.evolve)
ATTEMPT = Aggregate("attempt", "att", attempt.Attempt, attempt.AccessRefused, attempt.evolve)
READING = Aggregate("reading", "rea", reading.Reading, reading.AuditRead, reading.read)
EXPORT = Aggregate("export", "exp", reading.Export, reading.ExportEvent, reading.export)
SESSION = Aggregate("session", "pse", session.Session, session.SessionEvent, session.evolve)
SIGN_IN = Aggregate("sign-in", "sgn", console.SignIn, console.SignInEvent, console.evolve_sign_in)
CONSOLE = Aggregate("console session", "cns", console.ConsoleSession, console.ConsoleEvent, console.evolve)

AGGREGATES: dict[str, Aggregate[Any]] = {
    each.prefix: each
    for each in (
        WORKSPACE,
        INTEGRATION,
        PARTNER,
        LINK,
        KEY,
        ROLE,
        TOPIC,
        SESSION,
        SIGN_IN,
        CONSOLE,
        ATTEMPT,
        READING,
        EXPORT,
    )
}
EVENT_TYPES: dict[str, type[Event]] = {event.type: event for each in AGGREGATES.values() for event in each.events}
_decoders = {name: msgspec.json.Decoder(event) for name, event in EVENT_TYPES.items()}


class UnknownEventError(Exception):
    """A record of a type that this version of Keyfold doesn't know; most likely a newer one wrote it."""


def read_event(record: Record) -> Event:
    """The event in a record. Raises `UnknownEventError`, or `msgspec.ValidationError` for data of another shape."""
    decoder = _decoders.get(record.type)
    if decoder is None:
        raise UnknownEventError(f"{record.type} (stream {record.stream}, version {record.version})")
    return decoder.decode(record.data)


def aggregate_of(stream: str) -> Aggregate[Any]:
    """The aggregate that a stream belongs to, by the prefix of its id."""
    return AGGREGATES[stream.partition("_")[0]]


def fold(aggregate: Aggregate[S], state: S | None, record: Record) -> S:
    return aggregate.evolve(state, read_event(record), record.time)
