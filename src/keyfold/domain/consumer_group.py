"""Consumer groups: consumers that a partner's keys in one environment share, by a name of the partner's own."""

import re
from collections.abc import Iterator
from datetime import datetime

import msgspec

from keyfold.domain.filters import Filter
from keyfold.domain.permissions import Environment
from keyfold.domain.record import Event
from keyfold.domain.refusals import Refusal
from keyfold.domain.rule import History, Receive

GROUPS = 20
"""Groups of one partner in one environment."""
OWN = "own"
"""The reserved name: each key's own consumer."""
_NAME = re.compile(r"[a-z0-9-]{1,32}")


class ConsumerTaken(Refusal):
    code, status, title = "consumer-exists", 409, "There is such a consumer already"


class TooManyConsumers(Refusal):
    code, status, title = "too-many-consumers", 409, "Too many consumers"


class ConsumerAdded(Event, frozen=True, kw_only=True):
    """A consumer group came into being. `start` is the time of the first event that it gets, None the earliest."""

    type = "partner.consumer-added.v1"

    partner_id: str
    integration_id: str
    environment: Environment
    name: str
    topics: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    history: History = History()
    start: datetime | None = None


class ConsumerRemoved(Event, frozen=True, kw_only=True):
    type = "partner.consumer-removed.v1"

    partner_id: str
    integration_id: str
    environment: Environment
    name: str


class Group(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a group receives, and from when; `added_at` is when it came into being."""

    environment: Environment
    name: str
    receive: Receive
    added_at: datetime
    start: datetime | None = None

    @classmethod
    def of(cls, event: ConsumerAdded, at: datetime) -> "Group":
        receive = Receive(topics=event.topics, filters=event.filters, history=event.history)
        return cls(event.environment, event.name, receive, at, event.start)

    def added(self, *, workspace_id: str, partner_id: str, integration_id: str) -> ConsumerAdded:
        return ConsumerAdded(
            workspace_id=workspace_id,
            partner_id=partner_id,
            integration_id=integration_id,
            environment=self.environment,
            name=self.name,
            topics=self.receive.topics,
            filters=self.receive.filters,
            history=self.receive.history,
            start=self.start,
        )


def is_group_name(name: str) -> bool:
    return name != OWN and _NAME.fullmatch(name) is not None


def in_environment(groups: tuple[Group, ...], environment: Environment | None) -> Iterator[Group]:
    return (each for each in groups if each.environment == environment)


def demand_room(groups: tuple[Group, ...], group: Group) -> None:
    """Raises `ConsumerTaken`, `TooManyConsumers`."""
    there = [each.name for each in in_environment(groups, group.environment)]
    if group.name in there:
        raise ConsumerTaken(f"A consumer {group.name} is there. Remove it first to make it anew.")
    if len(there) >= GROUPS:
        raise TooManyConsumers(f"{GROUPS} consumers of one partner in one environment, and more may not be.")
