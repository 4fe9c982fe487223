"""Lists and catalogues as they were at a moment: newest first, found by `history`, folded from the log."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from keyfold.domain import ids
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.moment import Moment
from keyfold.domain.refusals import Invalid
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import onward
from keyfold.web.console.listing import ROWS, Column, Listing, asked
from keyfold.web.console.pages import Req
from keyfold.web.v1.common import moment_of, within_bounds

S = TypeVar("S")
_PAGES = 10
"""Of what there was, looked through for what fits until a page goes out with fewer rows."""


async def moment_asked(request: Req) -> Moment | None:
    """The moment that the address asks for, None for now. Raises `Invalid`, `NotYet`."""
    return await moment_of(request, asked(request).get("asOf"))


async def past_listing(
    request: Req,
    aggregate: Aggregate[S],
    columns: tuple[Column, ...],
    filters: Mapping[str, object],
    at: Moment,
    *,
    status: str | None = None,
    fits: Callable[[S], bool] = lambda state: True,
) -> Listing:
    """What `listing` gave at that moment, of what the caller sees today. What `history` can't be asked, such as a name,
    `fits` tells; a page can be shorter for it. Raises `Invalid`, `NotFound`."""
    cursor: str | None = asked(request).get("after")
    if cursor is not None and not ids.is_id(aggregate.prefix, cursor):
        raise Invalid("This is no place in this list.", ("?after", "Follow the links of the list."))
    rows: list[S] = []
    for _ in range(_PAGES):
        page = await past_page(request, aggregate, filters, at, status=status, cursor=cursor, limit=ROWS)
        rows += [each for each in page.items if fits(each)]
        cursor = page.next_cursor
        if cursor is None or len(rows) >= ROWS:
            break
    return onward(request, columns, rows, cursor)


async def past_page(
    request: Req,
    aggregate: Aggregate[S],
    filters: Mapping[str, object],
    at: Moment,
    *,
    limit: int,
    status: str | None = None,
    cursor: str | None = None,
) -> Any:
    """A page of states, newest first, of what the caller sees today."""
    by, of = await caller(request), services(request)
    filters = {**filters, **within_bounds(by, aggregate, filters)}
    here: Any = {"status": status, "at": at, "cursor": cursor, "limit": limit}
    return await of.past.page(aggregate.prefix, by.workspace_id, filters, **here)
