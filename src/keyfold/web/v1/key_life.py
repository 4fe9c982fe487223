"""The life of an access key: suspended, reinstated, rotated, revoked, reported as compromised."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import FromPath, JSONBody

from keyfold.app.rotation import Overlap
from keyfold.app.views import KeyView, RotationView
from keyfold.domain.policy import LONGEST_OVERLAP, OverlapStarts
from keyfold.web.auth import SELF, caller, services
from keyfold.web.v1.common import Body, Envelope, WithReason, answered, secret

Req = Request[Any, Any, Any]


class RotateBody(Body, frozen=True, kw_only=True):
    """How long the old key goes on, and from when; what is left out is as the integration's policy says."""

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] | None = None
    overlap_starts: OverlapStarts | None = None


class ReinstateBody(Body, frozen=True, kw_only=True):
    """Nothing: `{}`."""


class KeyLifeController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/{key_id:str}/suspend", status_code=200, opt={"permission": "keys:suspend"}, summary="Suspend a key")
    async def suspend(
        self, request: Req, key_id: FromPath[str], data: JSONBody[WithReason]
    ) -> Response[Envelope[KeyView]]:
        """In force when this answers, until the key is reinstated; what it was handed on to is suspended with it."""
        return answered(await services(request).key_life.suspend(await caller(request), key_id, data.reason))

    @post("/{key_id:str}/reinstate", status_code=200, opt={"permission": "keys:suspend"}, summary="Reinstate a key")
    async def reinstate(
        self, request: Req, key_id: FromPath[str], data: JSONBody[ReinstateBody]
    ) -> Response[Envelope[KeyView]]:
        """Ends a suspension, and those that came with it."""
        return answered(await services(request).key_life.reinstate(await caller(request), key_id))

    @post("/{key_id:str}/revoke", status_code=200, opt={"permission": "keys:revoke"}, summary="Revoke a key")
    async def revoke(
        self, request: Req, key_id: FromPath[str], data: JSONBody[WithReason]
    ) -> Response[Envelope[KeyView]]:
        """Final, and in force when this answers. Doing it again changes nothing."""
        return answered(await services(request).key_life.revoke(await caller(request), key_id, data.reason))

    @post("/{key_id:str}/rotate", opt={"permission": "keys:rotate"}, summary="Rotate a key")
    async def rotate(
        self, request: Req, key_id: FromPath[str], data: JSONBody[RotateBody]
    ) -> Response[Envelope[RotationView]]:
        """Issues a successor with the same permissions, conditions and end. Its `secret` is shown this once; the old
        key retires after the overlap. A successor that nobody has used yet is replaced by a further rotation."""
        by = await caller(request, creates=True)
        overlap = Overlap(data.overlap_seconds, data.overlap_starts)
        return secret(answered(await services(request).rotation.rotate(by, key_id, overlap), 201))

    @post("/self/rotate", opt={"permission": SELF}, summary="Rotate the key that asks")
    async def rotate_myself(self, request: Req, data: JSONBody[RotateBody]) -> Response[Envelope[RotationView]]:
        """The same for the key that this request is made with, so that a client can do it unattended."""
        by = await caller(request, creates=True)
        overlap = Overlap(data.overlap_seconds, data.overlap_starts)
        return secret(answered(await services(request).rotation.rotate(by, by.cause.actor.id, overlap), 201))
