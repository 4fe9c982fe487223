"""A topic of an integration's catalogue: its page, now or at a moment, described, changed, and withdrawn."""

from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.topic_views import TopicView
from keyfold.app.work import PreconditionFailed
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.refusals import Refusal
from keyfold.domain.topic_entry import Topic
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.faults import faults_of, labels
from keyfold.web.console.key_names import names_of
from keyfold.web.console.pages import HOME, Page, Req, creating, new_once, page, to, written
from keyfold.web.console.past import moment_asked
from keyfold.web.console.rule_form import version_of
from keyfold.web.console.session import form
from keyfold.web.console.topic_form import (
    BLANK,
    DIRECTIONS,
    Texts,
    body_of,
    pretty,
    terms_of,
    texts_of,
    texts_sent,
    versions,
)
from keyfold.web.problems import problem_of
from keyfold.web.refused import note_refusal
from keyfold.web.texts import t
from keyfold.web.v1.common import seen, seen_at


@get("/topics/{topic_id:str}", opt={"permission": "integrations:read"})
async def topic(request: Req, topic_id: FromPath[str]) -> Page:
    """With all versions of its schema. Raises `NotFound`."""
    at = await moment_asked(request)
    state = (await seen(request, TOPIC, topic_id))[0] if at is None else await seen_at(request, TOPIC, topic_id, at)
    view = TopicView.of(state, at.time if at else services(request).clock())
    return page(
        request,
        "console/topic.html",
        topic=view,
        versions=versions(view),
        examples=[pretty(each) for each in view.examples],
        names=await names_of(request, (view.integration_id,), at),
        at=at,
    )


@get("/integrations/{integration_id:str}/topics/new", opt={"permission": "integrations:change"})
async def new_topic(request: Req, integration_id: FromPath[str]) -> Page:
    return await _form(request, integration_id, BLANK)


@post("/integrations/{integration_id:str}/topics/new", status_code=200, opt={"permission": "integrations:change"})
async def describe_topic(request: Req, integration_id: FromPath[str]) -> Page:
    """Adds it to the catalogue, and leads to its page; sent twice, it is added once. Raises what the API does."""
    given = await form(request)
    try:
        body, by = body_of(given), await creating(request)
        answer = await services(request).topics.describe(by, integration_id, body.name, body.terms(), body.schema)
    except (Refusal, HTTPException) as error:
        return await _form(request, integration_id, texts_sent(given), error=error)
    await written(request, answer)
    return to(f"{HOME}/topics/{answer.view.id}")


@get("/topics/{topic_id:str}/edit", opt={"permission": "integrations:change"})
async def edit_topic(request: Req, topic_id: FromPath[str]) -> Page:
    state, version = await seen(request, TOPIC, topic_id)
    return await _form(request, state.integration_id, texts_of(state), state, version=version)


@post("/topics/{topic_id:str}/edit", status_code=200, opt={"permission": "integrations:change"})
async def change_topic(request: Req, topic_id: FromPath[str]) -> Page:
    """Changes it from the version that the form was made of. Whoever was overtaken is told, and keeps what was typed.
    Raises what the API does."""
    state, current = await seen(request, TOPIC, topic_id)
    given, version = await form(request), current
    try:
        version = version_of(given)
        answer = await services(request).topics.change(
            await caller(request), topic_id, terms_of(given), version=version
        )
    except (Refusal, HTTPException) as error:
        version = current if isinstance(error, PreconditionFailed) else version
        texts = texts_sent(given) | {"name": state.name}
        return await _form(request, state.integration_id, texts, state, version=version, error=error)
    await written(request, answer)
    return to(f"{HOME}/topics/{topic_id}")


@post("/topics/{topic_id:str}/withdraw", status_code=200, opt={"permission": "integrations:change"})
async def withdraw_topic(request: Req, topic_id: FromPath[str]) -> Page:
    """Ends it: events on it are held to nothing any more, and its name is free."""
    answer = await services(request).topics.withdraw(await caller(request), topic_id)
    await written(request, answer)
    return to(f"{HOME}/topics/{topic_id}")


async def _form(
    request: Req,
    integration_id: str,
    texts: Texts,
    state: Topic | None = None,
    *,
    version: int = 0,
    error: Exception | None = None,
) -> Page:
    integration, _ = await seen(request, INTEGRATION, integration_id)
    problem = None
    if error is not None:
        note_refusal(request, error)
        problem = problem_of(error, correlation_id(request))
    is_stale = isinstance(error, PreconditionFailed)
    return page(
        request,
        "console/topic_form.html",
        status=problem.status if problem else 200,
        integration=integration,
        topic=state,
        sent=texts,
        version=version,
        problem=problem,
        faults=faults_of(problem.errors, labels("topic")) if problem else (),
        now_has=texts_of(state) if is_stale and state else None,
        directions=[(each, t(f"topics.direction.{each}")) for each in DIRECTIONS],
        once=new_once(request),
    )
