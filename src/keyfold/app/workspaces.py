"""Workspaces: how one begins, and what an owner may change about it."""

from keyfold.app.access import Caller
from keyfold.app.keys import issue_key
from keyfold.app.views import IntegrationView, IssuedKeyView, View, WorkspaceView
from keyfold.app.work import Answer, Cause, Office, Work, demand_version
from keyfold.domain import integration, workspace
from keyfold.domain.aggregates import INTEGRATION, WORKSPACE
from keyfold.domain.integration import Terms
from keyfold.domain.key import IssueKey
from keyfold.domain.key_events import Document
from keyfold.domain.refusals import Forbidden
from keyfold.domain.workspace import House


class FoundedView(View, frozen=True, kw_only=True):
    """A new workspace, and the only time that its first two keys' secrets are shown."""

    workspace_id: str
    integration: IntegrationView
    account_key: IssuedKeyView
    integration_key: IssuedKeyView


class Workspaces:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def found(self, cause: Cause, name: str, wanted: Terms) -> Answer[FoundedView]:
        """Founds a workspace: with an integration, an owner's key and an integration key, all or nothing."""

        async def command(work: Work) -> FoundedView:
            workspace_id, integration_id = work.new_id("ws"), work.new_id("int")
            work.append(WORKSPACE, workspace_id, workspace.create(workspace_id, name))
            founded = work.newest(workspace_id)
            created = integration.create(integration_id, workspace_id, wanted)
            made = work.append(INTEGRATION, integration_id, created, because=founded)
            owner = IssueKey(
                key_id=work.new_id("key"),
                workspace_id=workspace_id,
                kind="account",
                document=Document(name="First owner", role="owner"),
            )
            inviter = IssueKey(
                key_id=work.new_id("key"),
                workspace_id=workspace_id,
                kind="integration",
                document=Document(name=f"{wanted.name[:240]} invitations"),
                integration_id=integration_id,
            )
            return FoundedView(
                workspace_id=workspace_id,
                integration=IntegrationView.of(made, work.now),
                account_key=await issue_key(work, owner, because=founded),
                integration_key=await issue_key(work, inviter, because=founded),
            )

        return await self._office.carry_out(cause, FoundedView, command)

    async def change(self, caller: Caller, wanted: House, *, version: int) -> Answer[WorkspaceView]:
        """Other limits or another name from now on."""
        if caller.bounds():
            raise Forbidden("A key that is narrowed to certain things can't change what all others live by.")

        async def command(work: Work) -> WorkspaceView:
            this = await work.load(WORKSPACE, caller.workspace_id)
            demand_version(work, this.id, version)
            return WorkspaceView.of(work.append(WORKSPACE, this.id, workspace.decide(this, wanted)), work.now)

        return await self._office.carry_out(caller.cause, WorkspaceView, command)
