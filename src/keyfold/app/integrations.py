"""Workspaces and integrations come into being."""

from keyfold.app.access import Caller
from keyfold.app.views import IntegrationView, View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import integration, workspace
from keyfold.domain.aggregates import INTEGRATION, WORKSPACE


class WorkspaceView(View, frozen=True, kw_only=True):
    id: str
    name: str


class Integrations:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def create_workspace(self, cause: Cause, name: str) -> Answer[WorkspaceView]:
        async def command(work: Work) -> WorkspaceView:
            of = work.new_id("ws")
            work.append(WORKSPACE, of, workspace.create(of, name))
            return WorkspaceView(id=of, name=name)

        return await self._office.carry_out(cause, WorkspaceView, command)

    async def create(self, caller: Caller, wanted: integration.NewIntegration) -> Answer[IntegrationView]:
        async def command(work: Work) -> IntegrationView:
            of = work.new_id("int")
            made = work.append(INTEGRATION, of, integration.create(of, caller.workspace_id, wanted))
            return IntegrationView.of(made, work.now)

        return await self._office.carry_out(caller.cause, IntegrationView, command)
