"""Promotion of what a key may do: from dev to stage to prod."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import FromPath, JSONBody

from keyfold.app.promotion import PromotionView
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import Body, Envelope, answered


class PromoteBody(Body, frozen=True, kw_only=True):
    """`dryRun` answers what would be, and does nothing."""

    to_key_id: Annotated[str, msgspec.Meta(max_length=64)]
    dry_run: bool = False


class PromotionController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/{key_id:str}/promote", status_code=200, opt={"permission": "keys:change"}, summary="Promote a key")
    async def promote(
        self, request: Request[Any, Any, Any], key_id: FromPath[str], data: JSONBody[PromoteBody]
    ) -> Response[Envelope[PromotionView]]:
        """Gives another key of the same partner, in a later environment, this key's `permitted` and `options`, and
        nothing else. Never more than that environment's rule gives."""
        by, promotion = await caller(request), services(request).promotion
        return answered(await promotion.promote(by, key_id, data.to_key_id, dry_run=data.dry_run))
