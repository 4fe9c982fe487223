"""The judgement: whether a key may be used (for this), decided by the key and by all that stands above it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from keyfold.domain.key_state import USABLE, Key
from keyfold.domain.networks import includes
from keyfold.domain.permissions import Permission
from keyfold.domain.policy import Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import Action

Level = Literal["key", "parent", "integration"]
Check = Literal["status", "network", "permission"]


class Subject(msgspec.Struct, frozen=True):
    """A key with all that a judgement of it depends on: `parents` are those that it was delegated by, the nearest
    first; `offer` is what its integration offers in its environment by now."""

    key: Key
    parents: tuple[Key, ...] = ()
    offer: Offer | None = None
    permissions: frozenset[Permission] = frozenset()
    rate: Rate | None = None
    workspace_rate: Rate | None = None


class Question(NamedTuple):
    """What the key is to be used for: nothing in particular when `action` is None. `address` is where it came from."""

    action: Action | None = None
    topic: str | None = None
    address: str | None = None


class Finding(NamedTuple):
    """One thing that was looked at: `code` says why it speaks against the use, None that it doesn't."""

    check: Check
    level: Level
    id: str | None
    code: str | None


def refusal(subject: Subject, question: Question, now: datetime) -> Finding | None:
    """The first finding against the use, or None when the key may be used."""
    for finding in findings(subject, question, now):
        if finding.code is not None:
            return finding
    return None


class Decision(NamedTuple):
    """`code` is `valid`, or that of the finding `against`; `pattern` is what covered the topic of a valid use."""

    code: str
    against: Finding | None = None
    pattern: str | None = None


def decide(subject: Subject, question: Question, now: datetime) -> Decision:
    """The judgement in short."""
    against = refusal(subject, question, now)
    if against is not None and against.code is not None:
        return Decision(against.code, against)
    rule = subject.key.document.rule
    if rule is None or question.action is None or question.topic is None:
        return Decision("valid")
    return Decision("valid", pattern=rule.pattern_for(question.action, question.topic))


def findings(subject: Subject, question: Question, now: datetime) -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    key, parents = subject.key, subject.parents
    status = key.status_at(now)
    yield Finding("status", "key", key.id, None if status in USABLE else status)
    for parent in parents:
        status = parent.status_at(now)
        yield Finding("status", "parent", parent.id, None if status in USABLE else f"parent-{status}")
    yield Finding("network", "key", key.id, _network(key, question.address))
    for parent in parents:
        yield Finding("network", "parent", parent.id, _network(parent, question.address))
    if key.kind == "service" and subject.offer is None:
        yield Finding("permission", "integration", key.integration_id, "environment-not-offered")
    elif question.action is not None:
        yield from _permission(subject, question.action, question.topic)


def _permission(subject: Subject, action: Action, topic: str | None) -> Iterator[Finding]:
    key = subject.key
    rule = key.document.rule
    yield Finding("permission", "key", key.id, "action-not-permitted" if rule is None else rule.refuses(action, topic))
    for parent in subject.parents:
        above = parent.document.rule
        beyond = above is None or above.refuses(action, topic) is not None
        yield Finding("permission", "parent", parent.id, "beyond-parent" if beyond else None)
    if subject.offer is not None:
        beyond = subject.offer.rule.refuses(action, topic) is not None
        yield Finding("permission", "integration", key.integration_id, "beyond-integration" if beyond else None)


def _network(key: Key, address: str | None) -> str | None:
    networks = key.document.source_networks
    if not networks:
        return None
    if address is None:
        return "address-needed"
    return None if includes(networks, address) else "network-not-allowed"
