"""The access key, one concept of three kinds: `account` manages, `integration` invites, `service` has events."""

from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

import msgspec

from keyfold.domain.key_events import (
    AnyKeyEvent,
    Document,
    DocumentChange,
    KeyAdopted,
    KeyChanged,
    KeyCompromised,
    KeyDelegated,
    KeyErased,
    KeyExpired,
    KeyExpiring,
    KeyFirstUsed,
    KeyIssued,
    KeyKind,
    KeyReinstated,
    KeyRetired,
    KeyRetiring,
    KeyRevoked,
    KeyRotated,
    KeyRotationDue,
    KeySuspended,
    Suspender,
)
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import Upkeep

KeyStatus = Literal["pending", "active", "retiring", "retired", "suspended", "expired", "revoked", "compromised"]
Decided = Literal["active", "suspended", "retired", "expired", "revoked", "compromised"]
USABLE = ("active", "retiring")
ENDED = ("retired", "expired", "revoked", "compromised")
_replace = msgspec.structs.replace


class Succession(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How a key gives way to its successor: at `retires_at`, open until the successor is used where the overlap starts
    with that."""

    successor_id: str
    overlap_seconds: int
    retires_at: datetime | None = None


class Key(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`status` is what was decided; `status_at` also knows what time does to a key."""

    id: str
    workspace_id: str
    kind: KeyKind
    document: Document
    integration_id: str | None
    partner_id: str | None
    environment: Environment | None
    issued_at: datetime
    upkeep: Upkeep = Upkeep()
    parent_id: str | None = None
    depth: int = 0
    delegates: tuple[str, ...] = ()
    predecessor_id: str | None = None
    first_used_at: datetime | None = None
    succession: Succession | None = None
    status: Decided = "active"
    since: datetime | None = None
    reason: str | None = None
    suspender: Suspender | None = None
    announced: tuple[str, ...] = ()
    line_id: str | None = None
    erased_at: datetime | None = None

    @property
    def subject(self) -> str:
        """Under whose data key lies what is personal about it: its partner's, or its own as an operator's."""
        return self.partner_id or self.id

    @property
    def line(self) -> str:
        """The id of the first key of those that stand in one another's place; a key is the first unless it says."""
        return self.line_id or self.predecessor_id or self.id  # lines weren't noted from the beginning

    @property
    def expires_at(self) -> datetime | None:
        return self.document.expires_at

    @property
    def retires_at(self) -> datetime | None:
        return self.succession.retires_at if self.succession else None

    @property
    def ends_at(self) -> datetime | None:
        """When time ends it, by expiry or by retirement: whichever comes first is what it stays."""
        return min((each for each in (self.expires_at, self.retires_at) if each is not None), default=None)

    @property
    def awaits_first_use(self) -> bool:
        """Whether this is a successor that nobody has used yet."""
        return self.predecessor_id is not None and self.first_used_at is None

    def status_at(self, now: datetime) -> KeyStatus:
        """Exact to the instant: at `expires_at` itself the key is expired, at `retires_at` retired."""
        if self.status not in ("active", "suspended"):
            return self.status
        ends_at = self.ends_at
        if ends_at is not None and now >= ends_at:
            return "expired" if ends_at == self.expires_at else "retired"
        if self.status == "suspended":
            return "suspended"
        if self.document.not_before is not None and now < self.document.not_before:
            return "pending"
        return "active" if self.succession is None else "retiring"

    def has_ended(self, now: datetime) -> bool:
        return self.status_at(now) in ENDED


def evolve(state: Key | None, event: AnyKeyEvent, at: datetime) -> Key:
    if isinstance(event, KeyIssued):
        return _issued(event, at)
    if state is None:
        raise ValueError(f"{event.type} before the key was issued")
    return _replace(state, **_changes(state, event, at))


def _issued(event: KeyIssued, at: datetime) -> Key:
    return Key(
        id=event.key_id,
        workspace_id=event.workspace_id,
        kind=event.kind,
        document=Document(**{name: getattr(event, name) for name in Document.__struct_fields__}),
        integration_id=event.integration_id,
        partner_id=event.partner_id,
        environment=event.environment,
        issued_at=at,
        upkeep=event.upkeep,
        parent_id=event.parent_id,
        depth=event.depth,
        delegates=event.delegates,
        predecessor_id=event.predecessor_id,
        line_id=event.line_id,
    )


def _changes(state: Key, event: AnyKeyEvent, at: datetime) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912  # total
    match event:
        case KeyIssued():
            raise ValueError("a key is issued once")
        case KeyChanged():
            moved = event.after.expires_at is not msgspec.UNSET
            announced = tuple(each for each in state.announced if not (moved and each.startswith("expiring")))
            return {"document": _replace(state.document, **given(event.after)), "announced": announced}
        case KeySuspended():
            return {"status": "suspended", "since": at, "reason": event.reason, "suspender": event.by}
        case KeyReinstated():
            return {"status": "active", "since": at, "reason": None, "suspender": None}
        case KeyRotated():
            following = Succession(event.successor_id, event.overlap_seconds, event.retires_at)
            return {"succession": following, "delegates": ()}
        case KeyFirstUsed():
            return {"first_used_at": at}
        case KeyRetiring():
            succession = state.succession and _replace(state.succession, retires_at=event.retires_at)
            return {"succession": succession}
        case KeyDelegated():
            return {"delegates": (*state.delegates, event.delegate_id)}
        case KeyAdopted():
            return {"parent_id": event.parent_id}
        case KeyExpiring():
            return {"announced": (*state.announced, f"expiring {event.days}")}
        case KeyRotationDue():
            return {"announced": (*state.announced, f"rotation-due {event.days}")}
        case KeyRetired():
            return {"status": "retired", "since": at}
        case KeyExpired():
            return {"status": "expired", "since": event.expires_at}
        case KeyRevoked():
            return {"status": "revoked", "since": at, "reason": event.reason}
        case KeyCompromised():
            return {"status": "compromised", "since": at, "reason": event.reason}
        case KeyErased():
            return {"document": _replace(state.document, name="", purpose=None), "erased_at": at}
        case _:
            assert_never(event)


def given(change: DocumentChange) -> dict[str, Any]:
    """The fields that a change has."""
    fields = ((name, getattr(change, name)) for name in change.__struct_fields__)
    return {name: value for name, value in fields if value is not msgspec.UNSET}


def retirement(now: datetime, seconds: int) -> datetime:
    return now + timedelta(seconds=seconds)
