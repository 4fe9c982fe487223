"""Verification: whether a key may be used, for whoever stands before something that is worth a key."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.params import JSONBody

from keyfold.app.verdicts import VerificationView, VerifyBody, verified
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import Envelope, secret


class VerificationController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/verify", status_code=200, opt={"permission": "keys:verify"}, summary="Verify a key")
    async def verify(
        self, request: Request[Any, Any, Any], data: JSONBody[VerifyBody]
    ) -> Response[Envelope[VerificationView]]:
        """Whether a key of this workspace may be used, for an action on a topic if one is given. Always the truth:
        503 when it can't be asked, never a guess."""
        of, by = services(request), await caller(request)
        return secret(Response(Envelope(await verified(of.verifier, by, data, of.clock(), of.witness))))
