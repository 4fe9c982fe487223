"""How the audit trail is asked for: the same parameters wherever it is listed, exported or followed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.params import FromQuery, QueryParameter

from keyfold.app.access import FIELDS, Caller
from keyfold.app.views import View
from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.judgement import Question
from keyfold.domain.permissions import ANYTHING, Environment
from keyfold.domain.record import Actor, encode
from keyfold.domain.refusals import Invalid
from keyfold.store.lists import Audited
from keyfold.store.trail_filter import OF_ENVIRONMENTS, ActorKind, TrailFilter
from keyfold.web.services import Services
from keyfold.web.sse import Item
from keyfold.web.v1.common import (
    LAST_POSITION,
    ONE_LINE,
    IntegrationFilter,
    PartnerFilter,
    bounds_on,
    plus_of,
    utc,
)
from keyfold.web.v1.naming import demand_ids_of

PERMISSION = "audit:read"
_MOST_TYPES = 50


class AuditView(View, frozen=True, kw_only=True):
    """One lifecycle event, at its place in the log. `data` has no secrets: there are none in the log."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: datetime
    actor: Actor
    correlation_id: str
    causation_id: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: Audited) -> "AuditView":
        record = entry.record
        return cls(
            position=entry.position,
            id=record.id,
            type=record.type,
            stream=record.stream,
            version=record.version,
            time=record.time,
            actor=record.actor,
            correlation_id=record.correlation_id,
            causation_id=record.causation_id,
            data=msgspec.json.decode(record.data),
        )


async def trail_filter(
    partner_id: PartnerFilter = None,
    key_id: Annotated[str | None, QueryParameter(name="keyId", pattern=ONE_LINE)] = None,
    integration_id: IntegrationFilter = None,
    resource_id: Annotated[
        str | None,
        QueryParameter(name="resourceId", pattern=ONE_LINE, description="The one thing it happened to, of any kind."),
    ] = None,
    environment: Annotated[
        Environment | None, QueryParameter(description="What happened to keys of this environment.")
    ] = None,
    actor_id: Annotated[
        str | None,
        QueryParameter(name="actorId", pattern=ONE_LINE, description="A key, a session, an operator's name, a rule."),
    ] = None,
    actor_kind: Annotated[ActorKind | None, QueryParameter(name="actorKind")] = None,
    address: Annotated[
        str | None,
        QueryParameter(pattern=ONE_LINE, description="Where it came from: an address, or a network as 10.0.0.0/8."),
    ] = None,
    correlation_id: Annotated[str | None, QueryParameter(name="correlationId", pattern=ONE_LINE)] = None,
    causation_id: Annotated[
        str | None,
        QueryParameter(name="causationId", pattern=ONE_LINE, description="What this event made happen at once."),
    ] = None,
    type_: Annotated[
        str | None,
        QueryParameter(
            name="type",
            pattern=ONE_LINE,
            description="`key.revoked.v1`, `key.revoked` whatever its version, all that begins with `key.`; several "
            "with commas between.",
        ),
    ] = None,
    since: FromQuery[datetime | None] = None,
    until: Annotated[
        str | None,
        QueryParameter(pattern=ONE_LINE, description="A time, which isn't included; or a position, which is."),
    ] = None,
    after_position: Annotated[int | None, QueryParameter(name="afterPosition", ge=0, le=LAST_POSITION)] = None,
    before_position: Annotated[int | None, QueryParameter(name="beforePosition", ge=0, le=LAST_POSITION)] = None,
) -> TrailFilter:
    """What was asked for. Raises `Invalid`."""
    ends = _end(until)
    wanted = TrailFilter(
        partner_id=partner_id,
        key_id=key_id,
        integration_id=integration_id,
        resource_id=resource_id,
        environment=environment,
        actor_id=actor_id,
        actor_kind=actor_kind,
        address=address,
        correlation_id=correlation_id,
        causation_id=causation_id,
        types=_types(type_),
        since=utc("?since", since),
        until=None if isinstance(ends, int) else ends,
        after_position=after_position,
        before_position=before_position,
        until_position=ends if isinstance(ends, int) else None,
    )
    demand_ids_of(wanted)
    _demand_sense(wanted)
    return wanted


