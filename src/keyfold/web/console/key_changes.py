"""What a change of a key's document takes away, and what it gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from keyfold.domain.aggregates import TOPIC
from keyfold.domain.ceilings import ExceedsCeiling
from keyfold.domain.integration import TOPICS
from keyfold.domain.key_ceiling import Ceiling, demand_below
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import Key
from keyfold.domain.reach import rules_of
from keyfold.domain.record import encode
from keyfold.domain.rule import EVENT_ACTIONS, Action, Options, Rule
from keyfold.web.auth import caller, services
from keyfold.web.console.key_bounds import bounds_parts
from keyfold.web.console.pages import Req

_NOTHING = Rule((), Options())


class Move(NamedTuple):
    """A field that changes: what goes of it, and what comes."""

    field: str
    gone: list[str]
    come: list[str]


class Effect(NamedTuple):
    """The topics of the catalogue on which an action goes, or comes, by all that stands above the key."""

    action: Action
    gone: list[str]
    come: list[str]


def moves(before: Document, after: Document) -> list[Move]:
    """Each field that the form has and that is another than before."""
    old, new = dict(_parts(before)), dict(_parts(after))
    return [
        Move(
            field,
            [each for each in old[field] if each not in new[field]],
            [each for each in new[field] if each not in old[field]],
        )
        for field in old
        if old[field] != new[field]
    ]


def gains(before: Document, after: Document) -> list[str]:
    """The places in which it has more than before."""
    try:
        demand_below(after, [Ceiling.of(before)])
    except ExceedsCeiling as more:
        return [pointer for pointer, _ in more.fields]
    return []


async def effects(request: Req, key: Key, after: Document) -> list[Effect]:
    """What becomes of sending and receiving on the topics of its integration's catalogue."""
    of, by = services(request), await caller(request)
    known = await of.verifier.find_id(key.id)
    rules = [*rules_of(known.subject)] if known else []
    if after.rule is None or not rules:
        return []
    before, *above = rules
    here: Any = {"status": "active", "now": of.clock(), "cursor": None, "limit": TOPICS}
    page = await of.lists.page(TOPIC.prefix, by.workspace_id, {"integration_id = $?": key.integration_id}, **here)
    names = sorted(topic.name for topic in page.items)

    def may(rule: Rule, action: Action) -> list[str]:
        return [each for each in names if all(one.refuses(action, each) is None for one in (rule, *above))]

    found = [(action, may(before, action), may(after.rule, action)) for action in EVENT_ACTIONS]
    return [
        Effect(action, [each for each in old if each not in new], [each for each in new if each not in old])
        for action, old, new in found
        if old != new
    ]


def _parts(of: Document) -> list[tuple[str, Sequence[str]]]:
    rule = of.rule or _NOTHING
    send, receive = rule.options.send, rule.options.receive
    end: Any = msgspec.to_builtins(of.expires_at)
    return [
        *bounds_parts(of),
        ("permitted", rule.permitted),
        ("send", send.topics),
        ("autofill", [encode(send.autofill).decode()] if send.autofill else []),
        ("receive", receive.topics),
        ("filters", [f"{each.property_name} {each.operator} {_json(each.property_value)}" for each in receive.filters]),
        ("networks", of.source_networks),
        ("expiresAt", [end] if end else []),
    ]


def _json(value: object) -> str:
    return encode(value).decode()
