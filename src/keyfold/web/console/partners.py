"""Partners: the list by how far each has come, and an invitation."""

from typing import Any

import msgspec
from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.stages import STAGES, Stage
from keyfold.domain.aggregates import INTEGRATION, PARTNER
from keyfold.domain.moment import Moment
from keyfold.domain.partner import Invitation, Partner
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.store.stages import in_stage
from keyfold.web import problems
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.asking import list_faults, listed_or_not
from keyfold.web.console.faults import faults_of, labels
from keyfold.web.console.key_names import names_of
from keyfold.web.console.listing import Column, Listing, asked, listing, one_of
from keyfold.web.console.pages import Page, Req, creating, new_once, page
from keyfold.web.console.past import moment_asked, past_listing
from keyfold.web.console.session import form
from keyfold.web.v1.common import seen
from keyfold.web.v1.partners import InvitationBody
from keyfold.web.v1.patching import decoded

COLUMNS = (
    Column("partners.name", "name"),
    Column("partners.stage"),
    Column("partners.integration", "integration"),
    Column("partners.invited", "invited"),
    Column("partners.id"),
)
_NAME = "(strpos(lower(name), lower($?)) > 0 OR id = $?)"
_MOST_CHOICES = 200


@get("/partners", opt={"permission": "partners:read"})
async def partners(request: Req) -> Page:
    """Newest first, by stage, integration and name, now or at a moment."""
    found = await listed_or_not(request, COLUMNS, _listing(request))
    at = None if found.refusal else await moment_asked(request)
    names = await integration_names(request)
    shown = names if at is None else await names_of(request, {each.integration_id for each in found.rows}, at)
    used = None if at is None else {each.id: each.status for each in found.rows}
    return page(
        request,
        "console/partners.html",
        status=found.status,
        listing=found,
        faults=list_faults(request, found),
        stages=used or await services(request).stages.of(found.rows),
        names=names,
        shown=shown,
        at=at,
    )


async def _listing(request: Req) -> Listing:
    at, stage = await moment_asked(request), one_of(asked(request), "stage", STAGES)
    return await (_current(request, stage) if at is None else _past(request, stage, at))


async def _current(request: Req, stage: Stage | None) -> Listing:
    query = asked(request)
    filters = {_NAME: query.get("q"), "integration_id = $?": query.get("integrationId"), **in_stage(stage)}
    return await listing(request, PARTNER, lambda state, now: state, COLUMNS, filters, sort="-invited")


async def _past(request: Req, stage: Stage | None, at: Moment) -> Listing:
    """As far as it is known: how keys were used isn't."""
    if stage in ("validating", "live"):
        raise Invalid(
            "How keys were used is not known of the past.", ("?stage", "Choose another stage, or look at now.")
        )
    query = asked(request)
    wanted, filters = query.get("q"), {"integration_id = $?": query.get("integrationId")}
    return await past_listing(
        request, PARTNER, COLUMNS, filters, at, status=stage, fits=lambda each: _is_called(each, wanted)
    )


def _is_called(this: Partner, wanted: str | None) -> bool:
    """The same as the lists' condition."""
    return wanted is None or wanted.lower() in (this.app_name or "").lower() or this.id == wanted


async def integration_names(request: Req) -> dict[str, str]:
    """The integrations that the caller sees, by name, for a choice; the newest where there are very many."""
    by, of = await caller(request), services(request)
    within = by.bounds().get("integration")
    filters: dict[str, object] = {"id = ANY ($?::text[])": None if within is None else [*within]}
    here: Any = {"status": None, "now": of.clock(), "cursor": None, "limit": _MOST_CHOICES}
    found = await of.lists.page(INTEGRATION.prefix, by.workspace_id, filters, **here)
    return {each.id: each.terms.name for each in sorted(found.items, key=lambda each: each.terms.name.lower())}


@get("/integrations/{integration_id:str}/invite", opt={"permission": "partners:invite"})
async def invite_page(request: Req, integration_id: FromPath[str]) -> Page:
    state, _ = await seen(request, INTEGRATION, integration_id)
    blank = {"appName": "", "appDescription": "", "metadata": ""}
    return page(
        request,
        "console/invite.html",
        integration=state,
        sent=blank,
        once=new_once(request),
        invited=None,
        problem=None,
    )


@post("/integrations/{integration_id:str}/invite", status_code=200, opt={"permission": "partners:invite"})
async def invite(request: Req, integration_id: FromPath[str]) -> Page:
    """Invites a partner, and shows its link this once; sent twice, the same link. Raises what the API does."""
    state, _ = await seen(request, INTEGRATION, integration_id)
    sent = {name: values[-1].strip() for name, values in (await form(request)).items()}
    invited, problem = None, None
    try:
        wanted = Invitation(**msgspec.structs.asdict(_body(sent)))
        answer = await services(request).onboarding.invite(await creating(request), wanted, to=integration_id)
        invited = answer.view
    except (Refusal, HTTPException) as error:
        problem = problems.problem_of(error, correlation_id(request))
    return page(
        request,
        "console/invite.html",
        status=200 if problem is None else problem.status,
        integration=state,
        sent={name: sent.get(name, "") for name in ("appName", "appDescription", "metadata")},
        once=new_once(request),
        invited=invited,
        problem=problem,
        faults=faults_of(problem.errors, labels("invite")) if problem else (),
    )


def _body(sent: dict[str, str]) -> InvitationBody:
    """The same as of the API; what is left empty isn't said."""
    fields: dict[str, Any] = {name: sent[name] for name in ("appName", "appDescription") if sent.get(name)}
    if sent.get("metadata"):
        try:
            fields["metadata"] = msgspec.json.decode(sent["metadata"])
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise Invalid(
                "The metadata isn't JSON.", ("/metadata", 'Type a JSON object, such as {"customerId": "c_1"}.')
            ) from None
    return decoded(InvitationBody, fields)
