"""Who may do what: permissions of those who manage, actions and topics of those who exchange events."""

import re
from functools import lru_cache
from typing import Literal

import msgspec

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
_PATTERN = re.compile(r"(?:(?:[A-Za-z0-9_-]+|\*)/)*(?:[A-Za-z0-9_-]+|\*|\*\*)")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
TOPIC_LENGTH = 200


class Topics(msgspec.Struct, frozen=True):
    """A condition on an action: the topics it is narrowed to, as patterns."""

    topics: tuple[str, ...] = ("**",)


class Options(msgspec.Struct, frozen=True):
    """The conditions of each action; an action that isn't permitted has none."""

    send: Topics = Topics()
    receive: Topics = Topics()


class Rule(msgspec.Struct, frozen=True):
    """What a key may do: the actions it is permitted, and what narrows each."""

    permitted: tuple[Action, ...] = ("send", "receive")
    options: Options = Options()

    def refuses(self, action: Action, topic: str | None) -> str | None:
        """Why this action (on this topic) is refused, as a stable code, or None when it is permitted."""
        if action not in self.permitted:
            return "action-not-permitted"
        patterns = (self.options.send if action == "send" else self.options.receive).topics
        if topic is not None and not any(covers(pattern, topic) for pattern in patterns):
            return "topic-not-permitted"
        return None


def is_topic(text: str) -> bool:
    """Whether `text` is a topic: segments of `[A-Za-z0-9_-]` with slashes between."""
    return len(text) <= TOPIC_LENGTH and _TOPIC.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def is_pattern(text: str) -> bool:
    """Whether `text` is a topic pattern: `*` stands for one segment, a trailing `**` for the rest."""
    return len(text) <= TOPIC_LENGTH and _PATTERN.fullmatch(text) is not None


def covers(pattern: str, topic: str) -> bool:
    """Whether the topic lies within the pattern. A trailing `**` stands for one segment or more."""
    wanted, given = pattern.split("/"), topic.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(want in ("*", got) for want, got in zip(wanted, given, strict=True))
