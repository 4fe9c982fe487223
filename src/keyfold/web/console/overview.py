"""What an operator sees first: how partners, keys and the system stand, or stood, and what happened lately."""

import asyncio
from typing import Any, NamedTuple

from litestar import get

from keyfold.app.stages import STAGES, Stage
from keyfold.domain.aggregates import KEY, PARTNER, Aggregate
from keyfold.domain.moment import Moment
from keyfold.store.key_filter import KeyFilter
from keyfold.store.stages import in_stage
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import SELF, caller, services
from keyfold.web.console.key_names import names_of
from keyfold.web.console.listing import MOST_COUNTED, address_of, asked
from keyfold.web.console.pages import HOME, Page, Req, page
from keyfold.web.console.past import moment_asked
from keyfold.web.health import Readiness, api_readiness
from keyfold.web.v1.audit import entries
from keyfold.web.v1.common import within_bounds
from keyfold.web.v1.trail import AuditView

_LATELY = 10
_KNOWN: tuple[Stage, ...] = ("invited", "onboarded", "offboarded")
"""Of the past: how keys were used isn't known, and so neither is who was further than onboarded."""


class Tile(NamedTuple):
    """How many there are of something, and where they are shown. `word` names its text."""

    word: str
    total: int
    path: str


@get("/", opt={"permission": SELF})
async def overview(request: Req) -> Page:
    """As much of it as whoever is signed in may see; at a moment what is known of that."""
    at = await moment_asked(request)
    lately, partners, keys, readiness = await asyncio.gather(
        _lately(request, at), _partners(request, at), _keys(request, at), _readiness(request, at)
    )
    return page(
        request,
        "console/overview.html",
        partners=partners,
        keys=keys,
        readiness=readiness,
        lately=lately,
        names=await names_of(request, [name for each in lately or () for name in (each.stream, each.actor.id)], at),
        most=MOST_COUNTED,
        at=at,
    )


async def _lately(request: Req, at: Moment | None) -> list[AuditView] | None:
    if "audit:read" not in (await caller(request)).permissions:
        return None
    until = TrailFilter(until_position=at.position if at else None)
    return (await entries(request, until, ascending=False, cursor=None, limit=_LATELY)).data


async def _readiness(request: Req, at: Moment | None) -> Readiness | None:
    if at is not None or "workspace:read" not in (await caller(request)).permissions:
        return None
    of = services(request)
    return await api_readiness(of.postgres, of.bus, of.sealing)


async def _partners(request: Req, at: Moment | None) -> list[Tile] | None:
    if "partners:read" not in (await caller(request)).permissions:
        return None
    stages = STAGES if at is None else _KNOWN
    counting = [
        _count(request, PARTNER, in_stage(each)) if at is None else _count(request, PARTNER, {}, each, at)
        for each in stages
    ]
    counted = zip(stages, await asyncio.gather(*counting), strict=True)
    return [Tile(f"stage.{each}", total, _shown(request, "partners", stage=each)) for each, total in counted]


async def _keys(request: Req, at: Moment | None) -> list[Tile] | None:
    """Those that work, and those that somebody should look at."""
    if "keys:read" not in (await caller(request)).permissions:
        return None
    now = at.time if at else services(request).clock()
    looked_at: tuple[tuple[str, dict[str, str], KeyFilter, str | None], ...] = (
        ("overview.active", {"status": "active"}, KeyFilter(), "active"),
        ("overview.expiring", {"expiresWithinDays": "30"}, KeyFilter(expires_within_days=30), None),
        ("overview.due", {"rotationDueWithinDays": "14"}, KeyFilter(rotation_due_within_days=14), None),
        ("overview.suspended", {"status": "suspended"}, KeyFilter(), "suspended"),
        ("overview.compromised", {"status": "compromised"}, KeyFilter(), "compromised"),
    )
    totals = await asyncio.gather(
        *[_count(request, KEY, wanted.conditions(now), status, at) for _, _, wanted, status in looked_at]
    )
    counted = zip(looked_at, totals, strict=True)
    return [Tile(word, total, _shown(request, "keys", **query)) for (word, query, *_), total in counted]


def _shown(request: Req, what: str, **query: str) -> str:
    """The address of the list of what was counted, at the same moment."""
    query |= {name: value for name, value in asked(request).items() if name == "asOf"}
    return address_of(f"{HOME}/{what}", query)


async def _count(
    request: Req,
    aggregate: Aggregate[Any],
    filters: dict[str, object],
    status: str | None = None,
    at: Moment | None = None,
) -> int:
    by, of = await caller(request), services(request)
    filters = {**filters, **within_bounds(by, aggregate, filters)}
    among: Any = {"status": status, "most": MOST_COUNTED}
    if at is not None:
        return await of.past.count(aggregate.prefix, by.workspace_id, filters, at=at, **among)
    return await of.lists.count(aggregate.prefix, by.workspace_id, filters, now=of.clock(), **among)
