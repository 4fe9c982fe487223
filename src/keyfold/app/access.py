"""Who is asking: what the caller may do, and what of the workspace it sees."""

from typing import Protocol

import msgspec

from keyfold.app.work import Cause
from keyfold.domain.aggregates import AGGREGATES
from keyfold.domain.ceilings import ExceedsCeiling
from keyfold.domain.permissions import ANYTHING, Conditions, Permission
from keyfold.domain.refusals import Forbidden, NotFound, OutOfSight


class Tenanted(Protocol):
    """A state that belongs to a workspace."""

    @property
    def id(self) -> str: ...
    @property
    def workspace_id(self) -> str: ...


class Caller(msgspec.Struct, frozen=True):
    """Who asks, on behalf of which workspace, and within what.

    `integration_id` is that of an integration key, `key_id` that of a service key, which sees nothing but itself.
    `only_narrows` is a partner's: it makes keys smaller, and never larger again.
    """

    cause: Cause
    workspace_id: str
    integration_id: str | None = None
    key_id: str | None = None
    conditions: Conditions = ANYTHING
    is_owner: bool = False
    only_narrows: bool = False
    permissions: frozenset[Permission] = frozenset()

    def sees(self, state: Tenanted) -> bool:
        if state.workspace_id != self.workspace_id:
            return False
        if state.id == self.cause.actor.id:  # whatever it is narrowed to, a key sees itself
            return True
        if self.key_id is not None:
            return False
        bound = bindings(state)
        return all(bound.get(name) in within for name, within in self.bounds().items() if name in bound)

    def bounds(self) -> dict[str, tuple[str, ...]]:
        """What the caller is narrowed to, by what a thing may be bound to."""
        integrations = self.conditions.integrations
        if self.integration_id is not None:
            integrations = (self.integration_id,)
        given = {
            "integration": integrations,
            "partner": self.conditions.partners,
            "environment": self.conditions.environments,
        }
        return {name: within for name, within in given.items() if within is not None}

    def demand_sight(self, word: str, state: Tenanted) -> None:
        """Raises `NotFound` for what is not the caller's, exactly as for what doesn't exist."""
        if not self.sees(state):
            is_own = state.workspace_id == self.workspace_id
            raise (OutOfSight if is_own else NotFound).of(word, state.id)

    def demand_reach(self, given: frozenset[Permission], conditions: Conditions | None = None) -> None:
        """Nobody gives what they don't have, or leaves more than they may themselves. An owner has all permissions."""
        beyond = frozenset[Permission]() if self.is_owner else given - self.permissions
        if beyond:
            raise Forbidden(f"The key would have permissions that this one lacks: {', '.join(sorted(beyond))}.")
        if given and (excess := [*(conditions or ANYTHING).exceeds(self.conditions)]):
            raise ExceedsCeiling("The key would be narrowed less than this one.", *excess)

    def demand_integration(self) -> str:
        """The integration that the caller's key is bound to."""
        if self.integration_id is None:
            raise Forbidden("Only an integration key can do this: it says which integration the partner is to join.")
        return self.integration_id


BOUND_TO = {
    "int": ("integration",),
    "prt": ("integration", "partner"),
    "lnk": ("integration", "partner"),
    "key": ("integration", "partner", "environment"),
    "top": ("integration",),
}
"""What a thing is bound to, by the prefix of its id: a caller who is narrowed sees those of what it is narrowed to.
An account key is bound to nothing, so that whoever is narrowed sees none but its own."""


def bindings(state: Tenanted) -> dict[str, str | None]:
    """What this very thing is bound to."""
    prefix = state.id.partition("_")[0]
    return {
        what: state.id if AGGREGATES[prefix].word == what else getattr(state, FIELDS[what])
        for what in BOUND_TO.get(prefix, ())
    }


FIELDS = {"integration": "integration_id", "partner": "partner_id", "environment": "environment"}
