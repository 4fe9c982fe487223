"""Who could do what on a topic, now or at a moment."""

import msgspec
from litestar import get

from keyfold.app.topic_views import TopicSummary
from keyfold.domain.aggregates import TOPIC
from keyfold.domain.permissions import Environment
from keyfold.domain.rule import EVENT_ACTIONS, Action
from keyfold.store.key_filter import KeyFilter
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import list_faults, listed_or_not, onward, read
from keyfold.web.console.key_names import names_of
from keyfold.web.console.keys import Text
from keyfold.web.console.listing import ROWS, Column, Listing, asked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.v1.audit_history import held
from keyfold.web.v1.common import listed, moment_of, present

SUGGESTED = 200
"""Topics that the field knows."""


class HoldersAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is asked of whom; without a topic of anything."""

    action: Action | None = None
    topic: Text | None = None
    environment: Environment | None = None
    integration_id: Text | None = None
    partner_id: Text | None = None
    as_of: Text | None = None
    after: Text | None = None


COLUMNS = (
    Column("keys.name"),
    Column("holders.pattern"),
    Column("keys.environment"),
    Column("keys.status"),
    Column("holders.networks"),
    Column("keys.partner"),
    Column("keys.issued"),
)


@get("/holders", opt={"permission": "audit:read"})
async def holders(request: Req) -> Page:
    """Nobody, until something is asked for."""
    this = await listed_or_not(request, COLUMNS, _listing(request))
    return page(
        request,
        "console/holders.html",
        status=this.status,
        listing=this,
        faults=list_faults(request, this),
        names=await names_of(request, [view.partner_id for view in this.rows]),
        topics=await _topics(request),
        actions=[(each, each) for each in EVENT_ACTIONS],
    )


async def _listing(request: Req) -> Listing:
    wanted = read(HoldersAsked, asked(request))
    if wanted.action is None:
        return onward(request, COLUMNS, [], None)
    at = await moment_of(request, wanted.as_of) or await present(request)
    by, of = await caller(request), services(request)
    filters = KeyFilter(
        environment=wanted.environment, partner_id=wanted.partner_id, integration_id=wanted.integration_id
    )
    these = await held(request, wanted.action, wanted.topic, filters, at, cursor=wanted.after, limit=ROWS)
    of.readings.note(by, "holders")
    return onward(request, COLUMNS, these.data, these.next_cursor)


async def _topics(request: Req) -> list[str]:
    if "integrations:read" not in (await caller(request)).permissions:
        return []
    found = await listed(
        request, TOPIC, TopicSummary.of, {}, status=None, cursor=None, min_position=None, limit=SUGGESTED
    )
    return sorted({each.name for each in found.data})
