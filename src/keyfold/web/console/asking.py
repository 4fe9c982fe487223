"""What addresses and forms ask for, as the types that it is meant in; and lists that only go onward."""

import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Request

from keyfold.domain.refusals import Invalid, Refusal
from keyfold.web.console.faults import Fault, faults_of, labels
from keyfold.web.console.listing import Column, Listing, address_of, asked, span
from keyfold.web.problems import Problem, problem_of
from keyfold.web.refused import note_refusal

T = TypeVar("T")
Req = Request[Any, Any, Any]
SAID = (400, 404, 409, 422)
"""Statuses of what a page says beside the form that asked for it; any other is a page of its own."""
_PLACE = re.compile(r" - at `\$\.?(?P<name>[^`]*)`\Z")


def read(kind: type[T], of: Mapping[str, str]) -> T:
    """The fields as `kind`; others are ignored. Raises `Invalid`, naming what is wrong."""
    try:
        return msgspec.convert(of, kind, strict=False)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        name, said = (place["name"], str(error)[: place.start()]) if place else ("", str(error))
        raise Invalid("This can't be asked for.", (f"?{name}", f"{said}.")) from None


async def tried(request: Req, work: Awaitable[T]) -> T | Refusal:
    """What comes of it, or the refusal for the page to say. Raises any other."""
    try:
        return await work
    except Refusal as refusal:
        if refusal.status not in SAID:
            raise
        note_refusal(request, refusal)
        return refusal


async def listed_or_not(request: Req, columns: tuple[Column, ...], work: Awaitable[Listing]) -> Listing:
    """The list; or what was asked for with nothing in it, and why."""
    found = await tried(request, work)
    if isinstance(found, Refusal):
        return onward(request, columns, [], None)._replace(refusal=found)
    return found


def list_faults(request: Req, this: Listing) -> list[Fault]:
    """What is wrong with the filters of a list."""
    said = problem(request, this.refusal)
    group = this.path.rpartition("/")[2]
    return faults_of(said.errors, labels(group, "keys", "audit", "table")) if said else []


def problem(request: Req, of: object) -> Problem | None:
    """The same as it is said."""
    return problem_of(of, str(request.scope.get("request_id", ""))) if isinstance(of, Refusal) else None


def failure(of: object) -> int:
    """The status of the page that says this."""
    return of.status if isinstance(of, Refusal) else 200


def onward(
    request: Req, columns: tuple[Column, ...], rows: Sequence[Any], cursor: str | None, *, sort: str = ""
) -> Listing:
    """A page of a list that is judged as it is read, so that nobody knows how long it is, or what came before;
    it can only be sorted where `sort` says how it is."""
    query = asked(request)
    at = query.get("at", "1")
    first = int(at) if at.isascii() and at.isdecimal() and len(at) < 16 else 1
    more = {**query, "after": cursor, "at": str(first + len(rows))} if cursor else None
    return Listing(
        request.url.path,
        query,
        columns if sort else tuple(each._replace(sort="") for each in columns),
        [*rows],
        sort=sort,
        position=span("table.onward", first, first + len(rows) - 1) if rows else "",
        older=address_of(request.url.path, more) if more else None,
    )
