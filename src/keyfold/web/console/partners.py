"""Partners: the list by how far each has come, and an invitation."""

from typing import Any

import msgspec
from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.stages import STAGES
from keyfold.domain.aggregates import INTEGRATION, PARTNER
from keyfold.domain.partner import Invitation
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.store.stages import in_stage
from keyfold.web import problems
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.listing import Column, asked, listing, one_of
from keyfold.web.console.pages import Page, Req, creating, new_once, page
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
_NAME = "(strpos(lower(coalesce(state->>'appName', '')), lower($?)) > 0 OR id = $?)"
_MOST_CHOICES = 200


@get("/partners", opt={"permission": "partners:read"})
async def partners(request: Req) -> Page:
    """Newest first, by stage, integration and name."""
    query, of = asked(request), services(request)
    stage = one_of(query, "stage", STAGES)
    filters = {_NAME: query.get("q"), "integration_id = $?": query.get("integrationId"), **in_stage(stage)}
    found = await listing(request, PARTNER, lambda state, now: state, COLUMNS, filters, sort="-invited")
    names = await integration_names(request)
    return page(
        request,
        "console/partners.html",
        listing=found,
        stages=await of.stages.of(found.rows),
        names=names,
        stage=stage or "",
    )


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
    )


def _body(sent: dict[str, str]) -> InvitationBody:
    """The same as of the API; what is left empty isn't said."""
    fields: dict[str, Any] = {name: sent[name] for name in ("appName", "appDescription") if sent.get(name)}
    if sent.get("metadata"):
        try:
            fields["metadata"] = msgspec.json.decode(sent["metadata"])
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise Invalid("This is no JSON.", ("/metadata", 'An object, such as {"customerId": "c_1"}.')) from None
    return decoded(InvitationBody, fields)
