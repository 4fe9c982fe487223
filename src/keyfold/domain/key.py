"""What can be done with an access key, and what comes of it."""

from datetime import datetime
from typing import Any, assert_never, get_args

import msgspec

from keyfold.domain.key_document import document_faults, settled
from keyfold.domain.key_events import (
    AnyKeyEvent,
    Document,
    DocumentChange,
    KeyAdopted,
    KeyChanged,
    KeyCompromised,
    KeyDelegated,
    KeyErased,
    KeyFirstUsed,
    KeyIssued,
    KeyKind,
    KeyReinstated,
    KeyRetired,
    KeyRetiring,
    KeyRevoked,
    KeyRotated,
    KeySuspended,
    Suspender,
)
from keyfold.domain.key_state import ENDED, USABLE, Key, evolve, retirement
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import OverlapStarts, Upkeep
from keyfold.domain.record import encode
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.tokens import Mark

__all__ = ["decide", "evolve", "issue"]


class KeyEnded(Refusal):
    """Retired, expired, revoked and compromised keys never come back."""

    code, status, title = "key-ended", 409, "The key has ended"


class KeyUnusable(Refusal):
    """The key is pending or suspended, and only a key in use can do this."""

    code, status, title = "key-not-in-use", 409, "The key is not in use"


class AlreadyRotated(Refusal):
    """The successor is in use: it is the one to rotate next."""

    code, status, title = "already-rotated", 409, "The key has a successor in use"


class SuspendedByOthers(Refusal):
    code, status, title = "suspended-by-others", 409, "The workspace has suspended the key"


_RANKS: tuple[Suspender, ...] = get_args(Suspender)


class IssueKey(msgspec.Struct, frozen=True, kw_only=True):
    key_id: str
    workspace_id: str
    kind: KeyKind
    document: Document
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    upkeep: Upkeep = Upkeep()
    parent_id: str | None = None
    depth: int = 0
    predecessor_id: str | None = None
    delegates: tuple[str, ...] = ()
    line_id: str | None = None

    @property
    def mark(self) -> Mark:
        match self.environment:
            case None:
                return "kf_acc" if self.kind == "account" else "kf_int"
            case "dev":
                return "kf_dev"
            case "stage":
                return "kf_stage"
            case "prod":
                return "kf_prod"


class ChangeKey(msgspec.Struct, frozen=True):
    """The whole document as it shall be."""

    document: Document


class SuspendKey(msgspec.Struct, frozen=True):
    reason: str
    by: Suspender = "own"


class ReinstateKey(msgspec.Struct, frozen=True):
    """`by` is who brings it back: a parent only what went with it, a partner not what those who manage suspended."""

    by: Suspender = "own"


class RotateKey(msgspec.Struct, frozen=True):
    """`replaces` says that the successor there is has never been used, and is taken back in the same transaction."""

    successor_id: str
    overlap_seconds: int
    overlap_starts: OverlapStarts
    replaces: str | None = None


class NoteFirstUse(msgspec.Struct, frozen=True):
    pass


class BeginRetiring(msgspec.Struct, frozen=True):
    """The successor has been used."""


class RetireNow(msgspec.Struct, frozen=True):
    """The successor is being rotated itself: at most two of a line live."""


class Delegate(msgspec.Struct, frozen=True):
    delegate_id: str


class Adopt(msgspec.Struct, frozen=True):
    parent_id: str


class RevokeKey(msgspec.Struct, frozen=True):
    reason: str


class EraseKey(msgspec.Struct, frozen=True):
    """Revokes it as well."""

    reason: str


class ReportCompromised(msgspec.Struct, frozen=True):
    reason: str


KeyCommand = (
    ChangeKey
    | SuspendKey
    | ReinstateKey
    | RotateKey
    | NoteFirstUse
    | BeginRetiring
    | RetireNow
    | Delegate
    | Adopt
    | RevokeKey
    | ReportCompromised
    | EraseKey
)


def issue(command: IssueKey, now: datetime) -> list[AnyKeyEvent]:
    """A new key. Its kind says what it must and mustn't have."""
    wrong = [*_wrong_fields(command), *document_faults(command.kind, command.document, now)]
    if wrong:
        raise Invalid("The key can't be issued like this.", *wrong)
    given = {name: getattr(command, name) for name in command.__struct_fields__ if name != "document"}
    return [KeyIssued(**given, **msgspec.structs.asdict(settled(command.document)))]


def _wrong_fields(command: IssueKey) -> list[tuple[str, str]]:
    allowed = {"account": set[str](), "integration": {"integration_id"}, "service": {"environment", "partner_id"}}
    names = {"integration_id": "integrationId", "environment": "environment", "partner_id": "partnerId"}
    wrong = []
    for field, name in names.items():
        given = getattr(command, field) is not None
        if given and field not in allowed[command.kind] and not (field == "integration_id" and command.partner_id):
            wrong.append((f"/{name}", f"A key of kind {command.kind} has no {name}."))
        if not given and field in allowed[command.kind]:
            wrong.append((f"/{name}", f"A key of kind {command.kind} needs {name}."))
    return wrong


