"""What an integrator does with a link, in a browser or from its own backend. No key: the token is in the body."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import JSONBody

from keyfold.app.views import PreviewView, RedemptionView
from keyfold.domain.tokens import parse_token
from keyfold.web.auth import PUBLIC, services, visit
from keyfold.web.sessions import cookie
from keyfold.web.v1.common import Body, Envelope, answered, secret


class TokenBody(Body, frozen=True, kw_only=True):
    """`token` is what follows the `#` in the link's address: `kfl_…`."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]

    def __repr__(self) -> str:
        return "TokenBody(…)"


class RedemptionBody(TokenBody, frozen=True, kw_only=True):
    """`embedded` says that a page of another site has the portal in it: the session is known within that site alone."""

    embedded: bool = False


class OnboardingController(Controller):
    path = "/onboarding"
    tags = ("Onboarding",)

    @post("/preview", status_code=200, opt={"permission": PUBLIC}, summary="Look at a link")
    async def preview(
        self, request: Request[Any, Any, Any], data: JSONBody[TokenBody]
    ) -> Response[Envelope[PreviewView]]:
        """Shows who invites to what, and spends nothing."""
        return secret(Response(Envelope(await services(request).onboarding.preview(data.token))))

    @post("/redeem", opt={"permission": PUBLIC}, summary="Redeem a link")
    async def redeem(
        self, request: Request[Any, Any, Any], data: JSONBody[RedemptionBody]
    ) -> Response[Envelope[RedemptionView]]:
        """Spends the link: the partner holds a key for each environment, and the secrets are shown this once. A link
        back into the portal opens it, and issues nothing.

        Of many at the same time one succeeds; the others get 410 `link-used`. With an `Idempotency-Key` a lost answer
        can be had again by whoever holds that key; without one, recovery is rotation.
        """
        token = parse_token(data.token)
        who = await visit(request, token.id if token else "")
        opened = await services(request).onboarding.redeem(data.token, who)
        response = secret(answered(opened.answer, 201))
        if opened.session is not None:
            response.headers["Set-Cookie"] = cookie(opened.session.reveal, embedded=data.embedded)
        return response
