"""The partner: one app joined to one integration, from its invitation to its offboarding."""

from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

import msgspec

from keyfold.domain.consumer_group import ConsumerAdded, ConsumerRemoved, Group, demand_room
from keyfold.domain.ids import time_of
from keyfold.domain.limits import DESCRIPTION_LENGTH, NAME_LENGTH, metadata_faults, text_faults
from keyfold.domain.permissions import Environment
from keyfold.domain.record import Event
from keyfold.domain.refusals import Invalid, NotFound, Refusal

PartnerStatus = Literal["invited", "onboarded", "offboarded"]
_OVER = timedelta(days=8)
"""A day more than the longest life of a link: one that was made so long ago has ended."""


class PartnerInvited(Event, frozen=True, kw_only=True):
    type = "partner.invited.v1"
    personal = ("appName", "appDescription", "metadata")

    partner_id: str
    integration_id: str
    link_id: str
    app_name: str | None = None
    app_description: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class PartnerOnboarded(Event, frozen=True, kw_only=True):
    type = "partner.onboarded.v1"

    partner_id: str
    integration_id: str
    link_id: str
    key_ids: list[str]


class PartnerKeyAdded(Event, frozen=True, kw_only=True):
    """One more key was issued to the partner, after its onboarding."""

    type = "partner.key-added.v1"

    partner_id: str
    integration_id: str
    key_id: str


class PartnerLinkAdded(Event, frozen=True, kw_only=True):
    """One more link was made for the partner, after that of its invitation."""

    type = "partner.link-added.v1"

    partner_id: str
    integration_id: str
    link_id: str


class PartnerOffboarded(Event, frozen=True, kw_only=True):
    """The partner left, and every key of it was revoked in the same transaction."""

    type = "partner.offboarded.v1"

    partner_id: str
    integration_id: str
    reason: str


class PartnerErased(Event, frozen=True, kw_only=True):
    """What was personal about the partner is gone for good: its data key was deleted in the same transaction."""

    type = "partner.erased.v1"

    partner_id: str
    integration_id: str
    reason: str


PartnerEvent = (
    PartnerInvited
    | PartnerOnboarded
    | PartnerKeyAdded
    | PartnerLinkAdded
    | PartnerOffboarded
    | PartnerErased
    | ConsumerAdded
    | ConsumerRemoved
)


class Partner(msgspec.Struct, frozen=True, rename="camel"):
    """`keys` are the ids of all that the partner ever had, `links` of those that may be open yet, `consumers` the
    groups that it has by now."""

    id: str
    workspace_id: str
    integration_id: str
    app_name: str | None
    app_description: str | None
    metadata: dict[str, Any]
    invited_at: datetime
    links: tuple[str, ...]
    status: PartnerStatus = "invited"
    onboarded_at: datetime | None = None
    offboarded_at: datetime | None = None
    erased_at: datetime | None = None
    keys: tuple[str, ...] = ()
    consumers: tuple[Group, ...] = ()


class PartnerGone(Refusal):
    """The partner has been offboarded; nothing more can be issued to it."""

    code, status, title = "partner-offboarded", 409, "The partner has left"


class Invitation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an invitation says of the partner's app; all of it optional."""

    app_name: str | None = None
    app_description: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class OnboardPartner(msgspec.Struct, frozen=True):
    link_id: str
    key_ids: list[str]


class AddKey(msgspec.Struct, frozen=True):
    key_id: str


class AddLink(msgspec.Struct, frozen=True):
    link_id: str


class OffboardPartner(msgspec.Struct, frozen=True):
    reason: str


class ErasePartner(msgspec.Struct, frozen=True):
    """Offboards it as well."""

    reason: str


class AddConsumer(msgspec.Struct, frozen=True):
    group: Group


class RemoveConsumer(msgspec.Struct, frozen=True):
    environment: Environment
    name: str


PartnerCommand = OnboardPartner | AddKey | AddLink | OffboardPartner | ErasePartner | AddConsumer | RemoveConsumer