def decide(key: Key, command: KeyCommand, now: datetime) -> list[AnyKeyEvent]:  # noqa: C901, PLR0911, PLR0912  # total
    """What the command brings about; nothing for what is so already. Raises `KeyEnded` and its like, `Invalid`."""
    this: dict[str, Any] = {
        "workspace_id": key.workspace_id,
        "key_id": key.id,
        "integration_id": key.integration_id,
        "partner_id": key.partner_id,
    }
    match command:
        case RevokeKey(reason=reason):
            return [] if key.status in ("revoked", "compromised") else [KeyRevoked(reason=reason, **this)]
        case ReportCompromised(reason=reason):
            return [] if key.status == "compromised" else [KeyCompromised(reason=reason, **this)]
        case EraseKey(reason=reason):
            ended = [] if key.has_ended(now) else [KeyRevoked(reason=reason, **this)]
            return [] if key.erased_at else [*ended, KeyErased(reason=reason, **this)]
        case NoteFirstUse():
            return [KeyFirstUsed(**this)] if key.awaits_first_use and not key.has_ended(now) else []
        case BeginRetiring():
            return _begin_retiring(key, now, this)
        case RetireNow():
            return [] if key.has_ended(now) else [KeyRetired(**this)]
        case Adopt(parent_id=parent_id):
            return [] if key.has_ended(now) else [KeyAdopted(parent_id=parent_id, **this)]
        case _ if key.has_ended(now):
            raise KeyEnded(f"This key is {key.status_at(now)}, for good. Issue a new one.")
        case ChangeKey(document=document):
            return _change(key, document, now, this)
        case SuspendKey(reason=reason, by=by):
            is_so = key.suspender is not None and _RANKS.index(key.suspender) >= _RANKS.index(by)
            return [] if is_so else [KeySuspended(reason=reason, by=by, **this)]
        case ReinstateKey(by=by):
            return _reinstate(key, by, this)
        case RotateKey():
            return _rotate(key, command, now, this)
        case Delegate(delegate_id=delegate_id):
            _demand_in_use(key, now, "delegate")
            return [KeyDelegated(delegate_id=delegate_id, **this)]
        case _:
            assert_never(command)


def _change(key: Key, document: Document, now: datetime, this: dict[str, Any]) -> list[AnyKeyEvent]:
    old = key.document
    faults = document_faults(key.kind, document, now, before=old)
    if faults:
        raise Invalid("The key can't be changed like this.", *faults)
    new = settled(document)
    # as JSON: Python takes true for 1
    changed = [name for name in Document.__struct_fields__ if encode(getattr(new, name)) != encode(getattr(old, name))]
    if not changed:
        return []
    before, after = (DocumentChange(**{name: getattr(each, name) for name in changed}) for each in (old, new))
    return [KeyChanged(before=before, after=after, **this)]


def _reinstate(key: Key, by: Suspender, this: dict[str, Any]) -> list[AnyKeyEvent]:
    if key.suspender is None or (by == "parent" and key.suspender != "parent"):
        return []
    if _RANKS.index(key.suspender) > _RANKS.index(by):
        raise SuspendedByOthers("Whoever manages the workspace has suspended it, and must bring it back.")
    return [KeyReinstated(**this)]


def _rotate(key: Key, command: RotateKey, now: datetime, this: dict[str, Any]) -> list[AnyKeyEvent]:
    _demand_in_use(key, now, "be rotated")
    if key.succession is not None and command.replaces != key.succession.successor_id:
        raise AlreadyRotated(f"Its successor {key.succession.successor_id} is in use. Rotate that one.")
    starts_now = command.overlap_starts == "now"
    return [
        KeyRotated(
            successor_id=command.successor_id,
            overlap_seconds=command.overlap_seconds,
            overlap_starts=command.overlap_starts,
            retires_at=retirement(now, command.overlap_seconds) if starts_now else None,
            **this,
        )
    ]


def _begin_retiring(key: Key, now: datetime, this: dict[str, Any]) -> list[AnyKeyEvent]:
    if key.succession is None or key.succession.retires_at is not None or key.status in ENDED:
        return []
    return [KeyRetiring(retires_at=retirement(now, key.succession.overlap_seconds), **this)]


def _demand_in_use(key: Key, now: datetime, what: str) -> None:
    status = key.status_at(now)
    if status not in USABLE:
        raise KeyUnusable(f"This key is {status}. Only a key in use can {what}.")
