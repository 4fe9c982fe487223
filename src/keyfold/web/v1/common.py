"""What all controllers share: envelopes, limits of what clients send, and how lists are asked for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar import Request, Response
from litestar.params import QueryParameter

from keyfold.app.access import BOUND_TO, FIELDS, Caller
from keyfold.app.work import Answer
from keyfold.domain import ids
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.limits import DESCRIPTION_LENGTH, NAME_LENGTH
from keyfold.domain.moment import Moment, NotYet
from keyfold.domain.refusals import Invalid, NotFound, OutOfSight
from keyfold.store.lists import Order
from keyfold.web.auth import caller, services

T = TypeVar("T")
S = TypeVar("S")

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
LINES = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH, pattern=ONE_LINE)]
Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_LENGTH, pattern=LINES)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=LINES)]
LAST_POSITION = 2**63 - 1
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at the most.")]
CursorParameter = Annotated[
    str | None, QueryParameter(name="cursor", description="`nextCursor` of the page before, to go on from there.")
]
MinPosition = Annotated[
    int | None,
    QueryParameter(
        name="minPosition",
        ge=0,
        le=LAST_POSITION,
        description="Wait, bounded, until the list includes this position: the `Keyfold-Position` of an own write.",
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        name="asOf",
        min_length=1,
        max_length=64,
        description="As it was at a moment: a time such as `2026-03-01T12:00:00Z`, or a position of the log.",
    ),
]
IntegrationFilter = Annotated[str | None, QueryParameter(name="integrationId", pattern=ONE_LINE)]
PartnerFilter = Annotated[str | None, QueryParameter(name="partnerId", pattern=ONE_LINE)]
POSITION = "Keyfold-Position"


class Envelope(msgspec.Struct, Generic[T], frozen=True):
    data: T


class ListEnvelope(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    data: list[T]
    next_cursor: str | None


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a client sends; an unknown field is refused by name."""


class WithReason(Body, frozen=True, kw_only=True):
    reason: Reason


def answered(answer: Answer[Any], status: int = 200, *, of: str | None = None) -> Response[Any]:
    """The answer to a command, with the position at which lists include it, and the `ETag` of what it changed."""
    headers = {POSITION: str(answer.position)}
    if of is not None:
        headers["ETag"] = etag(answer.versions[of])
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(Envelope(answer.view), status_code=status, headers=headers)


def secret(response: Response[Any]) -> Response[Any]:
    """The same answer, which nobody on the way may keep."""
    response.headers["Cache-Control"] = "no-store"
    return response


async def seen(request: Request[Any, Any, Any], aggregate: Aggregate[S], of: str) -> tuple[S, int]:
    """One thing, folded from its own stream, and its version, if the caller may see it. Raises `NotFound`."""
    if ids.is_id(aggregate.prefix, of):
        loaded: Any = await services(request).journal.load(aggregate, of)
        if loaded.state is not None:
            (await caller(request)).demand_sight(aggregate.word, loaded.state)
            return loaded.state, loaded.version
    raise NotFound.of(aggregate.word, of)


async def seen_at(request: Request[Any, Any, Any], aggregate: Aggregate[S], of: str, at: Moment) -> S:
    """One thing that the caller may see by now, as it was at a moment. Raises `NotFound`."""
    await seen(request, aggregate, of)
    past = services(request).past
    state = (await past.load(aggregate, of, at.position)).state
    if state is None:
        began = await past.began(of)
        since = f"{_exact(began.time)}, position {began.position}" if began else "later"
        raise NotFound(f"There was no {aggregate.word} {of} yet at that moment: it began at {since}.")
    return state


async def shown(
    request: Request[Any, Any, Any],
    aggregate: Aggregate[S],
    view: Callable[[S, datetime], T],
    of: str,
    as_of: str | None = None,
) -> Response[Envelope[T]]:
    """One thing that the caller may see, with its version as `ETag`; of the past with the position instead, since
    nothing can be changed there. Raises `NotFound`."""
    at = await moment_of(request, as_of)
    if at is not None:
        state = await seen_at(request, aggregate, of, at)
        return Response(Envelope(view(state, at.time)), headers={POSITION: str(at.position)})
    state, version = await seen(request, aggregate, of)
    return Response(Envelope(view(state, services(request).clock())), headers={"ETag": etag(version)})


