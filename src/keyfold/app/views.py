"""What the API gives: one view for each thing, the same in lists, single reads and answers to commands."""

from datetime import datetime
from typing import Any

import msgspec

from keyfold.domain.integration import Integration, Presentation
from keyfold.domain.key import Key, KeyKind, KeyStatus
from keyfold.domain.link import Link, LinkStatus
from keyfold.domain.partner import Partner, PartnerStatus
from keyfold.domain.permissions import Action, Environment, Options, Role, Rule
from keyfold.domain.tokens import Token


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client sees of something, as camelCase JSON."""


class IntegrationView(View, frozen=True, kw_only=True):
    """`environments` gives the rule for each environment that a partner gets a key for."""

    id: str
    name: str
    presentation: Presentation
    environments: dict[Environment, Rule]
    link_lifetime_seconds: int
    key_lifetime_seconds: int | None

    @classmethod
    def of(cls, integration: Integration, now: datetime) -> "IntegrationView":
        return cls(
            id=integration.id,
            name=integration.name,
            presentation=integration.presentation,
            environments=integration.rules,
            link_lifetime_seconds=integration.link_lifetime_seconds,
            key_lifetime_seconds=integration.key_lifetime_seconds,
        )


class PartnerView(View, frozen=True, kw_only=True):
    id: str
    integration_id: str
    app_name: str | None
    app_description: str | None
    metadata: dict[str, Any]
    status: PartnerStatus
    invited_at: datetime
    onboarded_at: datetime | None
    offboarded_at: datetime | None

    @classmethod
    def of(cls, partner: Partner, now: datetime) -> "PartnerView":
        return cls(**partner_fields(partner))


class LinkView(View, frozen=True, kw_only=True):
    id: str
    integration_id: str
    partner_id: str
    status: LinkStatus
    issued_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, link: Link, now: datetime) -> "LinkView":
        return cls(
            id=link.id,
            integration_id=link.integration_id,
            partner_id=link.partner_id,
            status=link.status_at(now),
            issued_at=link.issued_at,
            expires_at=link.expires_at,
            ended_at=link.ended_at,
        )


class KeyView(View, frozen=True, kw_only=True):
    """The key document. `permitted` and `options` are a service key's, `role` an account key's."""

    id: str
    kind: KeyKind
    name: str
    status: KeyStatus
    is_active: bool
    role: Role | None
    integration_id: str | None
    partner_id: str | None
    environment: Environment | None
    permitted: tuple[Action, ...]
    options: Options | None
    not_before: datetime | None
    expires_at: datetime | None
    issued_at: datetime
    revoked_at: datetime | None
    revoked_reason: str | None

    @classmethod
    def of(cls, key: Key, now: datetime) -> "KeyView":
        return cls(**_key_fields(key, now))


class IssuedKeyView(KeyView, frozen=True, kw_only=True):
    """A key at its birth, the only time that its `secret` is shown."""

    secret: str

    @classmethod
    def issued(cls, key: Key, now: datetime, token: Token) -> "IssuedKeyView":
        return cls(secret=token.reveal, **_key_fields(key, now))


class InvitationView(View, frozen=True, kw_only=True):
    """`url` holds the onboarding link's token in its fragment, which reaches no server."""

    id: str
    url: str
    expires_at: datetime


class PreviewView(View, frozen=True, kw_only=True):
    """What an integrator sees before redeeming: who invites whom, to what, until when."""

    partner_id: str
    app_name: str | None
    app_description: str | None
    integration: IntegrationView
    expires_at: datetime


class RedemptionView(View, frozen=True, kw_only=True):
    partner: PartnerView
    keys: list[IssuedKeyView]
    nats_url: str


class OffboardedView(PartnerView, frozen=True, kw_only=True):
    """`revoked_keys` are those that this very command revoked."""

    revoked_keys: list[str]


class VerificationView(View, frozen=True, kw_only=True):
    """Whether a key may be used (for this), and why not, as a stable code. Nothing is told of other tenants' keys."""

    valid: bool
    code: str
    key_id: str | None = None
    kind: KeyKind | None = None
    workspace_id: str | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    expires_at: datetime | None = None
    remaining_seconds: float | None = None


def _key_fields(key: Key, now: datetime) -> dict[str, Any]:
    status = key.status_at(now)
    return {
        "id": key.id,
        "kind": key.kind,
        "name": key.name,
        "status": status,
        "is_active": status == "active",
        "role": key.role,
        "integration_id": key.integration_id,
        "partner_id": key.partner_id,
        "environment": key.environment,
        "permitted": key.rule.permitted if key.rule else (),
        "options": key.rule.options if key.rule else None,
        "not_before": key.not_before,
        "expires_at": key.expires_at,
        "issued_at": key.issued_at,
        "revoked_at": key.revoked_at,
        "revoked_reason": key.revoked_reason,
    }


def partner_fields(partner: Partner) -> dict[str, Any]:
    """The fields that every view of a partner has."""
    return {name: getattr(partner, name) for name in PartnerView.__struct_fields__}
