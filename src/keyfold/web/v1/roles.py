"""Custom roles: named sets of permissions for account keys, beside those that are built in."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from keyfold.app.roles import BUILT_IN
from keyfold.app.views import RoleView
from keyfold.domain.aggregates import ROLE
from keyfold.domain.permissions import Permission
from keyfold.domain.role import CustomRole, RoleTerms
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
from keyfold.web.v1.patching import patched

Req = Request[Any, Any, Any]
Permissions = Annotated[tuple[Permission, ...], msgspec.Meta(max_length=100)]


class RoleBody(Body, frozen=True, kw_only=True):
    name: Name
    description: Description = ""
    permissions: Permissions

    def terms(self) -> RoleTerms:
        return RoleTerms(name=self.name, description=self.description, permissions=self.permissions)

    @classmethod
    def of(cls, role: CustomRole) -> "RoleBody":
        terms = role.terms
        return cls(name=terms.name, description=terms.description, permissions=terms.permissions)


class RolePatch(Body, frozen=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    permissions: Permissions | UnsetType = UNSET


class RoleController(Controller):
    path = "/roles"
    tags = ("Roles",)

    @post("/", opt={"permission": "roles:manage"}, summary="Define a role")
    async def define(self, request: Req, data: JSONBody[RoleBody]) -> Response[Envelope[RoleView]]:
        """Its id is what an account key has as `role`. Never with permissions that the caller lacks."""
        by = await caller(request, creates=True)
        return answered(await services(request).roles.define(by, data.terms()), 201)

    @get("/", opt={"permission": "roles:read"}, summary="List roles")
    async def roles(
        self,
        request: Req,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[RoleView]:
        """Custom roles, newest first, and on the last page those that are built in."""
        page = await listed(
            request,
            ROLE,
            RoleView.of,
            {},
            status="active",
            cursor=cursor,
            min_position=min_position,
            limit=limit,
            at=await moment_of(request, as_of),
        )
        return page if page.next_cursor else ListEnvelope([*page.data, *BUILT_IN], None)

    @get("/{role_id:str}", opt={"permission": "roles:read"}, summary="Read a role")
    async def role(self, request: Req, role_id: FromPath[str], as_of: AsOf = None) -> Response[Envelope[RoleView]]:
        """With its version as `ETag`, for a change."""
        for each in BUILT_IN:
            if each.id == role_id:
                await moment_of(request, as_of)
                return Response(Envelope(each))
        return await shown(request, ROLE, RoleView.of, role_id, as_of)

    @patch("/{role_id:str}", opt={"permission": "roles:manage"}, summary="Change a role")
    async def change(
        self, request: Req, role_id: FromPath[str], data: JSONBody[RolePatch]
    ) -> Response[Envelope[RoleView]]:
        """A merge patch (RFC 7396) with the header `If-Match`. In force for every key with this role at once."""
        whole, version = await patched(request, ROLE, role_id, data, RoleBody.of)
        by = await caller(request)
        answer = await services(request).roles.change(by, role_id, whole.terms(), version=version)
        return answered(answer, of=role_id)

    @delete("/{role_id:str}", status_code=200, opt={"permission": "roles:manage"}, summary="Remove a role")
    async def remove(self, request: Req, role_id: FromPath[str]) -> Response[Envelope[RoleView]]:
        """Keys with this role may do nothing from now on."""
        return answered(await services(request).roles.remove(await caller(request), role_id))
