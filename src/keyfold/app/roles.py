"""Custom roles: named sets of permissions for account keys."""

from keyfold.app.access import Caller
from keyfold.app.views import RoleView
from keyfold.app.work import Answer, Office, Work, demand_version
from keyfold.domain import role
from keyfold.domain.aggregates import ROLE
from keyfold.domain.permissions import ROLES
from keyfold.domain.refusals import Forbidden
from keyfold.domain.role import RoleTerms

BUILT_IN = [
    RoleView(id=name, name=name, description="", permissions=tuple(sorted(permissions)), built_in=True)
    for name, permissions in ROLES.items()
]


class Roles:
    """Nobody gives, or takes away, permissions that they don't have themselves."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def define(self, caller: Caller, wanted: RoleTerms) -> Answer[RoleView]:
        _demand_reach(caller, wanted)

        async def command(work: Work) -> RoleView:
            of = work.new_id("rol")
            made = work.append(ROLE, of, role.define(of, caller.workspace_id, wanted))
            return RoleView.of(made, work.now)

        return await self._office.carry_out(caller.cause, RoleView, command)

    async def change(self, caller: Caller, of: str, wanted: RoleTerms, *, version: int) -> Answer[RoleView]:
        """Every key with this role has the other permissions at once."""
        return await self._decide(caller, of, wanted, version)

    async def remove(self, caller: Caller, of: str) -> Answer[RoleView]:
        """Keys with this role may do nothing from now on."""
        return await self._decide(caller, of, role.RemoveRole(), None)

    async def _decide(
        self, caller: Caller, of: str, wanted: RoleTerms | role.RemoveRole, version: int | None
    ) -> Answer[RoleView]:
        async def command(work: Work) -> RoleView:
            this = await work.load(ROLE, of)
            caller.demand_sight(ROLE.word, this)
            if version is not None:
                demand_version(work, of, version)
            _demand_reach(caller, this.terms)
            if isinstance(wanted, RoleTerms):
                _demand_reach(caller, wanted)
            return RoleView.of(work.append(ROLE, of, role.decide(this, wanted)), work.now)

        return await self._office.carry_out(caller.cause, RoleView, command)


def _demand_reach(caller: Caller, wanted: RoleTerms) -> None:
    if caller.bounds():
        raise Forbidden("A key that is narrowed to certain things can't say what others may do everywhere.")
    caller.demand_reach(frozenset(wanted.permissions))
