"""Who may manage what: permissions, the roles that bundle them, and the conditions that narrow an account key."""

from collections.abc import Iterator
from typing import Literal, get_args

import msgspec

from keyfold.domain.ids import is_id
from keyfold.domain.limits import Fault

Environment = Literal["dev", "stage", "prod"]
ENVIRONMENTS: tuple[Environment, ...] = ("dev", "stage", "prod")

Permission = Literal[
    "audit:read",
    "integrations:change",
    "integrations:create",
    "integrations:read",
    "keys:change",
    "keys:compromise",
    "keys:delegate",
    "keys:explain",
    "keys:issue",
    "keys:read",
    "keys:revoke",
    "keys:rotate",
    "keys:suspend",
    "keys:verify",
    "links:issue",
    "links:read",
    "links:withdraw",
    "partners:erase",
    "partners:invite",
    "partners:offboard",
    "partners:read",
    "roles:manage",
    "roles:read",
    "workspace:change",
    "workspace:read",
]
PERMISSIONS: frozenset[Permission] = frozenset(get_args(Permission))
BuiltInRole = Literal["owner", "admin", "key-manager", "auditor", "viewer"]

_READ: frozenset[Permission] = frozenset(
    {"integrations:read", "keys:read", "links:read", "partners:read", "roles:read", "workspace:read"}
)
_KEYS: frozenset[Permission] = frozenset(each for each in PERMISSIONS if each.startswith("keys:"))
ROLES: dict[BuiltInRole, frozenset[Permission]] = {
    "owner": PERMISSIONS,
    "admin": PERMISSIONS - {"workspace:change"},
    "key-manager": _READ | _KEYS,
    "auditor": _READ | {"audit:read", "keys:explain"},
    "viewer": _READ,
}
INTEGRATION_KEY: frozenset[Permission] = frozenset(
    {"integrations:read", "links:issue", "links:read", "links:withdraw", "partners:invite", "partners:read"}
)
"""What an integration key may do, all of it within its one integration."""
PORTAL: frozenset[Permission] = (_KEYS - {"keys:issue", "keys:verify"}) | {"links:issue"}
"""What a portal session may do, with its own partner's keys alone, and never more than they may already; and let a
colleague in."""

_MOST = 200


class Conditions(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """What an account key is narrowed to; what is left out is not narrowed."""

    integrations: tuple[str, ...] | None = None
    partners: tuple[str, ...] | None = None
    environments: tuple[Environment, ...] | None = None

    def admits(self, integration_id: str | None, partner_id: str | None, environment: str | None) -> bool:
        """Whether a thing of this integration, partner and environment lies within; None is what it isn't bound to."""
        if self.integrations is not None and integration_id not in self.integrations:
            return False
        if self.partners is not None and partner_id not in self.partners:
            return False
        return self.environments is None or environment in self.environments

    def exceeds(self, ceiling: "Conditions") -> Iterator[Fault]:
        """Each field in which these conditions leave more than the ceiling does."""
        for name in self.__struct_fields__:
            ours, theirs = getattr(self, name), getattr(ceiling, name)
            if theirs is not None and (ours is None or not {*ours} <= {*theirs}):
                yield f"/conditions/{name}", f"Keep within {', '.join(theirs) or 'none'}."

    def faults(self) -> Iterator[Fault]:
        for name, prefix in (("integrations", "int"), ("partners", "prt")):
            named = getattr(self, name) or ()
            if len(named) > _MOST:
                yield f"/conditions/{name}", f"Name {_MOST} at the most."
            for n, each in enumerate(named):
                if not is_id(prefix, each):
                    yield f"/conditions/{name}/{n}", f"This is not the id of one of the {name}."


ANYTHING = Conditions()
"""Conditions that narrow nothing."""
