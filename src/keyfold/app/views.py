"""What the API gives: one view for each thing, the same in lists, single reads and answers to commands."""

from datetime import datetime
from typing import Any

import msgspec

from keyfold.domain.integration import COLOR, Integration
from keyfold.domain.key_events import KeyKind, Suspender
from keyfold.domain.key_state import ENDED, Key, KeyStatus
from keyfold.domain.link import Link, LinkPurpose, LinkStatus
from keyfold.domain.partner import Partner, PartnerStatus
from keyfold.domain.permissions import Conditions, Environment, Permission
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.role import CustomRole
from keyfold.domain.rule import (
    SECTIONS,
    Action,
    CachedQueries,
    Datasets,
    Queries,
    Receive,
    Rule,
    SavedQueries,
    Send,
)
from keyfold.domain.tokens import Token
from keyfold.domain.workspace import Workspace


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a client sees of something, as camelCase JSON."""


class OptionsView(View, frozen=True, kw_only=True, omit_defaults=True):
    """The conditions of each permitted action; `schema` has none."""

    send: Send | msgspec.UnsetType = msgspec.UNSET
    receive: Receive | msgspec.UnsetType = msgspec.UNSET
    queries: Queries | msgspec.UnsetType = msgspec.UNSET
    saved_queries: SavedQueries | msgspec.UnsetType = msgspec.UNSET
    cached_queries: CachedQueries | msgspec.UnsetType = msgspec.UNSET
    datasets: Datasets | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, rule: Rule) -> "OptionsView":
        names = (SECTIONS[action] for action in rule.permitted if action in SECTIONS)
        return cls(**{name: getattr(rule.options, name) for name in names})


class OfferView(View, frozen=True, kw_only=True):
    """What an integration offers in one environment."""

    permitted: tuple[Action, ...]
    options: OptionsView
    policy: KeyPolicy

    @classmethod
    def of(cls, offer: Offer) -> "OfferView":
        return cls(permitted=offer.permitted, options=OptionsView.of(offer.rule), policy=offer.policy)


class AppearanceView(View, frozen=True, kw_only=True):
    """How an integration shows itself. `color` is `#rrggbb`, `icon` an https address or a data URL."""

    description: str = ""
    color: str = COLOR
    icon: str | None = None


class IntegrationView(View, frozen=True, kw_only=True):
    """`environments` gives the rule and the key policy for each environment that a partner gets a key for, `origins`
    the sites that may embed the portal."""

    id: str
    name: str
    presentation: AppearanceView
    environments: dict[Environment, OfferView]
    link_lifetime_seconds: int
    origins: tuple[str, ...]

    @classmethod
    def of(cls, integration: Integration, now: datetime) -> "IntegrationView":
        shown = integration.terms.presentation
        return cls(
            id=integration.id,
            name=integration.terms.name,
            presentation=AppearanceView(description=shown.description, color=shown.color, icon=shown.icon),
            environments={each: OfferView.of(offer) for each, offer in integration.terms.environments.items()},
            link_lifetime_seconds=integration.terms.link_lifetime_seconds,
            origins=integration.terms.origins,
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
    erased_at: datetime | None

    @classmethod
    def of(cls, partner: Partner, now: datetime) -> "PartnerView":
        return cls(**partner_fields(partner))


class LinkView(View, frozen=True, kw_only=True):
    id: str
    integration_id: str
    partner_id: str
    purpose: LinkPurpose
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
            purpose=link.purpose,
            status=link.status_at(now),
            issued_at=link.issued_at,
            expires_at=link.expires_at,
            ended_at=link.ended_at,
        )


class KeyView(View, frozen=True, kw_only=True):
    """The key document, and what has become of the key. `permitted` and `options` are a service key's, `role` and
    `conditions` an account key's. `last_used_at` is some seconds old at the most."""

    id: str
    kind: KeyKind
    name: str
    purpose: str | None
    tags: tuple[str, ...]
    status: KeyStatus
    is_active: bool
    role: str | None
    conditions: Conditions | None
    integration_id: str | None
    partner_id: str | None
    environment: Environment | None
    permitted: tuple[Action, ...]
    options: OptionsView | None
    source_networks: tuple[str, ...]
    not_before: datetime | None
    expires_at: datetime | None
    issued_at: datetime
    parent_id: str | None
    predecessor_id: str | None
    successor_id: str | None
    retires_at: datetime | None
    rotation_due_at: datetime | None
    suspended_at: datetime | None
    suspended_by: Suspender | None
    suspended_reason: str | None
    revoked_at: datetime | None
    revoked_reason: str | None
    last_used_at: datetime | None = None

    @classmethod
    def of(cls, key: Key, now: datetime) -> "KeyView":
        return cls(**key_fields(key, now))


