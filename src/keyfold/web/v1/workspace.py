"""The workspace that the caller's key belongs to."""

from typing import Any

from litestar import Controller, Request, Response, get, patch
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from keyfold.app.views import WorkspaceView
from keyfold.domain.aggregates import WORKSPACE
from keyfold.domain.rates import Rate
from keyfold.domain.workspace import House, Workspace
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import AsOf, Body, Envelope, Name, answered, shown
from keyfold.web.v1.patching import patched

Req = Request[Any, Any, Any]


class HouseBody(Body, frozen=True, kw_only=True):
    """The whole, as a patch is merged into it."""

    name: Name
    rate: Rate | None = None
    key_rate: Rate | None = None

    @classmethod
    def of(cls, workspace: Workspace) -> "HouseBody":
        house = workspace.house
        return cls(name=house.name, rate=house.rate, key_rate=house.key_rate)


class WorkspacePatch(Body, frozen=True, kw_only=True):
    """A merge patch (RFC 7396). `rate` is what all keys of the workspace may ask of this API in sum, `keyRate` each
    account or integration key; `null` takes a limit away."""

    name: Name | UnsetType = UNSET
    rate: Rate | UnsetType | None = UNSET
    key_rate: Rate | UnsetType | None = UNSET


class WorkspaceController(Controller):
    path = "/workspace"
    tags = ("Workspace",)

    @get("/", opt={"permission": "workspace:read"}, summary="Read the workspace")
    async def workspace(self, request: Req, as_of: AsOf = None) -> Response[Envelope[WorkspaceView]]:
        """With its version as `ETag`, for a change. `owners` are the owners' keys that keep it manageable."""
        return await shown(request, WORKSPACE, WorkspaceView.of, (await caller(request)).workspace_id, as_of)

    @patch("/", opt={"permission": "workspace:change"}, summary="Change the workspace")
    async def change(self, request: Req, data: JSONBody[WorkspacePatch]) -> Response[Envelope[WorkspaceView]]:
        """A merge patch (RFC 7396) with the header `If-Match`."""
        by = await caller(request)
        whole, version = await patched(request, WORKSPACE, by.workspace_id, data, HouseBody.of)
        house = House(name=whole.name, rate=whole.rate, key_rate=whole.key_rate)
        answer = await services(request).workspaces.change(by, house, version=version)
        return answered(answer, of=by.workspace_id)
