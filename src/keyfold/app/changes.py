"""What changed between two moments: each thing as it was shown before and after, and where it differs."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from keyfold.app.topic_views import TopicView
from keyfold.app.views import IntegrationView, KeyView, LinkView, PartnerView, RoleView, View, WorkspaceView
from keyfold.domain.aggregates import INTEGRATION, KEY, LINK, PARTNER, ROLE, TOPIC, WORKSPACE, Aggregate
from keyfold.domain.key_state import ENDED
from keyfold.domain.moment import Moment
from keyfold.domain.record import Actor, Record, encode

Kind = Literal["workspace", "integration", "partner", "link", "key", "role", "topic"]
Change = Literal["created", "changed", "ended"]

_VIEWS: dict[Aggregate[Any], Callable[[Any, datetime], View]] = {
    WORKSPACE: WorkspaceView.of,
    INTEGRATION: IntegrationView.of,
    PARTNER: PartnerView.of,
    LINK: LinkView.of,
    KEY: KeyView.of,
    ROLE: RoleView.of,
    TOPIC: TopicView.of,
}
_ENDED = {*ENDED, "offboarded", "redeemed", "withdrawn", "removed"}


class HappenedView(View, frozen=True, kw_only=True):
    """An event that brought the change about, or a part of it."""

    position: int
    type: str
    time: datetime
    actor: Actor


class ChangeView(View, frozen=True, kw_only=True):
    """One thing to which something happened. `before` is null when it began since, `after` is never null.

    `changed` are JSON pointers (RFC 6901) to what differs, in whichever of the two has it; a list counts as a whole.
    None where what happened isn't part of what is shown of the thing.
    """

    kind: Kind
    id: str
    change: Change
    before: dict[str, Any] | None
    after: dict[str, Any]
    changed: list[str]
    events: list[HappenedView]


class Happened(Protocol):
    @property
    def position(self) -> int: ...
    @property
    def record(self) -> Record: ...


def change_of(
    aggregate: Aggregate[Any], before: Any, after: Any, events: list[Any], *, since: Moment, until: Moment
) -> ChangeView:
    """The change of a thing from one moment to another; `before` is None where there was none."""
    view = _VIEWS[aggregate]
    old = None if before is None else msgspec.to_builtins(view(before, since.time))
    new = msgspec.to_builtins(view(after, until.time))
    return ChangeView(
        kind=msgspec.convert(aggregate.word, Kind),
        id=after.id,
        change=_change(before, after),
        before=old,
        after=new,
        changed=[] if old is None else [*differing(old, new)],
        events=[_happened(each) for each in events],
    )


def differing(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """A pointer to each place that differs, as deep as both are objects there."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if encode(before) != encode(after):  # as JSON: Python takes true for 1
            yield at
        return
    for name in dict.fromkeys((*before, *after)):
        inside = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        if name in before and name in after:
            yield from differing(before[name], after[name], inside)
        else:
            yield inside


def _change(before: Any, after: Any) -> Change:
    if before is None:
        return "created"
    return "ended" if _has_ended(after) and not _has_ended(before) else "changed"


def _has_ended(state: Any) -> bool:
    return getattr(state, "status", None) in _ENDED


def _happened(event: Happened) -> HappenedView:
    record = event.record
    return HappenedView(position=event.position, type=record.type, time=record.time, actor=record.actor)
