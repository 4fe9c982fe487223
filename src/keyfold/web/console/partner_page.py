"""A partner: how far it has come, its keys and links, who came to its portal, what happened to it; and what to do."""

from typing import Any

from litestar import get, post
from litestar.params import FromPath

from keyfold.app.stages import STAGES
from keyfold.app.views import FreshLinkView, KeyView, LinkView, PartnerView
from keyfold.domain.aggregates import INTEGRATION, KEY, LINK, PARTNER
from keyfold.domain.moment import Moment
from keyfold.domain.partner import Partner
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import failure, tried
from keyfold.web.console.pages import Page, Req, creating, new_once, page, to, written
from keyfold.web.console.past import moment_asked, past_page
from keyfold.web.console.session import form
from keyfold.web.v1.audit import entries
from keyfold.web.v1.common import seen, seen_at, within_bounds
from keyfold.web.v1.keys import with_usage

SHOWN = 200
"""Keys and links of a partner on its page; all others are in the lists."""
_HISTORY = 20
_SESSIONS = ("session.opened.v1", "session.closed.v1")


@get("/partners/{partner_id:str}", opt={"permission": "partners:read"})
async def partner(request: Req, partner_id: FromPath[str]) -> Page:
    """One partner, as it is, or was at a moment. Raises `NotFound`."""
    return await _page(request, partner_id, at=await moment_asked(request))


@post("/partners/{partner_id:str}/link", status_code=200, opt={"permission": "links:issue"})
async def fresh_link(request: Req, partner_id: FromPath[str]) -> Page:
    """A link for the partner, shown this once; sent twice, the same."""
    made = await tried(request, services(request).links.issue(await creating(request), partner_id))
    if failure(made) != 200:
        return await _page(request, partner_id, refusal=made)
    answer: Any = made
    await written(request, answer)
    return await _page(request, partner_id, link=answer.view)


@post("/partners/{partner_id:str}/links/{link_id:str}/withdraw", status_code=200, opt={"permission": "links:withdraw"})
async def withdraw_link(request: Req, partner_id: FromPath[str], link_id: FromPath[str]) -> Page:
    """Ends a link that wasn't used."""
    work = services(request).onboarding.withdraw(await caller(request), link_id, "withdrawn at the console")
    done = await tried(request, work)
    if failure(done) != 200:
        return await _page(request, partner_id, refusal=done)
    await written(request, done)  # type: ignore[arg-type]  # it was no failure
    return to(f"/console/partners/{partner_id}")


@post("/partners/{partner_id:str}/offboard", status_code=200, opt={"permission": "partners:offboard"})
async def offboard(request: Req, partner_id: FromPath[str]) -> Page:
    """Ends the partner with all of its keys. Final."""
    reason = (await form(request)).get("reason", [""])[0].strip()[:1024] or "offboarded"
    done = await tried(request, services(request).partners.offboard(await caller(request), partner_id, reason))
    if failure(done) != 200:
        return await _page(request, partner_id, refusal=done)
    await written(request, done)  # type: ignore[arg-type]  # it was no failure
    return to(f"/console/partners/{partner_id}")


async def _page(
    request: Req,
    partner_id: str,
    *,
    link: FreshLinkView | None = None,
    refusal: object | None = None,
    at: Moment | None = None,
) -> Page:
    if at is None:
        state, _ = await seen(request, PARTNER, partner_id)
    else:
        state = await seen_at(request, PARTNER, partner_id, at)
    of, by = services(request), await caller(request)
    past = of.past.load(INTEGRATION, state.integration_id, at.position) if at else None
    integration = (await (past or of.journal.load(INTEGRATION, state.integration_id))).state
    history, sessions = await _happened(request, state, at)
    return page(
        request,
        "console/partner.html",
        status=failure(refusal),
        partner=PartnerView.of(state, at.time if at else of.clock()),
        integration=integration.terms.name if integration else state.integration_id,
        stage=state.status if at else (await of.stages.of([state]))[state.id],
        stages=STAGES[:-1],
        keys=await _keys(request, state, at) if "keys:read" in by.permissions else None,
        links=await _some(request, LINK, LinkView.of, state, at) if "links:read" in by.permissions else None,
        history=history,
        sessions=sessions,
        link=link,
        refusal=refusal,
        once=new_once(request),
        at=at,
    )


async def _keys(request: Req, of: Partner, at: Moment | None) -> list[Any]:
    """With their last use, which isn't known of the past."""
    found = await _some(request, KEY, KeyView.of, of, at)
    return found if at else await with_usage(request, found)


async def _some(request: Req, aggregate: Any, view: Any, of: Partner, at: Moment | None) -> list[Any]:
    """The newest of its keys or links that the caller sees."""
    by, about = await caller(request), services(request)
    filters: dict[str, object] = {"partner_id = $?": of.id}
    if at is not None:
        return [view(each, at.time) for each in (await past_page(request, aggregate, filters, at, limit=SHOWN)).items]
    filters |= within_bounds(by, aggregate, filters)
    here: Any = {"status": None, "now": about.clock(), "cursor": None, "limit": SHOWN}
    found = await about.lists.page(aggregate.prefix, by.workspace_id, filters, **here)
    return [view(each, here["now"]) for each in found.items]


async def _happened(request: Req, of: Partner, at: Moment | None) -> tuple[list[Any] | None, list[Any] | None]:
    """What happened lately, and who came to the portal, for whoever may read the trail: noted as being read."""
    if "audit:read" not in (await caller(request)).permissions:
        return None, None
    here: Any = {"ascending": False, "cursor": None, "limit": _HISTORY}
    until = at.position if at else None
    lately = await entries(request, TrailFilter(partner_id=of.id, until_position=until), **here)
    visits = await entries(request, TrailFilter(partner_id=of.id, types=_SESSIONS, until_position=until), **here)
    return lately.data, visits.data
