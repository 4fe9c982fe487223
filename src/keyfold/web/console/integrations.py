"""Integrations: the list, and the page of one with what its partners get."""

from typing import Any, NamedTuple

from litestar import get
from litestar.params import FromPath

from keyfold.app.topic_views import TopicSummary
from keyfold.app.views import IntegrationView
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.integration import TOPICS, Integration
from keyfold.domain.moment import Moment
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Action
from keyfold.domain.topic_entry import Topic
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import list_faults, listed_or_not
from keyfold.web.console.listing import Column, Listing, asked, listing
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.past import moment_asked, past_listing, past_page
from keyfold.web.v1.common import seen, seen_at

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
    """Newest first, with a search by name, now or at a moment."""
    found = await listed_or_not(request, COLUMNS, _listing(request))
    return page(
        request,
        "console/integrations.html",
        status=found.status,
        listing=found,
        faults=list_faults(request, found),
        at=None if found.refusal else await moment_asked(request),
    )


async def _listing(request: Req) -> Listing:
    wanted, at = asked(request).get("q"), await moment_asked(request)
    if at is None:
        filters = {_NAME: wanted}
        return await listing(request, INTEGRATION, lambda state, now: state, COLUMNS, filters, sort="-created")
    return await past_listing(request, INTEGRATION, COLUMNS, {}, at, fits=lambda each: _is_called(each, wanted))


def _is_called(this: Integration, wanted: str | None) -> bool:
    """The same as the lists' condition."""
    return wanted is None or wanted.lower() in this.terms.name.lower() or this.id == wanted


@get("/integrations/{integration_id:str}", opt={"permission": "integrations:read"})
async def integration(request: Req, integration_id: FromPath[str]) -> Page:
    """One integration, with its topics and what a partner gets, or got at a moment. Raises `NotFound`."""
    at = await moment_asked(request)
    if at is None:
        state, _ = await seen(request, INTEGRATION, integration_id)
    else:
        state = await seen_at(request, INTEGRATION, integration_id, at)
    topics = await topics_of(request, state, at)
    now = at.time if at else services(request).clock()
    return page(
        request,
        "console/integration.html",
        integration=IntegrationView.of(state, now),
        grants=grants(state.terms.environments, topics),
        topics=[TopicSummary.of(each, now) for each in topics],
        at=at,
    )


def grants(environments: dict[Environment, Offer], topics: list[Topic]) -> list[Granted]:
    """What each environment comes to, judged as every event is; without what a topic isn't meant for: its direction
    binds nobody, but says what partners are to do."""

    def allowed(offer: Offer, action: Action) -> list[Topic]:
        meant = [topic for topic in topics if topic.terms.direction in (action, "both")]
        return [topic for topic in meant if offer.rule.refuses(action, topic.name) is None]

    return [
        Granted(each, offer, allowed(offer, "send"), allowed(offer, "receive")) for each, offer in environments.items()
    ]


async def topics_of(request: Req, of: Integration, at: Moment | None = None) -> list[Topic]:
    """The catalogue of an integration by name, as its lists have it, or had it at a moment."""
    by, about, filters = await caller(request), services(request), {"integration_id = $?": of.id}
    here: Any = {"status": "active", "limit": TOPICS}
    if at is None:
        found = await about.lists.page(TOPIC.prefix, by.workspace_id, filters, now=about.clock(), cursor=None, **here)
    else:
        found = await past_page(request, TOPIC, filters, at, **here)
    return sorted(found.items, key=lambda topic: topic.name)
