"""The link: a one-time secret that turns an invited partner into an onboarded one, or lets one that is onboarded back
into its portal."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from keyfold.domain.record import Event
from keyfold.domain.refusals import Refusal

LinkStatus = Literal["open", "redeemed", "withdrawn", "expired"]
LinkPurpose = Literal["onboarding", "portal"]
"""What a link opens: the partner's keys and its portal, or its portal alone."""


class LinkIssued(Event, frozen=True, kw_only=True):
    type = "link.issued.v1"

    link_id: str
    integration_id: str
    partner_id: str
    expires_at: datetime
    purpose: LinkPurpose = "onboarding"


class LinkRedeemed(Event, frozen=True, kw_only=True):
    type = "link.redeemed.v1"

    link_id: str
    integration_id: str
    partner_id: str
    key_ids: list[str]


class LinkWithdrawn(Event, frozen=True, kw_only=True):
    type = "link.withdrawn.v1"

    link_id: str
    integration_id: str
    partner_id: str
    reason: str


LinkEvent = LinkIssued | LinkRedeemed | LinkWithdrawn


class Link(msgspec.Struct, frozen=True, rename="camel"):
    """`status` is what was decided; `status_at` also knows that time ends an open link."""

    id: str
    workspace_id: str
    integration_id: str
    partner_id: str
    issued_at: datetime
    expires_at: datetime
    purpose: LinkPurpose = "onboarding"
    status: LinkStatus = "open"
    ended_at: datetime | None = None

    def status_at(self, now: datetime) -> LinkStatus:
        return "expired" if self.status == "open" and now >= self.expires_at else self.status


class LinkUsed(Refusal):
    code, status, title = "link-used", 410, "The link has been used"


class LinkExpired(Refusal):
    code, status, title = "link-expired", 410, "The link has expired"


class LinkGone(Refusal):
    code, status, title = "link-withdrawn", 410, "The link was withdrawn"


class TooManyLinks(Refusal):
    code, status, title = "too-many-links", 409, "The partner has as many open links as it may"


class LinkUnknown(Refusal):
    code, status, title = "link-unknown", 404, "There is no such link"


class IssueLink(msgspec.Struct, frozen=True, kw_only=True):
    link_id: str
    workspace_id: str
    integration_id: str
    partner_id: str
    expires_at: datetime
    purpose: LinkPurpose = "onboarding"


class RedeemLink(msgspec.Struct, frozen=True):
    key_ids: list[str]


class WithdrawLink(msgspec.Struct, frozen=True):
    reason: str


def issue(command: IssueLink) -> list[LinkEvent]:
    return [
        LinkIssued(
            workspace_id=command.workspace_id,
            link_id=command.link_id,
            integration_id=command.integration_id,
            partner_id=command.partner_id,
            expires_at=command.expires_at,
            purpose=command.purpose,
        )
    ]


def demand_open(link: Link, now: datetime) -> None:
    """Refuses a link that can't be redeemed (any more), saying why."""
    match link.status_at(now):
        case "open":
            return
        case "redeemed":
            raise LinkUsed("This link has already been used. If it wasn't you, tell whoever sent it at once.")
        case "expired":
            raise LinkExpired("This link has expired. Ask whoever sent it for a fresh one.")
        case "withdrawn":
            raise LinkGone("This link was withdrawn. Ask whoever sent it for a fresh one.")


def decide(link: Link, command: RedeemLink | WithdrawLink, now: datetime) -> list[LinkEvent]:
    """What the command brings about. Withdrawing a link that is over changes nothing, unless it was redeemed."""
    this = {
        "workspace_id": link.workspace_id,
        "link_id": link.id,
        "integration_id": link.integration_id,
        "partner_id": link.partner_id,
    }
    match command:
        case RedeemLink(key_ids=key_ids):
            demand_open(link, now)
            return [LinkRedeemed(key_ids=key_ids, **this)]
        case WithdrawLink(reason=reason):
            if link.status == "redeemed":
                raise LinkUsed("This link has already been used, so it can't be withdrawn. Revoke its keys instead.")
            return [LinkWithdrawn(reason=reason, **this)] if link.status_at(now) == "open" else []
        case _:
            assert_never(command)


def evolve(state: Link | None, event: LinkEvent, at: datetime) -> Link:
    match event:
        case LinkIssued():
            return Link(
                id=event.link_id,
                workspace_id=event.workspace_id,
                integration_id=event.integration_id,
                partner_id=event.partner_id,
                issued_at=at,
                expires_at=event.expires_at,
                purpose=event.purpose,
            )
        case _ if state is None:
            raise ValueError(f"{event.type} before the link was issued")
        case LinkRedeemed():
            return msgspec.structs.replace(state, status="redeemed", ended_at=at)
        case LinkWithdrawn():
            return msgspec.structs.replace(state, status="withdrawn", ended_at=at)
        case _:
            assert_never(event)
