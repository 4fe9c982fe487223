"""What a service key may do: the actions that it is permitted, and the options that narrow each of them.

Events are `send` and `receive`. The other actions of the document model have their place and their full shape, so that
nothing has to move when their data side is built; until then whoever uses one is refused by its name.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from keyfold.domain.filters import Filter
from keyfold.domain.topics import covers

Action = Literal["send", "receive", "queries", "savedQueries", "cachedQueries", "datasets", "schema"]
ACTIONS: tuple[Action, ...] = ("send", "receive", "queries", "savedQueries", "cachedQueries", "datasets", "schema")
EVENT_ACTIONS: tuple[Action, ...] = ("send", "receive")
Operation = Literal["create", "read", "list", "retrieve", "delete"]
OPERATIONS: tuple[Operation, ...] = ("create", "read", "list", "retrieve", "delete")


class Section(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """The options of one action. A section of defaults narrows nothing."""


def _every_topic() -> tuple[str, ...]:
    return ("**",)


class History(Section, frozen=True):
    """Which stored events may be read: those of a time span, or not older than so many seconds, or both."""

    since: datetime | None = None
    until: datetime | None = None
    seconds: int | None = None


class Send(Section, frozen=True):
    """`autofill` is merged deeply into every event sent; its properties win over the sender's."""

    topics: tuple[str, ...] = msgspec.field(default_factory=_every_topic)
    autofill: dict[str, Any] = {}


class Receive(Section, frozen=True):
    """All `filters` must hold for an event to be received."""

    topics: tuple[str, ...] = msgspec.field(default_factory=_every_topic)
    filters: tuple[Filter, ...] = ()
    history: History = History()


class Queries(Section, frozen=True):
    filters: tuple[Filter, ...] = ()


class SavedQueries(Section, frozen=True):
    """Names of queries; `allowed` left out is all of them."""

    allowed: tuple[str, ...] | None = None
    blocked: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()


class CachedQueries(Section, frozen=True):
    allowed: tuple[str, ...] | None = None
    blocked: tuple[str, ...] = ()


class Dataset(Section, frozen=True):
    """For each property that the dataset is indexed by, the values that may be asked for."""

    index_by: dict[str, tuple[str, ...]] = {}


class Datasets(Section, frozen=True):
    """Names of datasets; `allowed` left out is all of them, for any index."""

    operations: tuple[Operation, ...] = OPERATIONS
    allowed: dict[str, Dataset] | None = None
    blocked: tuple[str, ...] = ()


class Options(Section, frozen=True):
    """The conditions of each action. `schema` has none."""

    send: Send = Send()
    receive: Receive = Receive()
    queries: Queries = Queries()
    saved_queries: SavedQueries = SavedQueries()
    cached_queries: CachedQueries = CachedQueries()
    datasets: Datasets = Datasets()


SECTIONS: dict[Action, str] = {
    "send": "send",
    "receive": "receive",
    "queries": "queries",
    "savedQueries": "saved_queries",
    "cachedQueries": "cached_queries",
    "datasets": "datasets",
}
"""The field of `Options` that an action has its section in."""

Asked = Mapping[str, Mapping[str, Any]]
"""Fields asked for, by the field of `Options` and the field of its section; what is left out is as it was."""


class Rule(msgspec.Struct, frozen=True):
    """What a key may do: the actions it is permitted, and what narrows each."""

    permitted: tuple[Action, ...] = EVENT_ACTIONS
    options: Options = Options()

    def topics(self, action: Action) -> tuple[str, ...]:
        """The patterns of an event action."""
        return (self.options.send if action == "send" else self.options.receive).topics

    def refuses(self, action: Action, topic: str | None) -> str | None:
        """Why this action (on this topic) is refused, as a stable code, or None when it is permitted."""
        if action not in self.permitted:
            return "action-not-permitted"
        if action not in EVENT_ACTIONS:
            return "action-not-available"
        if topic is not None and self.pattern_for(action, topic) is None:
            return "topic-not-permitted"
        return None

    def pattern_for(self, action: Action, topic: str) -> str | None:
        """The first pattern that covers the topic."""
        for pattern in self.topics(action):
            if covers(pattern, topic):
                return pattern
        return None

    def with_asked(self, permitted: tuple[Action, ...] | None, asked: Asked) -> "Rule":
        """This rule with what is asked for in the place of what it has; the rest stays."""
        sections = {
            name: msgspec.structs.replace(getattr(self.options, name), **fields) for name, fields in asked.items()
        }
        actions = self.permitted if permitted is None else tuple(dict.fromkeys(permitted))
        return Rule(actions, msgspec.structs.replace(self.options, **sections))
