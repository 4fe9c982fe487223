"""Integrations come into being."""

from keyfold.app.access import Caller
from keyfold.app.views import IntegrationView
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import integration
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import NewIntegration


class Integrations:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def create(self, caller: Caller, wanted: NewIntegration) -> Answer[IntegrationView]:
        async def command(work: Work) -> IntegrationView:
            of = work.new_id("int")
            made = work.append(INTEGRATION, of, integration.create(of, caller.workspace_id, wanted))
            return IntegrationView.of(made, work.now)

        return await self._office.carry_out(caller.cause, IntegrationView, command)
