"""What an operator sees first: how partners, keys and the system stand, and what happened lately."""

import asyncio
from typing import Any, NamedTuple

from litestar import get

from keyfold.app.stages import STAGES
from keyfold.domain.aggregates import KEY, PARTNER, Aggregate
from keyfold.store.key_filter import KeyFilter
from keyfold.store.stages import in_stage
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import SELF, caller, services
from keyfold.web.console.key_names import names_of
from keyfold.web.console.listing import MOST_COUNTED, address_of
from keyfold.web.console.pages import HOME, Page, Req, page
from keyfold.web.health import api_readiness
from keyfold.web.v1.audit import entries
from keyfold.web.v1.common import within_bounds

_LATELY = 10


class Tile(NamedTuple):
    """How many there are of something, and where they are shown. `word` names its text."""

    word: str
    total: int
    path: str


@get("/", opt={"permission": SELF})
async def overview(request: Req) -> Page:
    """As much of it as whoever is signed in may see."""
    by, of = await caller(request), services(request)
    readiness = await api_readiness(of.postgres, of.bus, of.sealing) if "workspace:read" in by.permissions else None
    lately = None
    if "audit:read" in by.permissions:
        lately = (await entries(request, TrailFilter(), ascending=False, cursor=None, limit=_LATELY)).data
    return page(
        request,
        "console/overview.html",
        partners=await _partners(request) if "partners:read" in by.permissions else None,
        keys=await _keys(request) if "keys:read" in by.permissions else None,
        readiness=readiness,
        lately=lately,
        names=await names_of(request, [name for each in lately or () for name in (each.stream, each.actor.id)]),
        most=MOST_COUNTED,
    )


async def _partners(request: Req) -> list[Tile]:
    totals = await asyncio.gather(*[_count(request, PARTNER, in_stage(stage)) for stage in STAGES])
    counted = zip(STAGES, totals, strict=True)
    return [Tile(f"stage.{stage}", total, f"{HOME}/partners?stage={stage}") for stage, total in counted]


async def _keys(request: Req) -> list[Tile]:
    """Those that work, and those that somebody should look at."""
    now = services(request).clock()
    looked_at: tuple[tuple[str, dict[str, str], KeyFilter, str | None], ...] = (
        ("overview.active", {"status": "active"}, KeyFilter(), "active"),
        ("overview.expiring", {"expiresWithinDays": "30"}, KeyFilter(expires_within_days=30), None),
        ("overview.due", {"rotationDueWithinDays": "14"}, KeyFilter(rotation_due_within_days=14), None),
        ("overview.suspended", {"status": "suspended"}, KeyFilter(), "suspended"),
        ("overview.compromised", {"status": "compromised"}, KeyFilter(), "compromised"),
    )
    totals = await asyncio.gather(
        *[_count(request, KEY, wanted.conditions(now), status) for _, _, wanted, status in looked_at]
    )
    counted = zip(looked_at, totals, strict=True)
    return [Tile(word, total, address_of(f"{HOME}/keys", query)) for (word, query, *_), total in counted]


async def _count(request: Req, aggregate: Aggregate[Any], filters: dict[str, object], status: str | None = None) -> int:
    by, of = await caller(request), services(request)
    filters = {**filters, **within_bounds(by, aggregate, filters)}
    here: Any = {"status": status, "now": of.clock(), "most": MOST_COUNTED}
    return await of.lists.count(aggregate.prefix, by.workspace_id, filters, **here)
