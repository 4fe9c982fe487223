"""Who may do what: permissions of those who manage, actions and topics of those who exchange events."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.topics import covers, is_pattern, within

Environment = Literal["dev", "stage", "prod"]
ENVIRONMENTS: tuple[Environment, ...] = ("dev", "stage", "prod")

Permission = Literal[
    "audit:read",
    "integrations:create",
    "integrations:read",
    "keys:issue",
    "keys:read",
    "keys:revoke",
    "keys:verify",
    "links:read",
    "links:withdraw",
    "partners:invite",
    "partners:offboard",
    "partners:read",
]
Role = Literal["owner", "admin", "key-manager", "auditor", "viewer"]

_READ: frozenset[Permission] = frozenset({"integrations:read", "keys:read", "links:read", "partners:read"})
_KEYS: frozenset[Permission] = frozenset({"keys:issue", "keys:revoke", "keys:verify"})
_MANAGE: frozenset[Permission] = frozenset(
    {"integrations:create", "links:withdraw", "partners:invite", "partners:offboard"}
)
ROLES: dict[Role, frozenset[Permission]] = {
    "owner": _READ | _KEYS | _MANAGE | {"audit:read"},
    "admin": _READ | _KEYS | _MANAGE | {"audit:read"},
    "key-manager": _READ | _KEYS,
    "auditor": _READ | {"audit:read"},
    "viewer": _READ,
}
INTEGRATION_KEY: frozenset[Permission] = frozenset(
    {"integrations:read", "links:read", "links:withdraw", "partners:invite", "partners:read"}
)
"""What an integration key may do, all of it within its one integration."""

Action = Literal["send", "receive"]
ACTIONS: tuple[Action, ...] = ("send", "receive")


class Topics(msgspec.Struct, frozen=True):
    """A condition on an action: the topics it is narrowed to, as patterns."""

    topics: tuple[str, ...] = ("**",)


class Options(msgspec.Struct, frozen=True):
    """The conditions of each action; an action that isn't permitted has none."""

    send: Topics = Topics()
    receive: Topics = Topics()


class ExceedsCeiling(Refusal):
    """More was asked for than the ceiling allows; `fields` lists each excess."""

    code, status, title = "exceeds-ceiling", 422, "More than the rule allows"


class Rule(msgspec.Struct, frozen=True):
    """What a key may do: the actions it is permitted, and what narrows each."""

    permitted: tuple[Action, ...] = ACTIONS
    options: Options = Options()

    def topics(self, action: Action) -> tuple[str, ...]:
        return (self.options.send if action == "send" else self.options.receive).topics

    def refuses(self, action: Action, topic: str | None) -> str | None:
        """Why this action (on this topic) is refused, as a stable code, or None when it is permitted."""
        if action not in self.permitted:
            return "action-not-permitted"
        if topic is not None and not any(covers(pattern, topic) for pattern in self.topics(action)):
            return "topic-not-permitted"
        return None

    def narrowed(self, permitted: tuple[Action, ...] | None, topics: Mapping[Action, tuple[str, ...]]) -> "Rule":
        """The rule of a key that asks for this under this ceiling; what isn't asked for is as the ceiling has it.

        Raises `ExceedsCeiling` with each excess, `Invalid` for what is no pattern.
        """
        actions = self.permitted if permitted is None else tuple(dict.fromkeys(permitted))
        asked = [(action, n, pattern) for action in topics for n, pattern in enumerate(topics[action])]
        if unreadable := [_fault(*each, "is not a topic pattern") for each in asked if not is_pattern(each[2])]:
            raise Invalid("A topic pattern looks like app/order/* or app/**.", *unreadable)
        excess = [
            ("/permitted", f"The rule doesn't permit to {each}.") for each in actions if each not in self.permitted
        ]
        excess += [
            _fault(action, n, pattern, f"goes beyond {', '.join(self.topics(action))}")
            for action, n, pattern in asked
            if not within(pattern, self.topics(action))
        ]
        if excess:
            raise ExceedsCeiling("A key may have what its integration's rule gives, or less.", *excess)
        send, receive = (Topics(topics.get(action, self.topics(action))) for action in ACTIONS)
        return Rule(actions, Options(send=send, receive=receive))


def _fault(action: Action, n: int, pattern: str, what: str) -> tuple[str, str]:
    return f"/options/{action}/topics/{n}", f"{pattern} {what}."
