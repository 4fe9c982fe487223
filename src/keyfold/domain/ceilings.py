"""Ceilings: whether a rule can be kept, and whether it lies within another. Asking for more is refused, naming what."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from keyfold.domain.filters import Filter, filter_faults
from keyfold.domain.limits import Fault, metadata_faults, text_faults
from keyfold.domain.merging import is_filled_by
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.rule import SECTIONS, Action, CachedQueries, Datasets, History, Rule, SavedQueries
from keyfold.domain.topics import is_pattern, within

PATTERNS = 100
NAMES = 200
_LONGEST_NAME = 200
_Named = SavedQueries | CachedQueries


class ExceedsCeiling(Refusal):
    """More was asked for than the ceiling allows; `fields` lists each excess."""

    code, status, title = "exceeds-ceiling", 422, "More than the rule allows"


def demand_sound(rule: Rule) -> None:
    """Raises `Invalid` for what can't be kept."""
    if faults := [*rule_faults("", rule)]:
        raise Invalid("What the key shall be permitted can't be kept like this.", *faults)


def rule_faults(pointer: str, rule: Rule) -> Iterator[Fault]:
    """What is wrong with a rule by itself."""
    options, at = rule.options, f"{pointer}/options"
    for name, topics in (("send", options.send.topics), ("receive", options.receive.topics)):
        if not 1 <= len(topics) <= PATTERNS:
            yield f"{at}/{name}/topics", f"Give 1 to {PATTERNS} topic patterns."
        for n, pattern in enumerate(topics):
            if not is_pattern(pattern):
                yield f"{at}/{name}/topics/{n}", f"{pattern!r} is not a topic pattern, such as app/order/* or app/**."
    yield from metadata_faults(f"{at}/send/autofill", options.send.autofill)
    yield from filter_faults(f"{at}/receive/filters", options.receive.filters)
    yield from _history_faults(f"{at}/receive/history", options.receive.history)
    yield from filter_faults(f"{at}/queries/filters", options.queries.filters)
    yield from filter_faults(f"{at}/savedQueries/filters", options.saved_queries.filters)
    for name, names in _names(options.saved_queries, options.cached_queries, options.datasets):
        if len(names) > NAMES:
            yield f"{at}/{name}", f"Give {NAMES} names at the most."
        for n, each in enumerate(names):
            yield from text_faults(f"{at}/{name}/{n}", each, most=_LONGEST_NAME)


def excesses(rule: Rule, ceiling: Rule) -> Iterator[Fault]:
    """Each thing in which a rule goes beyond its ceiling, as far as its actions are concerned."""
    for action in rule.permitted:
        if action not in ceiling.permitted:
            yield "/permitted", f"The rule doesn't permit {action}."
        elif action in SECTIONS:
            yield from _section_excesses(action, rule, ceiling)


def _section_excesses(action: Action, rule: Rule, ceiling: Rule) -> Iterator[Fault]:
    ours, theirs, at = rule.options, ceiling.options, f"/options/{action}"
    match action:
        case "send":
            yield from _topic_excesses(action, rule, ceiling)
            if not is_filled_by(ours.send.autofill, theirs.send.autofill):
                yield f"{at}/autofill", "This must keep every property that the rule fills in, with its value."
        case "receive":
            yield from _topic_excesses(action, rule, ceiling)
            yield from _filter_excesses(at, ours.receive.filters, theirs.receive.filters)
            yield from _history_excesses(f"{at}/history", ours.receive.history, theirs.receive.history)
        case "queries":
            yield from _filter_excesses(at, ours.queries.filters, theirs.queries.filters)
        case "savedQueries":
            yield from _filter_excesses(at, ours.saved_queries.filters, theirs.saved_queries.filters)
            yield from _name_excesses(at, ours.saved_queries, theirs.saved_queries)
        case "cachedQueries":
            yield from _name_excesses(at, ours.cached_queries, theirs.cached_queries)
        case "datasets":
            yield from _dataset_excesses(at, ours.datasets, theirs.datasets)


