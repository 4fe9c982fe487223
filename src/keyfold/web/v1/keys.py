"""Access keys: issued, listed, revoked, verified."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from keyfold.app.keys import NewKey
from keyfold.app.views import IssuedKeyView, KeyView, VerificationView
from keyfold.domain.aggregates import KEY
from keyfold.domain.key import KeyKind, KeyStatus
from keyfold.domain.permissions import Action, Environment, Role
from keyfold.domain.refusals import Invalid
from keyfold.domain.topics import is_topic
from keyfold.metrics import VERIFICATIONS
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    Body,
    CursorParameter,
    Envelope,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    MinPosition,
    Name,
    PartnerFilter,
    WithReason,
    answered,
    listed,
    secret,
    shown,
)
from keyfold.web.v1.integrations import TopicsBody

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class NarrowerOptions(Body, frozen=True, kw_only=True):
    """Topics to narrow an action to; an action that is left out keeps all that the rule gives."""

    send: TopicsBody | None = None
    receive: TopicsBody | None = None


class KeyBody(Body, frozen=True, kw_only=True):
    """An account key needs `role`, an integration key `integrationId`, a service key `partnerId` and `environment`.

    A service key may have `permitted` and `options`, to get less than its integration's rule gives.
    """

    kind: KeyKind
    name: Name
    role: Role | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    permitted: tuple[Action, ...] | None = None
    options: NarrowerOptions = NarrowerOptions()
    not_before: Moment | None = None
    expires_at: Moment | None = None

    def new_key(self) -> NewKey:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "options"}
        asked = {"send": self.options.send, "receive": self.options.receive}
        return NewKey(**fields, topics={action: body.topics for action, body in asked.items() if body})  # type: ignore[misc]


class VerifyBody(Body, frozen=True, kw_only=True):
    """`address` is that of whoever showed the key; no key is narrowed to networks yet."""

    key: Annotated[str, msgspec.Meta(max_length=256)]
    action: Action | None = None
    topic: str | None = None
    address: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    def __repr__(self) -> str:
        return "VerifyBody(…)"


class KeyController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/", opt={"permission": "keys:issue"}, summary="Issue a key")
    async def issue(
        self, request: Request[Any, Any, Any], data: JSONBody[KeyBody]
    ) -> Response[Envelope[IssuedKeyView]]:
        """The `secret` is shown this once. A partner's key gets what its integration's rule gives, never more."""
        by = await caller(request, creates=True)
        return secret(answered(await services(request).keys.issue(by, data.new_key()), 201))

    @get("/", opt={"permission": "keys:read"}, summary="List keys")
    async def keys(
        self,
        request: Request[Any, Any, Any],
        status: FromQuery[KeyStatus | None] = None,
        kind: FromQuery[KeyKind | None] = None,
        environment: FromQuery[Environment | None] = None,
        integration_id: IntegrationFilter = None,
        partner_id: PartnerFilter = None,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        limit: Limit = 50,
    ) -> ListEnvelope[KeyView]:
        """Newest first. `status` is pending, active, expired or revoked."""
        filters: dict[str, str | None] = {
            "kind": kind,
            "environment": environment,
            "integration_id": integration_id,
            "partner_id": partner_id,
        }
        return await listed(
            request,
            KEY,
            KeyView.of,
            filters,
            status=status,
            cursor=cursor,
            min_position=min_position,
            limit=limit,
        )

    @get("/{key_id:str}", opt={"permission": "keys:read"}, summary="Read a key")
    async def key(self, request: Request[Any, Any, Any], key_id: FromPath[str]) -> Envelope[KeyView]:
        return await shown(request, KEY, KeyView.of, key_id)

    @post("/{key_id:str}/revoke", status_code=200, opt={"permission": "keys:revoke"}, summary="Revoke a key")
    async def revoke(
        self, request: Request[Any, Any, Any], key_id: FromPath[str], data: JSONBody[WithReason]
    ) -> Response[Envelope[KeyView]]:
        """Final, and in force when this answers. Doing it again changes nothing."""
        return answered(await services(request).keys.revoke(await caller(request), key_id, data.reason))

    @post("/verify", status_code=200, opt={"permission": "keys:verify"}, summary="Verify a key")
    async def verify(
        self, request: Request[Any, Any, Any], data: JSONBody[VerifyBody]
    ) -> Response[Envelope[VerificationView]]:
        """Whether a key of this workspace may be used, for an action on a topic if one is given. Always the truth:
        503 when it can't be asked, never a guess."""
        if data.topic is not None and not is_topic(data.topic):
            raise Invalid("This is not a topic.", ("/topic", "A topic looks like app/order/created."))
        if data.topic is not None and data.action is None:
            raise Invalid("A topic needs an action.", ("/action", "Say whether to send or to receive."))
        by = await caller(request)
        verdict = await services(request).verifier.verify(by, data.key, data.action, data.topic)
        VERIFICATIONS.labels(verdict.code).inc()
        return secret(Response(Envelope(verdict)))
