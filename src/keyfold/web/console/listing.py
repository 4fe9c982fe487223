"""A list as a table: what was asked of it stands in the address, so that every state of it can be linked to."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from litestar import Request

from keyfold.domain import ids
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.store.lists import Order
from keyfold.web.auth import caller, services
from keyfold.web.texts import t
from keyfold.web.v1.common import within_bounds

S = TypeVar("S")
ROWS = 50
MOST_COUNTED = 10_000
"""Beyond that a list doesn't say how long it is."""
_PLACE = ("after", "before", "at")


class Column(NamedTuple):
    """`word` names its text; `sort` what the list is sorted by when its head is pressed, of the list's `ORDERS`. Where
    there is little room, a `minor` one isn't shown."""

    word: str
    sort: str = ""
    numeric: bool = False
    minor: bool = False


class Listing(NamedTuple):
    """A page of a list, or why there is none. `sort` is a name of `ORDERS`, with a minus when the last comes first."""

    path: str
    query: Mapping[str, str]
    columns: tuple[Column, ...]
    rows: list[Any]
    sort: str = ""
    position: str = ""
    newer: str | None = None
    older: str | None = None
    refusal: Refusal | None = None

    @property
    def status(self) -> int:
        """Of the page that shows it: it says why there is nothing where it was asked for what can't be."""
        return self.refusal.status if self.refusal else 200

    @property
    def is_filtered(self) -> bool:
        return bool({*self.query} - {*_PLACE, "sort"})

    def direction(self, column: Column) -> str:
        """The `aria-sort` of a column; nothing where the list isn't sorted by it."""
        if not column.sort or self.sort.lstrip("-") != column.sort:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def sorted_by(self, column: Column) -> str:
        """The address of this list from its beginning, sorted by a column; pressed again, the other way."""
        sort = f"-{column.sort}" if self.sort == column.sort else column.sort
        return self.at(sort=sort)

    def at(self, **changes: str) -> str:
        """The address of this list with other filters, from its beginning; an empty one is taken away."""
        query = {**{k: v for k, v in self.query.items() if k not in _PLACE}, **changes}
        return address_of(self.path, {name: value for name, value in query.items() if value})


def asked(request: Request[Any, Any, Any]) -> dict[str, str]:
    """What the address asks for; what a form has left empty isn't asked for."""
    return {name: value for name, value in request.query_params.items() if value.strip()}


def one_of(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> Any:
    """A filter that is one of these, None when it isn't asked for. Raises `Invalid`."""
    value = query.get(name)
    if value is not None and value not in choices:
        raise Invalid("There is no such choice.", (f"?{name}", f"One of {', '.join(choices)}."))
    return value


def address_of(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


async def listing(
    request: Request[Any, Any, Any],
    aggregate: Aggregate[S],
    view: Callable[[S, datetime], Any],
    columns: tuple[Column, ...],
    filters: Mapping[str, object],
    *,
    status: str | None = None,
    sort: str = "-issued",
) -> Listing:
    """A page of what the caller sees of one kind of thing, as the address asks for it: sorted, and from where.

    `filters` are conditions with `$?` and their arguments, None where nothing was asked for; `sort` is what a list is
    sorted by that isn't asked otherwise. Raises `Invalid`, `NotFound`.
    """
    query, by, of = asked(request), await caller(request), services(request)
    filters = {**filters, **within_bounds(by, aggregate, filters)}
    order = _order(query.get("sort", sort), columns, sort)
    now, cursor, backwards = of.clock(), *_cursor(query, aggregate.prefix)
    among: Any = {"prefix": aggregate.prefix, "workspace_id": by.workspace_id, "filters": filters}
    way = Order(order.by, order.descending != backwards)
    page = await of.lists.page(**among, status=status, now=now, cursor=cursor, limit=ROWS, order=way)
    found = [*reversed(page.items)] if backwards else page.items
    total = await of.lists.count(**among, status=status, now=now, most=MOST_COUNTED)
    first = _first(query, len(found), backwards=backwards)
    return Listing(
        request.url.path,
        query,
        columns,
        [view(each, now) for each in found],
        sort=f"-{order.by}" if order.descending else order.by,
        position=_position(first, len(found), total),
        newer=_step(
            request, "before", found, first, is_there=first > 1 if not backwards else page.next_cursor is not None
        ),
        older=_step(request, "after", found, first, is_there=backwards or page.next_cursor is not None),
    )


def _order(sort: str, columns: tuple[Column, ...], usual: str) -> Order:
    name = sort.removeprefix("-")
    known = {column.sort for column in columns if column.sort} | {usual.removeprefix("-")}
    if name not in known:
        raise Invalid(
            "This list can't be sorted like that.", ("?sort", f"One of {', '.join(sorted(known))}, or -{name}.")
        )
    return Order(name, sort.startswith("-"))


def _cursor(query: Mapping[str, str], prefix: str) -> tuple[str | None, bool]:
    """What stands just before the page, or with True just behind it."""
    for name in ("after", "before"):
        if name in query:
            if not ids.is_id(prefix, query[name]):
                raise Invalid("This is no place in this list.", (f"?{name}", "Follow the links of the list."))
            return query[name], name == "before"
    return None, False


def _first(query: Mapping[str, str], count: int, *, backwards: bool) -> int:
    """The place of the first row, as far as the links that led here have counted."""
    at = query.get("at", "1")
    here = int(at) if at.isascii() and at.isdecimal() and len(at) < 16 else 1
    return max(1, here - count) if backwards else max(1, here)


def _position(first: int, count: int, total: int) -> str:
    word = "table.of.many" if total > MOST_COUNTED else "table.of"
    return span(word, first, first + count - 1, total=f"{min(total, MOST_COUNTED):,}")


def span(word: str, first: int, last: int, **values: str) -> str:
    """Which rows there are: the text of this name, or `<name>.one` for a single one."""
    return t(word if last != first else f"{word}.one", first=f"{first:,}", last=f"{last:,}", **values)


def _step(request: Request[Any, Any, Any], way: str, found: list[Any], first: int, *, is_there: bool) -> str | None:
    """The address of the page before or after this one, None where there is none."""
    if not is_there or not found:
        return None
    query = {name: value for name, value in asked(request).items() if name not in _PLACE}
    at, edge = (first, found[0]) if way == "before" else (first + len(found), found[-1])
    return address_of(request.url.path, {**query, way: edge.id, "at": str(at)})
