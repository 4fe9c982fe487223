"""Reach: which stored events a key may receive, by its own rule and by all that stands above it."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple

import msgspec

from keyfold.domain.ceilings import PATTERNS, excesses
from keyfold.domain.filters import Filter, all_hold
from keyfold.domain.judgement import Subject
from keyfold.domain.limits import Fault
from keyfold.domain.rule import History, Options, Receive, Rule
from keyfold.domain.topics import common, covers


class Obstacle(NamedTuple):
    """Why NATS can't keep to a reach by itself: a stable code and a sentence."""

    code: str
    detail: str


FILTERED = Obstacle("content-filters", "Only Keyfold looks into events, and this has content filters.")
WINDOWED = Obstacle("history-window", "Only Keyfold tells the age of events, and this has a window that ends or moves.")
SCATTERED = Obstacle("too-many-topics", f"NATS takes {PATTERNS} topic patterns at the most, and this has more.")
NOTHING = Obstacle("no-topics", "No topic is left of what the key, the keys above it and its integration permit.")


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The events on topics of these patterns for which all filters hold, stored within the window.

    Stored at `since` or later, before `until`, and not longer ago than `seconds`.
    """

    patterns: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    seconds: int | None = None

    @property
    def native(self) -> bool:
        """Whether a consumer of NATS can keep to it, from its start on."""
        return self.why_not_native is None

    @property
    def why_not_native(self) -> Obstacle | None:
        if not self.patterns:
            return NOTHING
        if self.filters:
            return FILTERED
        if self.until is not None or self.seconds is not None:
            return WINDOWED
        return SCATTERED if len(self.patterns) > PATTERNS else None

    def earliest(self, now: datetime) -> datetime | None:
        """Where its window begins by now."""
        moments = (self.since, None if self.seconds is None else now - timedelta(seconds=self.seconds))
        return max((each for each in moments if each is not None), default=None)

    def takes(self, topic: str, stored_at: datetime, event: Any, now: datetime) -> bool:
        """Whether the event, as it is stored, lies within. Filters look into its data, and fail where that is none that
        has properties."""
        earliest = self.earliest(now)
        if (earliest is not None and stored_at < earliest) or (self.until is not None and stored_at >= self.until):
            return False
        if not any(covers(pattern, topic) for pattern in self.patterns):
            return False
        data = event.get("data") if isinstance(event, dict) else None
        return not self.filters or (isinstance(data, dict) and all_hold(self.filters, data))


def reach(subject: Subject) -> Reach:
    """All that the key may receive by now; no patterns where it may receive nothing."""
    rules = [*rules_of(subject)]
    if not rules or any("receive" not in rule.permitted for rule in rules):
        return Reach(patterns=())
    received = [rule.options.receive for rule in rules]
    histories = [each.history for each in received]
    return Reach(
        patterns=reduce(common, (each.topics for each in received)),
        filters=tuple(dict.fromkeys(condition for each in received for condition in each.filters)),
        since=max(_given(each.since for each in histories), default=None),
        until=min(_given(each.until for each in histories), default=None),
        seconds=min((each.seconds for each in histories if each.seconds is not None), default=None),
    )


def reach_of(receive: Receive) -> Reach:
    """What these options of receiving come to by themselves."""
    history = receive.history
    return Reach(
        patterns=receive.topics,
        filters=receive.filters,
        since=history.since,
        until=history.until,
        seconds=history.seconds,
    )


def receive_of(this: Reach) -> Receive:
    """The options of receiving that come to exactly this."""
    window = History(since=this.since, until=this.until, seconds=this.seconds)
    return Receive(topics=this.patterns, filters=this.filters, history=window)


def beyond(receive: Receive, subject: Subject) -> list[Fault]:
    """Each thing in which these options go beyond what the key may receive; none when it covers them."""
    wanted = Rule(("receive",), Options(receive=receive))
    rules = [*rules_of(subject)]
    if not rules:
        return [("/topics", "This key receives nothing.")]
    faults = (fault for rule in rules for fault in excesses(wanted, rule))
    return [*dict.fromkeys((pointer.removeprefix("/options/receive"), detail) for pointer, detail in faults)]


def rules_of(subject: Subject) -> Iterator[Rule]:
    """The key's rule, those of the keys above it, and its integration's: nothing where one of them is missing."""
    found = [each.document.rule for each in (subject.key, *subject.parents)]
    found.append(subject.offer.rule if subject.offer else None)
    rules = [rule for rule in found if rule is not None]
    yield from rules if len(rules) == len(found) else ()


def coarse(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns that together cover these at least, and are not too many for a consumer."""
    if len(patterns) <= PATTERNS:
        return patterns
    heads = dict.fromkeys(pattern.partition("/")[0] for pattern in patterns)
    wider = tuple(each for head in heads for each in (head, f"{head}/**"))
    return wider if len(wider) <= PATTERNS and not {"*", "**"} & {*heads} else ("**",)


def _given(moments: Iterable[datetime | None]) -> list[datetime]:
    return [each for each in moments if each is not None]