async def moment_of(request: Request[Any, Any, Any], as_of: str | None) -> Moment | None:
    """The moment that a list or a thing is asked for, None for now. Raises `Invalid`, `NotYet`."""
    return None if as_of is None else await moment(request, as_of, "?asOf")


async def present(request: Request[Any, Any, Any]) -> Moment:
    """This moment, with everything that was written before."""
    of = services(request)
    position = await of.journal.head()
    await of.lists.include("history", position)
    return Moment(position, of.clock())


async def moment(request: Request[Any, Any, Any], text: str, place: str) -> Moment:
    """The moment that a parameter means, which the projection `history` includes by now. Raises `Invalid`, `NotYet`."""
    of = services(request)
    if text.isascii() and text.isdecimal():
        position, head = int(text), await of.journal.head()
        if position > head:
            raise NotYet("The log doesn't go so far.", (place, f"The last position is {head}."))
        await of.lists.include("history", position)
        return Moment(position, await of.past.time_of(position))
    time = _time(place, text)
    if time > of.clock():
        raise NotYet("Nothing is known of what hasn't come.", (place, "This time lies ahead."))
    await of.lists.include("history", await of.journal.head())
    return Moment(await of.past.position_at((await caller(request)).workspace_id, time), time)


def _time(place: str, text: str) -> datetime:
    try:
        time = utc(place, msgspec.convert(text, datetime))
    except msgspec.ValidationError:
        time = None
    if time is None:
        hint = f"Send a time such as 2026-03-01T12:00:00Z, or a position.{plus_of(text)}"
        raise Invalid("This is no moment.", (place, hint))
    return time


def plus_of(text: str) -> str:
    """What to say to somebody whose + became a space on the way, as in addresses it does."""
    return " In an address a + is written %2B." if " " in text else ""


def _exact(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def etag(version: int) -> str:
    return f'"{version}"'


async def listed(
    request: Request[Any, Any, Any],
    aggregate: Aggregate[S],
    view: Callable[[S, datetime], T],
    filters: Mapping[str, object],
    *,
    status: str | None,
    cursor: str | None,
    min_position: int | None,
    limit: int,
    at: Moment | None = None,
    order: Order | None = None,
) -> ListEnvelope[T]:
    """A page of what the caller sees of one kind of thing, newest first, now or at a moment. `filters` are conditions
    and arguments. Only what is now can be sorted in another `order`."""
    if cursor is not None and not ids.is_id(aggregate.prefix, cursor):
        raise Invalid("This is no cursor of this list.", ("?cursor", "Send `nextCursor` as it was given."))
    by, of = await caller(request), services(request)
    filters = {**filters, **within_bounds(by, aggregate, filters)}
    if min_position:
        await of.lists.include("history" if at else "current", min_position)
    now = at.time if at else of.clock()
    asked: Any = {"status": status, "cursor": cursor, "limit": limit}
    if at is None:
        page = await of.lists.page(aggregate.prefix, by.workspace_id, filters, now=now, order=order, **asked)
    else:
        page = await of.past.page(aggregate.prefix, by.workspace_id, filters, at=at, **asked)
    return ListEnvelope([view(each, now) for each in page.items], page.next_cursor)


def within_bounds(by: Caller, aggregate: Aggregate[Any], filters: Mapping[str, object]) -> dict[str, object]:
    """What keeps a list within what the caller sees. Raises `NotFound` for a filter that asks for more."""
    bound_to = BOUND_TO.get(aggregate.prefix, ())
    return bounds_on({what: "id" if what == aggregate.word else FIELDS[what] for what in bound_to}, by, filters)


def bounds_on(columns: Mapping[str, str], by: Caller, filters: Mapping[str, object]) -> dict[str, object]:
    """The same where it is known which column has what a thing is bound to."""
    bounds: dict[str, object] = {}
    for what, within in by.bounds().items():
        if what in columns:
            asked = filters.get(f"{columns[what]} = $?")
            if asked is not None and asked not in within:
                raise OutOfSight.of(what, str(asked))
            bounds[f"{columns[what]} = ANY ($?::text[])"] = [*within]
    return bounds


def utc(place: str, moment: datetime | None) -> datetime | None:
    """The same moment in UTC. Raises `Invalid`, naming the place, for one without an offset or outside the calendar."""
    if moment is not None and moment.tzinfo is None:
        raise Invalid("A time needs its offset.", (place, "Such as 2026-03-01T12:00:00Z."))
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise Invalid("In UTC this time is in no calendar.", (place, "The years are 1 to 9999.")) from None
