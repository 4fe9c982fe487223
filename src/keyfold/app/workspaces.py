"""A workspace begins: with an integration, an owner's key and an integration key, all at once or not at all."""

from keyfold.app.keys import issue_key
from keyfold.app.views import IntegrationView, IssuedKeyView, View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import integration, workspace
from keyfold.domain.aggregates import INTEGRATION, WORKSPACE
from keyfold.domain.integration import NewIntegration
from keyfold.domain.key import IssueKey


class FoundedView(View, frozen=True, kw_only=True):
    """A new workspace, and the only time that its first two keys' secrets are shown."""

    workspace_id: str
    integration: IntegrationView
    account_key: IssuedKeyView
    integration_key: IssuedKeyView


class Workspaces:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def found(self, cause: Cause, name: str, wanted: NewIntegration) -> Answer[FoundedView]:
        """Founds a workspace."""

        async def command(work: Work) -> FoundedView:
            workspace_id, integration_id = work.new_id("ws"), work.new_id("int")
            work.append(WORKSPACE, workspace_id, workspace.create(workspace_id, name))
            made = work.append(INTEGRATION, integration_id, integration.create(integration_id, workspace_id, wanted))
            owner = IssueKey(
                key_id=work.new_id("key"), workspace_id=workspace_id, kind="account", name="First owner", role="owner"
            )
            inviter = IssueKey(
                key_id=work.new_id("key"),
                workspace_id=workspace_id,
                kind="integration",
                name=f"{wanted.name} invitations",
                integration_id=integration_id,
            )
            return FoundedView(
                workspace_id=workspace_id,
                integration=IntegrationView.of(made, work.now),
                account_key=issue_key(work, owner),
                integration_key=issue_key(work, inviter),
            )

        return await self._office.carry_out(cause, FoundedView, command)
