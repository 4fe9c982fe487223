"""The rule editor: a form beside a live preview of what a partner would get, made by what will judge its keys."""

from typing import NamedTuple

from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.work import PreconditionFailed
from keyfold.domain import integration as domain
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.integration import Integration, IntegrationChanged, Terms
from keyfold.domain.refusals import Refusal
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.integrations import Granted, grants, topics_of
from keyfold.web.console.overtaken import Overtaken, overtaken
from keyfold.web.console.pages import Page, Req, creating, new_once, page, to, written
from keyfold.web.console.rule_faults import integration_faults
from keyfold.web.console.rule_form import Fields, RuleForm, form_of, form_of_fields, terms_of, version_of
from keyfold.web.console.session import form
from keyfold.web.problems import Problem, problem_of
from keyfold.web.refused import note_refusal
from keyfold.web.v1.common import seen

NEW = "/integrations/new"
_BLANK = Terms(name="")


class Preview(NamedTuple):
    """What a partner would get, and which of the terms change, None where that says nothing; or why it is refused."""

    grants: list[Granted]
    changed: list[str] | None = None
    problem: Problem | None = None


@get(NEW, opt={"permission": "integrations:create"})
async def new_integration(request: Req) -> Page:
    return _editor(request, form_of(_BLANK), None, Preview(grants(_BLANK.environments, [])))


@post(NEW, status_code=200, opt={"permission": "integrations:create"})
async def create_integration(request: Req) -> Page:
    """Creates it, and leads to its page. Raises what the API does."""
    given = await form(request)
    try:
        answer = await services(request).integrations.create(await creating(request), terms_of(given, None))
    except (Refusal, HTTPException) as error:
        return _unsaved(request, given, None, error)
    await written(request, answer)
    return to(f"/console/integrations/{answer.view.id}")


@get("/integrations/{integration_id:str}/rule", opt={"permission": "integrations:change"})
async def edit_rule(request: Req, integration_id: FromPath[str]) -> Page:
    state, version = await seen(request, INTEGRATION, integration_id)
    found = grants(state.terms.environments, await topics_of(request, state))
    return _editor(request, form_of(state.terms), state, Preview(found), version=version)


@post("/integrations/{integration_id:str}/rule", status_code=200, opt={"permission": "integrations:change"})
async def change_rule(request: Req, integration_id: FromPath[str]) -> Page:
    """Changes it from the version that the form was made of. Whoever was overtaken is told by what, and keeps what was
    typed: the same form again is then a decision on what there is by now. Raises what the API does."""
    state, _ = await seen(request, INTEGRATION, integration_id)
    given = await form(request)
    try:
        wanted, version = terms_of(given, state), version_of(given)
        answer = await services(request).integrations.change(
            await caller(request), integration_id, wanted, version=version
        )
    except PreconditionFailed as error:
        return await _stale(request, integration_id, given, error.status)
    except (Refusal, HTTPException) as error:
        return _unsaved(request, given, state, error, version=version_of(given))
    await written(request, answer)
    return to(f"/console/integrations/{integration_id}")


async def _stale(request: Req, integration_id: str, given: Fields, status: int) -> Page:
    """The form put onto the newest version, with what has become of that meanwhile."""
    state, version = await seen(request, INTEGRATION, integration_id)
    found = await overtaken(request, state, given)
    shown = await _judged(request, state, found.fields)
    return _editor(request, form_of_fields(found.fields), state, shown, version=version, status=status, stale=found)


@post("/integrations/preview", status_code=200, opt={"permission": "integrations:create"})
async def preview_new(request: Req) -> Page:
    """What a partner would get of an integration that isn't there yet. Nothing is written."""
    shown = await _judged(request, None, await form(request))
    return page(request, "console/parts/preview.html", preview=shown, faults=integration_faults(shown.problem))


@post("/integrations/{integration_id:str}/preview", status_code=200, opt={"permission": "integrations:read"})
async def preview(request: Req, integration_id: FromPath[str]) -> Page:
    """What a partner would get by the form as it stands. Nothing is written."""
    state, _ = await seen(request, INTEGRATION, integration_id)
    shown = await _judged(request, state, await form(request))
    return page(request, "console/parts/preview.html", preview=shown, faults=integration_faults(shown.problem))


async def _judged(request: Req, state: Integration | None, given: Fields) -> Preview:
    try:
        wanted = terms_of(given, state)
        changed = _changed(request, state, wanted)
    except (Refusal, HTTPException) as error:
        return _refused(request, error)
    topics = [] if state is None else await topics_of(request, state)
    return Preview(grants(wanted.environments, topics), changed)


def _refused(request: Req, error: Exception) -> Preview:
    return Preview([], None, problem_of(error, correlation_id(request)))


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


def _unsaved(request: Req, given: Fields, state: Integration | None, error: Exception, *, version: int = 0) -> Page:
    """The form as it was sent, with why it was refused."""
    note_refusal(request, error)
    shown = _refused(request, error)
    status = shown.problem.status if shown.problem else 200
    return _editor(request, form_of_fields(given), state, shown, version=version, status=status)


def _editor(
    request: Req,
    fields: RuleForm,
    state: Integration | None,
    shown: Preview,
    *,
    version: int = 0,
    status: int = 200,
    stale: Overtaken | None = None,
) -> Page:
    return page(
        request,
        "console/integration_rule.html",
        status=status,
        integration=state,
        form=fields,
        version=version,
        stale=stale,
        preview=shown,
        faults=integration_faults(shown.problem),
        once=new_once(request),
    )
