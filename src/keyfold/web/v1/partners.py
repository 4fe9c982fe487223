"""Partners: invited by an integration key, listed, offboarded."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from keyfold.app.erasing import ErasureView
from keyfold.app.views import FreshLinkView, InvitationView, OffboardedView, PartnerView
from keyfold.domain.aggregates import PARTNER
from keyfold.domain.partner import Invitation, PartnerStatus
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    LINES,
    AsOf,
    Body,
    CursorParameter,
    Description,
    Envelope,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    MinPosition,
    Name,
    WithReason,
    answered,
    listed,
    moment_of,
    secret,
    shown,
)


class InvitationBody(Body, frozen=True, kw_only=True):
    """Exactly these fields, all optional. `metadata` is an object of at most 16 KiB and 8 levels."""

    app_name: Name | None = None
    app_description: Description | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


class FreshLinkBody(Body, frozen=True, kw_only=True):
    """There is nothing to say."""


class ExternalController(Controller):
    path = "/external"
    tags = ("Onboarding",)

    @post("/partner", opt={"permission": "partners:invite"}, summary="Invite a partner")
    async def invite(
        self, request: Request[Any, Any, Any], data: JSONBody[InvitationBody]
    ) -> Response[Envelope[InvitationView]]:
        """Creates a partner of the key's integration, and the one-time link that it is onboarded by.

        The `url` is shown this once. Repeat a request whose answer was lost with the same `Idempotency-Key`.
        """
        invitation = Invitation(**msgspec.structs.asdict(data))
        by = await caller(request, creates=True)
        return secret(answered(await services(request).onboarding.invite(by, invitation), 201))


class PartnerController(Controller):
    path = "/partners"
    tags = ("Partners",)

    @get("/", opt={"permission": "partners:read"}, summary="List partners")
    async def partners(
        self,
        request: Request[Any, Any, Any],
        status: FromQuery[PartnerStatus | None] = None,
        integration_id: IntegrationFilter = None,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[PartnerView]:
        """Newest first."""
        return await listed(
            request,
            PARTNER,
            PartnerView.of,
            {"integration_id = $?": integration_id},
            status=status,
            cursor=cursor,
            min_position=min_position,
            limit=limit,
            at=await moment_of(request, as_of),
        )

    @get("/{partner_id:str}", opt={"permission": "partners:read"}, summary="Read a partner")
    async def partner(
        self, request: Request[Any, Any, Any], partner_id: FromPath[str], as_of: AsOf = None
    ) -> Response[Envelope[PartnerView]]:
        return await shown(request, PARTNER, PartnerView.of, partner_id, as_of)

    @post("/{partner_id:str}/links", opt={"permission": "links:issue"}, summary="Issue a fresh link")
    async def issue_link(
        self, request: Request[Any, Any, Any], partner_id: FromPath[str], data: JSONBody[FreshLinkBody]
    ) -> Response[Envelope[FreshLinkView]]:
        """A one-time link back into the portal, for a partner that is onboarded: it opens a session and issues no keys.
        One that isn't onboarded yet gets a new link in place of the first, which is withdrawn.

        The `url` is shown this once. At most 20 links of a partner are open at a time.
        """
        by = await caller(request, creates=True)
        return secret(answered(await services(request).links.issue(by, partner_id), 201))

    @delete("/{partner_id:str}", status_code=200, opt={"permission": "partners:offboard"}, summary="Offboard a partner")
    async def offboard(
        self,
        request: Request[Any, Any, Any],
        partner_id: FromPath[str],
        reason: Annotated[str, QueryParameter(min_length=1, max_length=1024, pattern=LINES)] = "offboarded",
    ) -> Response[Envelope[OffboardedView]]:
        """Revokes every key of the partner and withdraws its link, in one transaction. Final."""
        by = await caller(request)
        return answered(await services(request).partners.offboard(by, partner_id, reason))

    @post("/{partner_id:str}/erase", status_code=200, opt={"permission": "partners:erase"}, summary="Erase a partner")
    async def erase(
        self,
        request: Request[Any, Any, Any],
        partner_id: FromPath[str],
        data: JSONBody[WithReason],
        dry_run: Annotated[
            bool, QueryParameter(name="dryRun", description="Say what would go, and do nothing.")
        ] = False,
    ) -> Response[Envelope[ErasureView]]:
        """Makes what is personal about the partner unreadable for good: its name, description and metadata, the names
        of its keys, and every address. Offboards it too.

        Its history stays, with every hash and proof. Repeated, it changes nothing. Final.
        """
        by = await caller(request)
        return answered(await services(request).erasures.partner(by, partner_id, data.reason, dry_run=dry_run))
