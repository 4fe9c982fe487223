"""The rule editor: a form beside a live preview of what a partner would get, made by what will judge its keys."""

from typing import Any

from litestar import Request, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.domain import integration as domain
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import Integration, IntegrationChanged, Terms
from keyfold.domain.refusals import Refusal
from keyfold.web import problems
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.integrations import Granted, grants, topics_of
from keyfold.web.console.pages import Page, Req, creating, new_once, page, to, written
from keyfold.web.console.rule_form import RuleForm, form_of, form_of_fields, terms_of, version_of
from keyfold.web.console.session import form
from keyfold.web.v1.common import seen

NEW = "/integrations/new"
_BLANK = Terms(name="")


@get(NEW, opt={"permission": "integrations:create"})
async def new_integration(request: Req) -> Page:
    return _editor(request, form_of(_BLANK), None)


@post(NEW, status_code=200, opt={"permission": "integrations:create"})
async def create_integration(request: Req) -> Page:
    """Creates it, and leads to its page. Raises what the API does."""
    given = await form(request)
    try:
        answer = await services(request).integrations.create(await creating(request), terms_of(given, None))
    except (Refusal, HTTPException) as error:
        return _editor(request, form_of_fields(given), None, error=error)
    await written(request, answer)
    return to(f"/console/integrations/{answer.view.id}")


@get("/integrations/{integration_id:str}/rule", opt={"permission": "integrations:change"})
async def edit_rule(request: Req, integration_id: FromPath[str]) -> Page:
    state, version = await seen(request, INTEGRATION, integration_id)
    found = grants(state.terms.environments, await topics_of(request, state))
    return _editor(request, form_of(state.terms), state, version=version, found=found)


@post("/integrations/{integration_id:str}/rule", status_code=200, opt={"permission": "integrations:change"})
async def change_rule(request: Req, integration_id: FromPath[str]) -> Page:
    """Changes it from the version that the form was made of. Raises what the API does."""
    state, _ = await seen(request, INTEGRATION, integration_id)
    given = await form(request)
    try:
        wanted, version = terms_of(given, state), version_of(given)
        answer = await services(request).integrations.change(
            await caller(request), integration_id, wanted, version=version
        )
    except (Refusal, HTTPException) as error:
        return _editor(request, form_of_fields(given), state, version=version_of(given), error=error)
    await written(request, answer)
    return to(f"/console/integrations/{integration_id}")


@post("/integrations/preview", status_code=200, opt={"permission": "integrations:create"})
async def preview_new(request: Req) -> Page:
    """What a partner would get of an integration that isn't there yet. Nothing is written."""
    return await _preview(request, None)


@post("/integrations/{integration_id:str}/preview", status_code=200, opt={"permission": "integrations:read"})
async def preview(request: Req, integration_id: FromPath[str]) -> Page:
    """What a partner would get by the form as it stands. Nothing is written."""
    return await _preview(request, (await seen(request, INTEGRATION, integration_id))[0])


async def _preview(request: Req, state: Integration | None) -> Page:
    try:
        wanted = terms_of(await form(request), state)
        changed = _changed(request, state, wanted)
    except (Refusal, HTTPException) as error:
        return page(request, "console/parts/preview.html", problem=_problem(request, error), grants=[], changed=None)
    topics = [] if state is None else await topics_of(request, state)
    found = grants(wanted.environments, topics)
    return page(request, "console/parts/preview.html", problem=None, grants=found, changed=changed)


def _changed(request: Req, state: Integration | None, wanted: Terms) -> list[str] | None:
    """Which of the terms would change, None where the integration isn't there yet. Raises `Invalid`."""
    if state is None:
        domain.create(services(request).office.new_id("int"), "", wanted)
        return None
    events = domain.decide(state, wanted)
    return [
        name
        for event in events
        if isinstance(event, IntegrationChanged)
        for name in event.after.__struct_fields__
        if getattr(event.after, name) != getattr(event.before, name)
    ]


def _editor(
    request: Req,
    fields: RuleForm,
    state: Integration | None,
    *,
    version: int = 0,
    error: Exception | None = None,
    found: list[Granted] | None = None,
) -> Page:
    problem = None if error is None else _problem(request, error)
    found = grants(_BLANK.environments, []) if found is None and state is None else found
    return page(
        request,
        "console/integration_rule.html",
        status=200 if problem is None else problem.status,
        integration=state,
        form=fields,
        version=version,
        problem=problem,
        grants=[] if problem else found,
        changed=None,
        once=new_once(request),
    )


def _problem(request: Request[Any, Any, Any], error: Exception) -> problems.Problem:
    return problems.problem_of(error, correlation_id(request))
