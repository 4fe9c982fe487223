"""A new version of a topic's schema, beside a verdict on it: whether what is valid now stays so, and the examples."""

from typing import NamedTuple

from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.topic_views import CheckView
from keyfold.app.topics import check
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.refusals import Refusal
from keyfold.domain.topic_entry import Topic
from keyfold.web.auth import correlation_id, services
from keyfold.web.console.faults import Fault, faults_of, labels
from keyfold.web.console.pages import HOME, Page, Req, creating, new_once, page, to, written
from keyfold.web.console.rule_form import Fields
from keyfold.web.console.session import form
from keyfold.web.console.topic_form import Texts, schema_of, texts_of, texts_sent
from keyfold.web.problems import Problem, problem_of
from keyfold.web.refused import note_refusal
from keyfold.web.v1.common import seen


class Verdict(NamedTuple):
    """What would come of it: `promise` is what the form promises of the version before. Or why it can't be judged."""

    found: CheckView | None
    promise: str
    problem: Problem | None = None


@get("/topics/{topic_id:str}/schema", opt={"permission": "integrations:change"})
async def schema_page(request: Req, topic_id: FromPath[str]) -> Page:
    state, _ = await seen(request, TOPIC, topic_id)
    return await _page(request, state, texts_of(state) | {"compatibility": "backward"}, Verdict(None, "backward"))


@post("/topics/{topic_id:str}/schema", status_code=200, opt={"permission": "integrations:change"})
async def add_schema(request: Req, topic_id: FromPath[str]) -> Page:
    """Adds it, and leads to the topic's page; sent twice, it is added once. Raises what the API does."""
    state, _ = await seen(request, TOPIC, topic_id)
    given = await form(request)
    try:
        wanted = schema_of(given, state)
        answer = await services(request).topics.add_schema(await creating(request), topic_id, wanted)
    except (Refusal, HTTPException) as error:
        note_refusal(request, error)
        verdict = Verdict(None, texts_sent(given)["compatibility"], problem_of(error, correlation_id(request)))
        return await _page(request, state, texts_sent(given), verdict)
    await written(request, answer)
    return to(f"{HOME}/topics/{topic_id}")


@post("/topics/{topic_id:str}/check", status_code=200, opt={"permission": "integrations:read"})
async def check_schema(request: Req, topic_id: FromPath[str]) -> Page:
    """What would come of the form as it stands. Nothing is written."""
    state, _ = await seen(request, TOPIC, topic_id)
    verdict = _verdict(request, state, await form(request))
    return page(request, "console/parts/verdict.html", verdict=verdict, faults=_faults(verdict), topic=state)


def _verdict(request: Req, state: Topic, given: Fields) -> Verdict:
    promise = texts_sent(given)["compatibility"]
    try:
        wanted = schema_of(given, state)
        examples = state.terms.examples if wanted.examples is None else wanted.examples
        return Verdict(check(state, wanted.schema, examples), promise)
    except (Refusal, HTTPException) as error:
        return Verdict(None, promise, problem_of(error, correlation_id(request)))


def _faults(of: Verdict) -> list[Fault]:
    return faults_of(of.problem.errors, labels("topic")) if of.problem else []


async def _page(request: Req, state: Topic, texts: Texts, verdict: Verdict) -> Page:
    integration, _ = await seen(request, INTEGRATION, state.integration_id)
    return page(
        request,
        "console/topic_schema.html",
        status=verdict.problem.status if verdict.problem else 200,
        integration=integration,
        topic=state,
        sent=texts,
        verdict=verdict,
        faults=_faults(verdict),
        once=new_once(request),
    )
