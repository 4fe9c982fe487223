"""Onboarding links: listed, read, withdrawn. Their tokens are shown once, in the answer to the invitation."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from keyfold.app.views import LinkView
from keyfold.domain.aggregates import LINK
from keyfold.domain.link import LinkStatus
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    AsOf,
    CursorParameter,
    Envelope,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    MinPosition,
    PartnerFilter,
    WithReason,
    answered,
    listed,
    moment_of,
    shown,
)


class LinkController(Controller):
    path = "/links"
    tags = ("Onboarding",)

    @get("/", opt={"permission": "links:read"}, summary="List links")
    async def links(
        self,
        request: Request[Any, Any, Any],
        status: FromQuery[LinkStatus | None] = None,
        integration_id: IntegrationFilter = None,
        partner_id: PartnerFilter = None,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[LinkView]:
        """Newest first."""
        return await listed(
            request,
            LINK,
            LinkView.of,
            {"integration_id = $?": integration_id, "partner_id = $?": partner_id},
            status=status,
            cursor=cursor,
            min_position=min_position,
            limit=limit,
            at=await moment_of(request, as_of),
        )

    @get("/{link_id:str}", opt={"permission": "links:read"}, summary="Read a link")
    async def link(
        self, request: Request[Any, Any, Any], link_id: FromPath[str], as_of: AsOf = None
    ) -> Response[Envelope[LinkView]]:
        return await shown(request, LINK, LinkView.of, link_id, as_of)

    @post("/{link_id:str}/withdraw", status_code=200, opt={"permission": "links:withdraw"}, summary="Withdraw a link")
    async def withdraw(
        self, request: Request[Any, Any, Any], link_id: FromPath[str], data: JSONBody[WithReason]
    ) -> Response[Envelope[LinkView]]:
        """Ends a link that hasn't been used. Doing it again changes nothing."""
        by = await caller(request)
        return answered(await services(request).onboarding.withdraw(by, link_id, data.reason))
