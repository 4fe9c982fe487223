"""Integrations: what a workspace offers to partners."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from keyfold.app.views import IntegrationView
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import COLOR, LINK_LIFETIME, LINK_LIFETIME_RANGE, Integration, Presentation, Terms
from keyfold.domain.origins import LENGTH, ORIGINS
from keyfold.domain.permissions import ENVIRONMENTS, Environment
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rule import EVENT_ACTIONS, Action, Options, Rule
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    AsOf,
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
    moment_of,
    shown,
)
from keyfold.web.v1.key_bodies import OptionsBody
from keyfold.web.v1.patching import patched

Req = Request[Any, Any, Any]
_SHORTEST, _LONGEST = (int(each.total_seconds()) for each in LINK_LIFETIME_RANGE)
LinkLifetime = Annotated[int, msgspec.Meta(ge=_SHORTEST, le=_LONGEST)]
Color = Annotated[str, msgspec.Meta(pattern="^#[0-9a-fA-F]{6}$")]
Origins = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=LENGTH)], ...], msgspec.Meta(max_length=ORIGINS)]
Icon = Annotated[str, msgspec.Meta(max_length=16384, pattern="^(https://|data:image/)")]


class OfferBody(Body, frozen=True, kw_only=True):
    """The most that a partner's key may do in one environment, and the policy that it lives by."""

    permitted: tuple[Action, ...] = EVENT_ACTIONS
    options: OptionsBody = OptionsBody()
    policy: KeyPolicy = KeyPolicy()

    def offer(self) -> Offer:
        rule = Rule(self.permitted).with_asked(self.permitted, self.options.asked())
        return Offer(rule.permitted, rule.options, self.policy)


class IntegrationBody(Body, frozen=True, kw_only=True):
    """`environments` are those that a partner gets a key for: all three by default. `origins` are the sites whose pages
    may embed the portal, such as `https://app.example.com`."""

    name: Name
    description: Description = ""
    color: Color = COLOR
    icon: Icon | None = None
    environments: dict[Environment, OfferBody] = msgspec.field(
        default_factory=lambda: {each: OfferBody() for each in ENVIRONMENTS}
    )
    link_lifetime_seconds: LinkLifetime = int(LINK_LIFETIME.total_seconds())
    origins: Origins = ()

    def terms(self) -> Terms:
        return Terms(
            name=self.name,
            presentation=Presentation(self.description, self.color, self.icon),
            environments={environment: body.offer() for environment, body in self.environments.items()},
            link_lifetime_seconds=self.link_lifetime_seconds,
            origins=self.origins,
        )


class IntegrationPatch(Body, frozen=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays, `null` takes away."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    color: Color | UnsetType | None = UNSET
    icon: Icon | UnsetType | None = UNSET
    environments: dict[Environment, dict[str, Any] | None] | UnsetType = UNSET
    link_lifetime_seconds: LinkLifetime | UnsetType = UNSET
    origins: Origins | UnsetType | None = UNSET


class IntegrationDocument(Body, frozen=True, kw_only=True):
    """The whole, as a patch is merged into it."""

    name: Name
    description: Description = ""
    color: Color = COLOR
    icon: Icon | None = None
    environments: dict[Environment, "OfferDocument"]
    link_lifetime_seconds: LinkLifetime
    origins: Origins = ()

    @classmethod
    def of(cls, integration: Integration) -> "IntegrationDocument":
        terms = integration.terms
        return cls(
            name=terms.name,
            description=terms.presentation.description,
            color=terms.presentation.color,
            icon=terms.presentation.icon,
            environments={
                each: OfferDocument(permitted=offer.permitted, options=offer.options, policy=offer.policy)
                for each, offer in terms.environments.items()
            },
            link_lifetime_seconds=terms.link_lifetime_seconds,
            origins=terms.origins,
        )

    def terms(self) -> Terms:
        return Terms(
            name=self.name,
            presentation=Presentation(self.description, self.color, self.icon),
            environments={
                each: Offer(tuple(dict.fromkeys(offer.permitted)), offer.options, offer.policy)
                for each, offer in self.environments.items()
            },
            link_lifetime_seconds=self.link_lifetime_seconds,
            origins=self.origins,
        )


class OfferDocument(Body, frozen=True, kw_only=True):
    permitted: tuple[Action, ...] = EVENT_ACTIONS
    options: Options = Options()
    policy: KeyPolicy = KeyPolicy()


class IntegrationController(Controller):
    path = "/integrations"
    tags = ("Integrations",)

    @post("/", opt={"permission": "integrations:create"}, summary="Create an integration")
    async def create(self, request: Req, data: JSONBody[IntegrationBody]) -> Response[Envelope[IntegrationView]]:
        by = await caller(request, creates=True)
        return answered(await services(request).integrations.create(by, data.terms()), 201)

    @get("/", opt={"permission": "integrations:read"}, summary="List integrations")
    async def integrations(
        self,
        request: Req,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
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
            at=await moment_of(request, as_of),
        )

    @get("/{integration_id:str}", opt={"permission": "integrations:read"}, summary="Read an integration")
    async def integration(
        self, request: Req, integration_id: FromPath[str], as_of: AsOf = None
    ) -> Response[Envelope[IntegrationView]]:
        """With its version as `ETag`, for a change."""
        return await shown(request, INTEGRATION, IntegrationView.of, integration_id, as_of)

    @patch("/{integration_id:str}", opt={"permission": "integrations:change"}, summary="Change an integration")
    async def change(
        self, request: Req, integration_id: FromPath[str], data: JSONBody[IntegrationPatch]
    ) -> Response[Envelope[IntegrationView]]:
        """A merge patch (RFC 7396) with the header `If-Match`. A smaller rule is in force for every key at once; new
        lifetimes and rotations are for keys that are issued from now on."""
        whole, version = await patched(request, INTEGRATION, integration_id, data, IntegrationDocument.of)
        by = await caller(request)
        answer = await services(request).integrations.change(by, integration_id, whole.terms(), version=version)
        return answered(answer, of=integration_id)
