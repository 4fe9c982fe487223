"""Integrations: what a workspace offers to partners."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, JSONBody

from keyfold.app.views import IntegrationView
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import LINK_LIFETIME, LINK_LIFETIME_RANGE, NewIntegration, Presentation
from keyfold.domain.permissions import ENVIRONMENTS, Action, Environment, Options, Rule, Topics
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    Body,
    CursorParameter,
    Description,
    Envelope,
    Limit,
    ListEnvelope,
    MinPosition,
    Name,
    answered,
    listed,
    shown,
)

_SHORTEST, _LONGEST = (int(each.total_seconds()) for each in LINK_LIFETIME_RANGE)
LinkLifetime = Annotated[int, msgspec.Meta(ge=_SHORTEST, le=_LONGEST)]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class TopicsBody(Body, frozen=True, kw_only=True):
    topics: Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1, max_length=100)] = ("**",)


class OptionsBody(Body, frozen=True, kw_only=True):
    send: TopicsBody = TopicsBody()
    receive: TopicsBody = TopicsBody()


class RuleBody(Body, frozen=True, kw_only=True):
    """The most that a partner's key may do in one environment."""

    permitted: tuple[Action, ...] = ("send", "receive")
    options: OptionsBody = OptionsBody()

    def rule(self) -> Rule:
        send, receive = Topics(self.options.send.topics), Topics(self.options.receive.topics)
        return Rule(tuple(dict.fromkeys(self.permitted)), Options(send=send, receive=receive))


class IntegrationBody(Body, frozen=True, kw_only=True):
    """`environments` are those that a partner gets a key for: all three by default."""

    name: Name
    description: Description = ""
    color: Annotated[str, msgspec.Meta(pattern="^#[0-9a-fA-F]{6}$")] = "#2f6fed"
    icon: Annotated[str, msgspec.Meta(max_length=16384, pattern="^(https://|data:image/)")] | None = None
    environments: dict[Environment, RuleBody] = msgspec.field(
        default_factory=lambda: {each: RuleBody() for each in ENVIRONMENTS}
    )
    link_lifetime_seconds: LinkLifetime = int(LINK_LIFETIME.total_seconds())
    key_lifetime_seconds: Annotated[int, msgspec.Meta(ge=60, le=10 * 366 * 86400)] | None = None


class IntegrationController(Controller):
    path = "/integrations"
    tags = ("Integrations",)

    @post("/", opt={"permission": "integrations:create"}, summary="Create an integration")
    async def create(
        self, request: Request[Any, Any, Any], data: JSONBody[IntegrationBody]
    ) -> Response[Envelope[IntegrationView]]:
        lifetime = data.key_lifetime_seconds
        wanted = NewIntegration(
            name=data.name,
            presentation=Presentation(data.description, data.color, data.icon),
            rules={environment: body.rule() for environment, body in data.environments.items()},
            link_lifetime=timedelta(seconds=data.link_lifetime_seconds),
            key_lifetime=None if lifetime is None else timedelta(seconds=lifetime),
        )
        by = await caller(request, creates=True)
        return answered(await services(request).integrations.create(by, wanted), 201)

    @get("/", opt={"permission": "integrations:read"}, summary="List integrations")
    async def integrations(
        self,
        request: Request[Any, Any, Any],
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        limit: Limit = 50,
    ) -> ListEnvelope[IntegrationView]:
        """Newest first."""
        return await listed(
            request,
            INTEGRATION,
            IntegrationView.of,
            {},
            status=None,
            cursor=cursor,
            min_position=min_position,
            limit=limit,
        )

    @get("/{integration_id:str}", opt={"permission": "integrations:read"}, summary="Read an integration")
    async def integration(
        self, request: Request[Any, Any, Any], integration_id: FromPath[str]
    ) -> Envelope[IntegrationView]:
        return await shown(request, INTEGRATION, IntegrationView.of, integration_id)
