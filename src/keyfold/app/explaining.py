"""The whole reasoning behind a verdict, for a hypothetical: this key, that topic, this address, that moment."""

import asyncio
from datetime import datetime
from typing import Any

import msgspec

from keyfold.app.access import Caller
from keyfold.app.ports import Clock, Journal
from keyfold.app.subjects import load_subject
from keyfold.app.vault import Vault
from keyfold.app.views import View
from keyfold.domain.aggregates import KEY, Aggregate
from keyfold.domain.ids import is_id
from keyfold.domain.judgement import Check, Finding, Level, Question, Subject, findings
from keyfold.domain.key_state import Key
from keyfold.domain.refusals import NotFound
from keyfold.domain.rule import EVENT_ACTIONS, Action, Rule
from keyfold.domain.tokens import parse_token
from keyfold.domain.topics import common

SHOWN = 10
"""Patterns, or networks, that a sentence names."""
COMPARED = 4_000_000
"""Characters of one rule's patterns times those of another's: what is compared in a quarter of a second at the most."""

Patterns = dict[Action, list[str] | None]


class StepView(View, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at. `code` says why it speaks against the use; `detail` gives the facts."""

    check: Check
    level: Level
    id: str | None
    ok: bool
    code: str | None = None
    detail: str


class ExplanationView(View, frozen=True, kw_only=True):
    """`code` is that of the first step that speaks against the use, as a verification would say.

    `effective` gives the patterns that the key, the keys above it and its integration's rule all cover; null where
    these are too many to be brought together.
    """

    valid: bool
    code: str
    at: datetime
    key_id: str | None = None
    steps: tuple[StepView, ...] = ()
    effective: Patterns = msgspec.field(default_factory=dict)


class Explaining:
    """Asks the truth and leaves no trace: takes no rate, counts no use, and is nobody's first use."""

    def __init__(self, *, journal: Journal, vault: Vault, clock: Clock) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock

    async def of_id(self, caller: Caller, key_id: str, question: Question, at: datetime | None) -> ExplanationView:
        """For the key with this id. A moment that has passed sees everything as it was then, one to come as it is now.

        Raises `NotFound`, `Unavailable`.
        """
        explained = await self._explained(caller, key_id, question, at) if is_id(KEY.prefix, key_id) else None
        if explained is None:
            raise NotFound.of(KEY.word, key_id)
        return explained

    async def of_secret(self, caller: Caller, text: str, question: Question, at: datetime | None) -> ExplanationView:
        """The same for whoever shows this; what is no key that the caller sees is an unknown one."""
        token, explained = parse_token(text), None
        is_key = token is not None and is_id(KEY.prefix, token.id)
        if token and is_key and self._vault.matches(token, await self._journal.digest(token.id)):
            explained = await self._explained(caller, token.id, question, at)
        return explained or ExplanationView(valid=False, code="unknown-key", at=at or self._clock())

    async def _explained(
        self, caller: Caller, key_id: str, question: Question, at: datetime | None
    ) -> ExplanationView | None:
        now = self._clock()
        moment = at or now
        has_passed = moment < now

        def load(aggregate: Aggregate[Any], of: str) -> Any:
            return self._journal.load_at(aggregate, of, moment) if has_passed else self._journal.load(aggregate, of)

        subject, _ = await load_subject(load, key_id)
        if subject is None or not caller.sees(subject.key):
            return None
        if has_passed and subject.key.issued_at > moment:
            return ExplanationView(valid=False, code="not-issued", at=moment, key_id=key_id)
        # away from the loop: patterns may be made to take long
        shared = await asyncio.to_thread(effective, subject, question)
        return explanation(subject, question, moment, shared)


def explanation(subject: Subject, question: Question, at: datetime, shared: Patterns) -> ExplanationView:
    """What verification finds, step by step."""
    steps = tuple(
        StepView(
            check=each.check,
            level=each.level,
            id=each.id,
            ok=each.code is None,
            code=each.code,
            detail=_detail(each, subject, question, at),
        )
        for each in findings(subject, question, at)
    )
    code = next((step.code for step in steps if step.code is not None), "valid")
    return ExplanationView(
        valid=code == "valid", code=code, at=at, key_id=subject.key.id, steps=steps, effective=shared
    )


def effective(subject: Subject, question: Question) -> Patterns:
    """For the action asked about, or each that has topics, the patterns that all rules have in common."""
    rules = [key.document.rule for key in (subject.key, *subject.parents)]
    rules.append(_offered(subject))
    return {action: _shared(action, rules) for action in EVENT_ACTIONS if question.action in (None, action)}


def _shared(action: Action, rules: list[Rule | None]) -> list[str] | None:
    given = [rule.topics(action) for rule in rules if rule is not None and action in rule.permitted]
    if len(given) < len(rules):
        return []
    shared, *others = given
    for each in others:
        if each != shared:
            if sum(map(len, shared)) * sum(map(len, each)) > COMPARED:
                return None
            shared = common(shared, each)
    return [*shared]


def _offered(subject: Subject) -> Rule | None:
    return None if subject.offer is None else subject.offer.rule


def _detail(finding: Finding, subject: Subject, question: Question, at: datetime) -> str:
    """A sentence with the facts that the finding rests on."""
    key = next((each for each in subject.parents if each.id == finding.id), subject.key)
    match finding.check:
        case "status":
            return f"{_status(key, at)}."
        case "network":
            return _network(key, finding, question.address)
        case "permission" if finding.level == "integration":
            return _permission(_offered(subject), question, f"It offers nothing in {key.environment}.")
        case "permission":
            return _permission(key.document.rule, question, f"A key of kind {key.kind} has no permitted actions.")


def _status(key: Key, at: datetime) -> str:
    status, end = key.status_at(at), key.expires_at
    since = key.since if key.status == status else None
    match status:
        case "pending":
            return f"Pending until {_time(key.document.not_before)}"
        case "active":
            begun = max(each for each in (key.issued_at, key.document.not_before, since) if each is not None)
            return f"Active since {_time(begun)}" + (f", until {_time(end)}" if end else "")
        case "retiring":
            return _retiring(key)
        case "expired":
            return f"Expired at {_time(since or end)}"
        case "retired":
            return f"Retired at {_time(since or key.retires_at)}"
        case _:
            return f"{status.capitalize()} since {_time(since)}: {key.reason}"


def _retiring(key: Key) -> str:
    following = key.succession
    if following is None or following.retires_at is None:
        return "Retiring once its successor is used" + (f" ({following.successor_id})" if following else "")
    return f"Retiring until {_time(following.retires_at)}, followed by {following.successor_id}"


def _network(key: Key, finding: Finding, address: str | None) -> str:
    networks = key.document.source_networks
    if not networks:
        return "It may be used from anywhere."
    if address is None:
        return f"It may be used from {_some(networks)} alone, and no address was given."
    return f"{address} is {'within' if finding.code is None else 'in none of'} {_some(networks)}."


def _permission(rule: Rule | None, question: Question, without: str) -> str:
    action, topic = question.action, question.topic
    if rule is None or action is None:
        return without
    match rule.refuses(action, topic):
        case "action-not-permitted":
            return f"It permits {', '.join(rule.permitted) or 'nothing'}, not {action}."
        case "action-not-available":
            return f"It permits {action}, which can't be done yet."
    patterns = _some(rule.topics(action))
    if topic is None:
        return f"It permits to {action} on {patterns}."
    pattern = rule.pattern_for(action, topic)
    return f"{pattern} covers {topic}." if pattern else f"Nothing covers {topic}: {action} is permitted on {patterns}."


def _some(texts: tuple[str, ...]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _time(moment: datetime | None) -> str:
    return moment.isoformat() if moment else "an unknown time"
