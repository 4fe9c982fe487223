"""Integrations come into being, and change."""

from keyfold.app.access import Caller
from keyfold.app.views import IntegrationView
from keyfold.app.work import Answer, Office, Work, demand_version
from keyfold.domain import integration
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import Terms
from keyfold.domain.refusals import Forbidden


class Integrations:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def create(self, caller: Caller, wanted: Terms) -> Answer[IntegrationView]:
        if caller.bounds():
            raise Forbidden("A key that is narrowed to certain things can't create an integration.")

        async def command(work: Work) -> IntegrationView:
            of = work.new_id("int")
            made = work.append(INTEGRATION, of, integration.create(of, caller.workspace_id, wanted))
            return IntegrationView.of(made, work.now)

        return await self._office.carry_out(caller.cause, IntegrationView, command)

    async def change(self, caller: Caller, of: str, wanted: Terms, *, version: int) -> Answer[IntegrationView]:
        """Other terms from now on, for every key of it: what a key has beyond them is refused at its next use."""

        async def command(work: Work) -> IntegrationView:
            this = await work.load(INTEGRATION, of)
            caller.demand_sight(INTEGRATION.word, this)
            if caller.conditions.partners is not None or caller.conditions.environments is not None:
                raise Forbidden("A key that is narrowed to partners or environments can't change what others live by.")
            demand_version(work, of, version)
            return IntegrationView.of(work.append(INTEGRATION, of, integration.decide(this, wanted)), work.now)

        return await self._office.carry_out(caller.cause, IntegrationView, command)
