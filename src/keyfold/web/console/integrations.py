"""Integrations: the list, and the page of one with what its partners get."""

from typing import Any, NamedTuple

from litestar import get
from litestar.params import FromPath

from keyfold.app.topic_views import TopicSummary
from keyfold.app.views import IntegrationView
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.integration import TOPICS, Integration
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Action
from keyfold.domain.topic_entry import Topic
from keyfold.web.auth import caller, services
from keyfold.web.console.listing import Column, asked, listing
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.v1.common import seen

COLUMNS = (
    Column("integrations.name", "name"),
    Column("integrations.environments"),
    Column("integrations.link"),
    Column("integrations.created", "created"),
)
_NAME = "(strpos(lower(state->'terms'->>'name'), lower($?)) > 0 OR id = $?)"


class Granted(NamedTuple):
    """What a partner gets in an environment: its offer, and which topics of the catalogue that comes to."""

    environment: Environment
    offer: Offer
    sends: list[Topic]
    receives: list[Topic]


@get("/integrations", opt={"permission": "integrations:read"})
async def integrations(request: Req) -> Page:
    """Newest first, with a search by name."""
    filters = {_NAME: asked(request).get("q")}
    found = await listing(request, INTEGRATION, lambda state, now: state, COLUMNS, filters, sort="-created")
    return page(request, "console/integrations.html", listing=found)


@get("/integrations/{integration_id:str}", opt={"permission": "integrations:read"})
async def integration(request: Req, integration_id: FromPath[str]) -> Page:
    """One integration, with its topics and what a partner gets. Raises `NotFound`."""
    state, _ = await seen(request, INTEGRATION, integration_id)
    topics = await topics_of(request, state)
    return page(
        request,
        "console/integration.html",
        integration=IntegrationView.of(state, services(request).clock()),
        grants=grants(state.terms.environments, topics),
        topics=[TopicSummary.of(each, services(request).clock()) for each in topics],
    )


def grants(environments: dict[Environment, Offer], topics: list[Topic]) -> list[Granted]:
    """What each environment comes to, judged as every event is."""

    def allowed(offer: Offer, action: Action) -> list[Topic]:
        return [topic for topic in topics if offer.rule.refuses(action, topic.name) is None]

    return [
        Granted(each, offer, allowed(offer, "send"), allowed(offer, "receive")) for each, offer in environments.items()
    ]


async def topics_of(request: Req, of: Integration) -> list[Topic]:
    """The catalogue of an integration by name, as its lists have it."""
    by, about = await caller(request), services(request)
    here: Any = {"status": "active", "now": about.clock(), "cursor": None, "limit": TOPICS}
    found = await about.lists.page(TOPIC.prefix, by.workspace_id, {"integration_id = $?": of.id}, **here)
    return sorted(found.items, key=lambda topic: topic.name)