class IssuedKeyView(KeyView, frozen=True, kw_only=True):
    """A key at its birth, the only time that its `secret` is shown."""

    secret: str

    @classmethod
    def issued(cls, key: Key, now: datetime, token: Token) -> "IssuedKeyView":
        return cls(secret=token.reveal, **key_fields(key, now))


class InvitationView(View, frozen=True, kw_only=True):
    """`url` holds the onboarding link's token in its fragment, which reaches no server."""

    id: str
    url: str
    expires_at: datetime


class FreshLinkView(View, frozen=True, kw_only=True):
    """`url` holds the token of the link in its fragment, which reaches no server. `withdrawn` are the links that this
    one replaces."""

    id: str
    partner_id: str
    purpose: LinkPurpose
    url: str
    expires_at: datetime
    withdrawn: list[str]


class PreviewView(View, frozen=True, kw_only=True):
    """What an integrator sees before redeeming: who invites whom, to what, until when. A link whose `purpose` is
    `portal` opens the portal of a partner that has its keys."""

    purpose: LinkPurpose
    partner_id: str
    app_name: str | None
    app_description: str | None
    integration: IntegrationView
    expires_at: datetime


class RedemptionView(View, frozen=True, kw_only=True):
    """`keys` are those that were issued by this very redemption: none by a link whose `purpose` is `portal`."""

    purpose: LinkPurpose
    partner: PartnerView
    keys: list[IssuedKeyView]
    nats_url: str


class OffboardedView(PartnerView, frozen=True, kw_only=True):
    """`revoked_keys` are those that this very command revoked."""

    revoked_keys: list[str]


class RotationView(IssuedKeyView, frozen=True, kw_only=True):
    """The successor with its secret, and the key that it follows, which says until when it can be used."""

    predecessor: KeyView


class RoleView(View, frozen=True, kw_only=True):
    """A role that is built in has its name as its id."""

    id: str
    name: str
    description: str
    permissions: tuple[Permission, ...]
    built_in: bool

    @classmethod
    def of(cls, role: CustomRole, now: datetime) -> "RoleView":
        terms = role.terms
        return cls(
            id=role.id, name=terms.name, description=terms.description, permissions=terms.permissions, built_in=False
        )


class WorkspaceView(View, frozen=True, kw_only=True):
    """`rate` is what all keys of the workspace may ask in sum, `key_rate` each account or integration key."""

    id: str
    name: str
    rate: Rate | None
    key_rate: Rate | None
    owners: tuple[str, ...]

    @classmethod
    def of(cls, workspace: Workspace, now: datetime) -> "WorkspaceView":
        house = workspace.house
        return cls(id=workspace.id, name=house.name, rate=house.rate, key_rate=house.key_rate, owners=workspace.owners)


def key_fields(key: Key, now: datetime) -> dict[str, Any]:
    """The fields that every view of a key has."""
    status, document = key.status_at(now), key.document
    suspended, revoked = status == "suspended", status in ("revoked", "compromised")
    return {
        "id": key.id,
        "kind": key.kind,
        "name": document.name,
        "purpose": document.purpose,
        "tags": document.tags,
        "status": status,
        "is_active": status != "suspended" and status not in ENDED,
        "role": document.role,
        "conditions": document.conditions,
        "integration_id": key.integration_id,
        "partner_id": key.partner_id,
        "environment": key.environment,
        "permitted": document.rule.permitted if document.rule else (),
        "options": OptionsView.of(document.rule) if document.rule else None,
        "source_networks": document.source_networks,
        "not_before": document.not_before,
        "expires_at": document.expires_at,
        "issued_at": key.issued_at,
        "parent_id": key.parent_id,
        "predecessor_id": key.predecessor_id,
        "successor_id": key.succession and key.succession.successor_id,
        "retires_at": key.retires_at,
        "rotation_due_at": key.upkeep.rotation_due_at,
        "suspended_at": key.since if suspended else None,
        "suspended_by": key.suspender if suspended else None,
        "suspended_reason": key.reason if suspended else None,
        "revoked_at": key.since if revoked else None,
        "revoked_reason": key.reason if revoked else None,
    }


def partner_fields(partner: Partner) -> dict[str, Any]:
    """The fields that every view of a partner has."""
    return {name: getattr(partner, name) for name in PartnerView.__struct_fields__}
