"""The portal: a partner's own view, by the session that a redemption opened, and leaving it."""

from typing import Any

from litestar import Controller, Request, Response, delete, get
from litestar.datastructures import Cookie

from keyfold.app.portal import PortalView, SessionView
from keyfold.web.auth import SESSION, home, portal_cause, services
from keyfold.web.sessions import SESSION_COOKIE, cookie
from keyfold.web.v1.common import Envelope, answered, secret

Req = Request[Any, Any, Any]


class PortalController(Controller):
    path = "/portal"
    tags = ("Portal",)

    @get("/", opt={"permission": SESSION}, summary="The partner of this session")
    async def portal(self, request: Req) -> Response[Envelope[PortalView]]:
        """The partner and its keys, without their secrets, and how its integration shows itself. Known by the cookie
        that the redemption set."""
        return secret(Response(Envelope(await services(request).portal.look(home(request)))))

    @delete("/session", status_code=200, opt={"permission": SESSION, "records": True}, summary="Sign out")
    async def sign_out(self, request: Req) -> Response[Envelope[SessionView]]:
        """Ends the session, wherever its cookie is."""
        of = home(request)
        answer = await services(request).portal.sign_out(portal_cause(request, of), of.session.id)
        response = secret(answered(answer))
        # browsers keep those of embedded pages apart, and which of them this one has isn't told
        response.headers["Set-Cookie"] = cookie("", embedded=True)
        response.set_cookie(Cookie(key=SESSION_COOKIE, value="", max_age=0, secure=True, httponly=True, samesite="lax"))
        return response