def invite(
    invitation: Invitation, *, workspace_id: str, integration_id: str, partner_id: str, link_id: str
) -> list[PartnerEvent]:
    """A new partner, with the link that it is invited by. Refuses what is too long, too deep or can't be kept."""
    wrong = [
        *text_faults("/appName", invitation.app_name, most=NAME_LENGTH),
        *text_faults("/appDescription", invitation.app_description, most=DESCRIPTION_LENGTH, lines=True),
        *metadata_faults("/metadata", invitation.metadata),
    ]
    if wrong:
        raise Invalid("The partner can't be invited like this.", *wrong)
    return [
        PartnerInvited(
            workspace_id=workspace_id,
            partner_id=partner_id,
            integration_id=integration_id,
            link_id=link_id,
            app_name=invitation.app_name,
            app_description=invitation.app_description,
            metadata=invitation.metadata,
        )
    ]


def decide(partner: Partner, command: PartnerCommand) -> list[PartnerEvent]:
    """What the command brings about. Offboarding a partner that has left, or erasing it again, changes nothing."""
    this = {"workspace_id": partner.workspace_id, "partner_id": partner.id, "integration_id": partner.integration_id}
    match command:
        case OffboardPartner(reason=reason):
            return [] if partner.status == "offboarded" else [PartnerOffboarded(reason=reason, **this)]
        case ErasePartner(reason=reason):
            left = [] if partner.status == "offboarded" else [PartnerOffboarded(reason=reason, **this)]
            return [] if partner.erased_at else [*left, PartnerErased(reason=reason, **this)]
        case _ if partner.status == "offboarded":
            raise PartnerGone("This partner has been offboarded. Invite it anew.")
        case OnboardPartner() | AddKey() | AddLink():
            return [_joined(command, this)]
        case AddConsumer(group=group):
            demand_room(partner.consumers, group)
            return [group.added(**this)]
        case RemoveConsumer(environment=environment, name=name):
            if not any((each.environment, each.name) == (environment, name) for each in partner.consumers):
                raise NotFound.of("consumer", name)
            return [ConsumerRemoved(environment=environment, name=name, **this)]
        case _:
            assert_never(command)


def _joined(command: OnboardPartner | AddKey | AddLink, this: dict[str, str]) -> PartnerEvent:
    match command:
        case OnboardPartner(link_id=link_id, key_ids=key_ids):
            return PartnerOnboarded(link_id=link_id, key_ids=key_ids, **this)
        case AddKey(key_id=key_id):
            return PartnerKeyAdded(key_id=key_id, **this)
        case AddLink(link_id=link_id):
            return PartnerLinkAdded(link_id=link_id, **this)
        case _:
            assert_never(command)


def evolve(state: Partner | None, event: PartnerEvent, at: datetime) -> Partner:
    match event:
        case PartnerInvited():
            return Partner(
                id=event.partner_id,
                workspace_id=event.workspace_id,
                integration_id=event.integration_id,
                app_name=event.app_name,
                app_description=event.app_description,
                metadata=event.metadata,
                invited_at=at,
                links=(event.link_id,),
            )
        case _ if state is None:
            raise ValueError(f"{event.type} before the invitation")
        case _:
            return msgspec.structs.replace(state, **_changes(state, event, at))


def _changes(state: Partner, event: PartnerEvent, at: datetime) -> dict[str, Any]:
    """What an event changes of a partner that was invited before."""
    changes: dict[str, Any]
    match event:
        case PartnerInvited():
            raise ValueError("invited twice")
        case PartnerOnboarded():
            changes = {"status": "onboarded", "onboarded_at": at, "keys": (*state.keys, *event.key_ids)}
        case PartnerKeyAdded():
            changes = {"keys": (*state.keys, event.key_id)}
        case PartnerLinkAdded():
            younger = (each for each in state.links if time_of(each) > at - _OVER)
            changes = {"links": (*younger, event.link_id)}
        case ConsumerAdded():
            changes = {"consumers": (*state.consumers, Group.of(event, at))}
        case ConsumerRemoved():
            which = (event.environment, event.name)
            kept = (each for each in state.consumers if (each.environment, each.name) != which)
            changes = {"consumers": tuple(kept)}
        case PartnerOffboarded():
            changes = {"status": "offboarded", "offboarded_at": at}
        case PartnerErased():
            changes = {"app_name": None, "app_description": None, "metadata": {}, "erased_at": at}
        case _:
            assert_never(event)
    return changes