def conditions(by: Caller, wanted: TrailFilter) -> dict[str, object]:
    """What was asked for, within what the caller sees. Raises `NotFound`."""
    asked = wanted.conditions()
    within = within_trail(by, asked)
    if OF_ENVIRONMENTS in within and wanted.environment is not None:
        within[OF_ENVIRONMENTS] = [each for each in by.bounds()["environment"] if each == wanted.environment]
    return asked | within


def within_trail(by: Caller, filters: Mapping[str, object]) -> dict[str, object]:
    """What keeps the trail within what the caller sees. Raises `NotFound` for a filter that asks for more.

    What isn't bound to what the caller is narrowed to, such as a role or an account key, isn't shown to it.
    """
    bounds = bounds_on({what: FIELDS[what] for what in ("integration", "partner")}, by, filters)
    environments = by.bounds().get("environment")
    return bounds if environments is None else {**bounds, OF_ENVIRONMENTS: [*environments]}


async def beginning(of: Services, request: Request[Any, Any, Any], after: int | None) -> tuple[int, int]:
    """The position to begin behind: the `Last-Event-ID`, or `after`, or the last one; and the last one. Raises
    `Invalid` for one that nothing has been at yet."""
    head, last_event_id, place = await of.journal.head(), request.headers.get("last-event-id"), "?after"
    if last_event_id is not None:
        place = "Last-Event-ID"
        after = position(last_event_id, place, "Send the `id` of an event as it was given.")
    if after is not None and after > head:
        raise Invalid("The log doesn't go so far.", (place, f"The last position is {head}."))
    return head if after is None else after, head


def ended(at: int) -> Item:
    """The last event of a stream that isn't live: it has told everything up to this position."""
    return Item(str(at), "end", encode({"position": at}))


def position(text: str, place: str, hint: str) -> int:
    """Raises `Invalid`, naming the place."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid("This is no position.", (place, hint))
    return int(text)


def unchanged(of: Services, by: Caller, source: str) -> Callable[[], Awaitable[bool]]:
    """Whether the caller's key may still read the same."""

    async def unchanged() -> bool:
        known = await of.verifier.find_id(by.cause.actor.id)
        if known is None or known.decision(Question(address=source), of.clock()).code != "valid":
            return False
        conditions = known.subject.key.document.conditions or ANYTHING
        return PERMISSION in known.subject.permissions and conditions == by.conditions

    return unchanged


def _types(text: str | None) -> tuple[str, ...] | None:
    """The types that were meant. Raises `Invalid`, naming what means none."""
    if text is None:
        return None
    asked = [each.strip() for each in text.split(",")][: _MOST_TYPES + 1]
    if len(asked) > _MOST_TYPES:
        raise Invalid(
            "These are too many types.", ("?type", f"Name {_MOST_TYPES} at the most, or what they begin with.")
        )
    found: dict[str, None] = {}
    for each in asked:
        whole = each.removesuffix("*")
        meant = [known for known in EVENT_TYPES if known == each or known.startswith(_prefix(whole))] if whole else []
        if not meant:
            hint = "Such as key.revoked.v1, key.revoked or key. — the handbook's page Lifecycle events has them all."
            raise Invalid(f"There is no type of event {each!r}.", ("?type", hint))
        found |= dict.fromkeys(meant)
    return tuple(found)


def _prefix(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _end(text: str | None) -> datetime | int | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        return utc("?until", msgspec.convert(text, datetime))
    except msgspec.ValidationError:
        hint = f"Such as 2026-03-01T12:00:00Z, or 4711.{plus_of(text)}"
        raise Invalid("This is neither a time nor a position.", ("?until", hint)) from None


def _demand_sense(wanted: TrailFilter) -> None:
    """Raises `Invalid` for an address that is none, and for spans that nothing can lie in."""
    try:
        wanted.conditions()
    except ValueError as error:
        detail = f"{error} Or an address alone."
        raise Invalid("This is neither an address nor a network.", ("?address", detail)) from None
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Invalid("The time span ends before it begins.", ("?until", "Give a time after `since`."))
    after = wanted.after_position or 0
    if wanted.before_position is not None and wanted.before_position <= after + 1:
        hint = "Give a position behind the next after `afterPosition`." if after else "The first position is 1."
        raise Invalid("No position lies between these two.", ("?beforePosition", hint))
    if wanted.until_position is not None and wanted.until_position <= after and after:
        raise Invalid("The span ends before it begins.", ("?until", "Give a position behind `afterPosition`."))
