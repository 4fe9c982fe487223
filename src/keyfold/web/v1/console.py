"""Links that sign an operator in to the console, made with the account key that they stand for."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.params import JSONBody

from keyfold.app.console import SignInView
from keyfold.web.auth import SELF, caller, services
from keyfold.web.v1.common import Body, Envelope, answered, secret


class SignInBody(Body, frozen=True, kw_only=True):
    """There is nothing to say."""


class ConsoleController(Controller):
    path = "/console"
    tags = ("Console",)

    @post("/links", opt={"permission": SELF}, summary="Issue a sign-in link")
    async def issue_link(
        self, request: Request[Any, Any, Any], data: JSONBody[SignInBody]
    ) -> Response[Envelope[SignInView]]:
        """A one-time link that signs a browser in to the console as the account key that asks. It lives 15 minutes, and
        its `url` is shown this once. Other keys than account keys are refused."""
        by = await caller(request, creates=True)
        return secret(answered(await services(request).console.issue(by.cause, request.state.subject.key), 201))