def _topic_excesses(action: Action, rule: Rule, ceiling: Rule) -> Iterator[Fault]:
    allowed = ceiling.topics(action)
    for n, pattern in enumerate(rule.topics(action)):
        if not within(pattern, allowed):
            yield f"/options/{action}/topics/{n}", f"{pattern} goes beyond {', '.join(allowed)}."


def _filter_excesses(at: str, ours: tuple[Filter, ...], theirs: tuple[Filter, ...]) -> Iterator[Fault]:
    for each in theirs:
        if each not in ours:
            yield f"{at}/filters", f"This must keep the rule's filter on {each.property_name} ({each.operator})."


def _history_excesses(at: str, ours: History, theirs: History) -> Iterator[Fault]:
    if theirs.since is not None and (ours.since is None or ours.since < theirs.since):
        yield f"{at}/since", f"The rule lets history be read from {theirs.since.isoformat()} on."
    if theirs.until is not None and (ours.until is None or ours.until > theirs.until):
        yield f"{at}/until", f"The rule lets history be read until {theirs.until.isoformat()}."
    if theirs.seconds is not None and (ours.seconds is None or ours.seconds > theirs.seconds):
        yield f"{at}/seconds", f"The rule lets the last {theirs.seconds} seconds be read."


def _name_excesses(
    at: str, ours: SavedQueries | CachedQueries, theirs: SavedQueries | CachedQueries
) -> Iterator[Fault]:
    yield from _allowed_excesses(at, ours.allowed, theirs.allowed)
    yield from _blocked_excesses(at, ours.blocked, theirs.blocked)


def _dataset_excesses(at: str, ours: Datasets, theirs: Datasets) -> Iterator[Fault]:
    for operation in ours.operations:
        if operation not in theirs.operations:
            yield f"{at}/operations", f"The rule doesn't permit to {operation}."
    yield from _allowed_excesses(at, ours.allowed, theirs.allowed)
    yield from _blocked_excesses(at, ours.blocked, theirs.blocked)
    for name, limit in (theirs.allowed or {}).items():
        mine = (ours.allowed or {}).get(name)
        for index, values in limit.index_by.items():
            if mine is not None and not (index in mine.index_by and {*mine.index_by[index]} <= {*values}):
                yield f"{at}/allowed/{name}/indexBy/{index}", "This must keep to the values that the rule allows."


def _allowed_excesses(at: str, ours: Iterable[str] | None, theirs: Iterable[str] | None) -> Iterator[Fault]:
    if theirs is not None:
        beyond = {*ours} - {*theirs} if ours is not None else None
        if beyond is None or beyond:
            yield f"{at}/allowed", f"The rule allows {', '.join(sorted(theirs)) or 'none'}."


def _blocked_excesses(at: str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[Fault]:
    if missing := {*theirs} - {*ours}:
        yield f"{at}/blocked", f"This must block what the rule blocks: {', '.join(sorted(missing))}."


def _history_faults(at: str, history: History) -> Iterator[Fault]:
    for name, moment in (("since", history.since), ("until", history.until)):
        if isinstance(moment, datetime) and moment.tzinfo is None:
            yield f"{at}/{name}", "A time needs its offset, such as 2026-03-01T12:00:00Z."
    if history.seconds is not None and not 1 <= history.seconds <= 10 * 366 * 86400:
        yield f"{at}/seconds", "Give a second to ten years."


def _names(saved: SavedQueries, cached: CachedQueries, datasets: Datasets) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "savedQueries/allowed", saved.allowed or ()
    yield "savedQueries/blocked", saved.blocked
    yield "cachedQueries/allowed", cached.allowed or ()
    yield "cachedQueries/blocked", cached.blocked
    yield "datasets/allowed", tuple(datasets.allowed or ())
    yield "datasets/blocked", datasets.blocked
