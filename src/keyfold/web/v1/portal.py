"""A partner's own view, by the session that its redemption opened."""

from typing import Any

from litestar import Controller, Request, Response, get

from keyfold.app.portal import PortalView
from keyfold.web.auth import PUBLIC, SESSION_COOKIE, services
from keyfold.web.v1.common import Envelope, secret


class PortalController(Controller):
    path = "/portal"
    tags = ("Onboarding",)

    @get("/", opt={"permission": PUBLIC}, summary="The partner of this session")
    async def portal(self, request: Request[Any, Any, Any]) -> Response[Envelope[PortalView]]:
        """The partner and its keys, without their secrets. Known by the cookie that the redemption set."""
        view = await services(request).portal.look(request.cookies.get(SESSION_COOKIE, ""))
        return secret(Response(Envelope(view)))
