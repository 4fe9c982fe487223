"""The access key, one concept of three kinds: `account` manages, `integration` invites, `service` has events."""

from datetime import UTC, datetime
from typing import Literal, assert_never

import msgspec

from keyfold.domain.permissions import INTEGRATION_KEY, ROLES, Action, Environment, Permission, Role, Rule
from keyfold.domain.record import Event
from keyfold.domain.refusals import Invalid
from keyfold.domain.tokens import Mark

KeyKind = Literal["account", "integration", "service"]
KeyStatus = Literal["pending", "active", "expired", "revoked"]


class KeyIssued(Event, frozen=True, kw_only=True):
    """An account key has a `role`, an integration key and a partner's an `integration_id`, a service key the rest."""

    type = "key.issued.v1"

    key_id: str
    kind: KeyKind
    name: str
    role: Role | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    rule: Rule | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None


class KeyRevoked(Event, frozen=True, kw_only=True):
    type = "key.revoked.v1"

    key_id: str
    integration_id: str | None = None
    partner_id: str | None = None
    reason: str


KeyEvent = KeyIssued | KeyRevoked


class Key(msgspec.Struct, frozen=True, rename="camel"):
    """`status` is what was decided; `status_at` also knows what time does to a key."""

    id: str
    workspace_id: str
    kind: KeyKind
    name: str
    role: Role | None
    integration_id: str | None
    partner_id: str | None
    environment: Environment | None
    rule: Rule | None
    not_before: datetime | None
    expires_at: datetime | None
    issued_at: datetime
    status: Literal["active", "revoked"] = "active"
    revoked_at: datetime | None = None
    revoked_reason: str | None = None

    def status_at(self, now: datetime) -> KeyStatus:
        """Exact to the instant: at `expires_at` itself the key is expired."""
        if self.status == "revoked":
            return "revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        if self.not_before is not None and now < self.not_before:
            return "pending"
        return "active"

    @property
    def permissions(self) -> frozenset[Permission]:
        """What it may manage; a service key manages nothing."""
        return permissions_of(self.kind, self.role)

    def refuses(self, now: datetime, action: Action | None, topic: str | None) -> str | None:
        """Why the key can't be used (for this), as a stable code, or None when it can."""
        status = self.status_at(now)
        if status != "active":
            return status
        if action is None:
            return None
        return "action-not-permitted" if self.rule is None else self.rule.refuses(action, topic)


def permissions_of(kind: KeyKind, role: Role | None) -> frozenset[Permission]:
    """What a key of this kind (with this role) may manage."""
    match kind:
        case "account":
            return ROLES[role or "viewer"]
        case "integration":
            return INTEGRATION_KEY
        case "service":
            return frozenset()


class IssueKey(msgspec.Struct, frozen=True, kw_only=True):
    key_id: str
    workspace_id: str
    kind: KeyKind
    name: str
    role: Role | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    rule: Rule | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None

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


class RevokeKey(msgspec.Struct, frozen=True):
    reason: str


def issue(command: IssueKey, now: datetime) -> list[KeyEvent]:
    """A new key. Its kind says what it must and mustn't have. Its times are written down in UTC."""
    wrong = _wrong_fields(command)
    times: dict[str, datetime | None] = {}
    for field, name in {"not_before": "notBefore", "expires_at": "expiresAt"}.items():
        moment: datetime | None = getattr(command, field)
        try:
            times[field] = None if moment is None else moment.astimezone(UTC)
        except OverflowError:
            wrong.append((f"/{name}", "In UTC this moment lies outside the years 1 to 9999."))
    if command.expires_at is not None and command.expires_at <= now:
        wrong.append(("/expiresAt", "This moment has passed."))
    if command.expires_at and command.not_before and command.not_before >= command.expires_at:
        wrong.append(("/notBefore", "The key would expire before it becomes valid."))
    if wrong:
        raise Invalid("The key can't be issued like this.", *wrong)
    return [KeyIssued(**msgspec.structs.asdict(command) | times)]


def _wrong_fields(command: IssueKey) -> list[tuple[str, str]]:
    allowed = {"account": {"role"}, "integration": {"integration_id"}, "service": {"environment", "partner_id"}}
    names = {"role": "role", "integration_id": "integrationId", "environment": "environment", "partner_id": "partnerId"}
    wrong = []
    for field, name in names.items():
        given = getattr(command, field) is not None
        if given and field not in allowed[command.kind] and not (field == "integration_id" and command.partner_id):
            wrong.append((f"/{name}", f"A key of kind {command.kind} has no {name}."))
        if not given and field in allowed[command.kind]:
            wrong.append((f"/{name}", f"A key of kind {command.kind} needs {name}."))
    return wrong


def decide(key: Key, command: RevokeKey) -> list[KeyEvent]:
    """Revoking a revoked key changes nothing; revoking is final."""
    if key.status == "revoked":
        return []
    return [
        KeyRevoked(
            workspace_id=key.workspace_id,
            key_id=key.id,
            integration_id=key.integration_id,
            partner_id=key.partner_id,
            reason=command.reason,
        )
    ]


def evolve(state: Key | None, event: KeyEvent, at: datetime) -> Key:
    match event:
        case KeyIssued():
            return Key(
                id=event.key_id,
                workspace_id=event.workspace_id,
                kind=event.kind,
                name=event.name,
                role=event.role,
                integration_id=event.integration_id,
                partner_id=event.partner_id,
                environment=event.environment,
                rule=event.rule,
                not_before=event.not_before,
                expires_at=event.expires_at,
                issued_at=at,
            )
        case _ if state is None:
            raise ValueError(f"{event.type} before the key was issued")
        case KeyRevoked():
            return msgspec.structs.replace(state, status="revoked", revoked_at=at, revoked_reason=event.reason)
        case _:
            assert_never(event)
