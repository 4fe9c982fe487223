"""The integration: what a workspace offers to partners, and the most that a partner's keys may do."""

from datetime import datetime, timedelta
from typing import Literal, assert_never

import msgspec

from keyfold.domain.ceilings import rule_faults
from keyfold.domain.limits import DESCRIPTION_LENGTH, NAME_LENGTH, Fault, text_faults
from keyfold.domain.origins import origin_faults
from keyfold.domain.permissions import ENVIRONMENTS, Environment
from keyfold.domain.policy import Offer, policy_faults
from keyfold.domain.record import Event, encode
from keyfold.domain.refusals import Invalid, Refusal

COLOR = "#17635f"
"""Of an integration that names none: the accent of our own pages, as keyfold.css has it."""
LINK_LIFETIME = timedelta(minutes=30)
LINK_LIFETIME_RANGE = (timedelta(minutes=5), timedelta(days=7))
TOPICS = 500
"""Topics in the catalogue of one integration."""


class Presentation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How the integration shows itself to a partner. `color` is `#rrggbb`, `icon` an https address or a data URL."""

    description: str = ""
    color: str = COLOR
    icon: str | None = None


_USUAL = Offer()


def _every_environment() -> dict[Environment, Offer]:
    return dict.fromkeys(ENVIRONMENTS, _USUAL)


class Terms(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that can be asked for and changed. Without `environments` a partner gets a key for each, for every topic.

    Pages of the `origins` may embed the portal.
    """

    name: str
    presentation: Presentation = Presentation()
    environments: dict[Environment, Offer] = msgspec.field(default_factory=_every_environment)
    link_lifetime_seconds: int = int(LINK_LIFETIME.total_seconds())
    origins: tuple[str, ...] = ()


class IntegrationCreated(Event, frozen=True, kw_only=True):
    """`key_lifetime_seconds` was there before each environment had a policy of its own."""

    type = "integration.created.v1"

    integration_id: str
    name: str
    presentation: Presentation
    rules: dict[Environment, Offer]
    link_lifetime_seconds: int
    key_lifetime_seconds: int | None = None
    origins: tuple[str, ...] = ()


class IntegrationChanged(Event, frozen=True, kw_only=True):
    """The terms before and after, of the fields that changed."""

    type = "integration.changed.v1"

    integration_id: str
    before: "TermsChange"
    after: "TermsChange"


class TermsChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Some of the fields of `Terms`."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    presentation: Presentation | msgspec.UnsetType = msgspec.UNSET
    environments: dict[Environment, Offer] | msgspec.UnsetType = msgspec.UNSET
    link_lifetime_seconds: int | msgspec.UnsetType = msgspec.UNSET
    origins: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class IntegrationTopicAdded(Event, frozen=True, kw_only=True):
    """A topic stands in the catalogue, by this name: noted here too, so that the names are found without a list."""

    type = "integration.topic-added.v1"

    integration_id: str
    topic: str
    topic_id: str


class IntegrationTopicRemoved(Event, frozen=True, kw_only=True):
    type = "integration.topic-removed.v1"

    integration_id: str
    topic: str
    topic_id: str


IntegrationEvent = IntegrationCreated | IntegrationChanged | IntegrationTopicAdded | IntegrationTopicRemoved


class TopicTaken(Refusal):
    code, status, title = "topic-taken", 409, "The integration has a topic of this name"


class TooManyTopics(Refusal):
    code, status, title = "too-many-topics", 409, "The integration has as many topics as it may"


class Integration(msgspec.Struct, frozen=True, rename="camel"):
    """`terms.environments` has an entry for each environment that a partner gets a key for; `topics` are the ids of
    those in its catalogue by their names."""

    id: str
    workspace_id: str
    terms: Terms
    status: Literal["active"] = "active"
    topics: dict[str, str] = {}

    def link_expiry(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.terms.link_lifetime_seconds)


def create(integration_id: str, workspace_id: str, wanted: Terms) -> list[IntegrationEvent]:
    """A new integration. Refuses rules, policies and lifetimes that can't be kept."""
    _demand_sound(wanted)
    return [
        IntegrationCreated(
            workspace_id=workspace_id,
            integration_id=integration_id,
            name=wanted.name,
            presentation=wanted.presentation,
            rules=wanted.environments,
            link_lifetime_seconds=wanted.link_lifetime_seconds,
            origins=wanted.origins,
        )
    ]


def decide(integration: Integration, wanted: Terms) -> list[IntegrationEvent]:
    """Other terms from now on. Keys that were issued keep what they have, as far as the new rule gives it."""
    _demand_sound(wanted)
    old = integration.terms
    # as JSON: Python takes true for 1
    changed = {name for name in Terms.__struct_fields__ if encode(getattr(wanted, name)) != encode(getattr(old, name))}
    if not changed:
        return []
    before, after = (TermsChange(**{name: getattr(terms, name) for name in changed}) for terms in (old, wanted))
    return [
        IntegrationChanged(
            workspace_id=integration.workspace_id, integration_id=integration.id, before=before, after=after
        )
    ]


def add_topic(integration: Integration, topic: str, topic_id: str) -> list[IntegrationEvent]:
    """A topic takes its name in the catalogue. Refuses a name that is taken, and more than `TOPICS`."""
    if topic in integration.topics:
        raise TopicTaken(f"{topic} is {integration.topics[topic]}: change that one, or withdraw it first.")
    if len(integration.topics) >= TOPICS:
        raise TooManyTopics(f"An integration has {TOPICS} topics at the most.")
    return [
        IntegrationTopicAdded(
            workspace_id=integration.workspace_id, integration_id=integration.id, topic=topic, topic_id=topic_id
        )
    ]


def remove_topic(integration: Integration, topic: str, topic_id: str) -> list[IntegrationEvent]:
    """The name is free again, if it is this topic's."""
    if integration.topics.get(topic) != topic_id:
        return []
    return [
        IntegrationTopicRemoved(
            workspace_id=integration.workspace_id, integration_id=integration.id, topic=topic, topic_id=topic_id
        )
    ]


def _demand_sound(wanted: Terms) -> None:
    shortest, longest = (int(each.total_seconds()) for each in LINK_LIFETIME_RANGE)
    wrong: list[Fault] = [
        *text_faults("/name", wanted.name, most=NAME_LENGTH),
        *text_faults("/description", wanted.presentation.description, most=DESCRIPTION_LENGTH, lines=True),
        *origin_faults("/origins", wanted.origins),
    ]
    for environment, offer in wanted.environments.items():
        if offer == _USUAL:  # nothing to look at, and most often that is so
            continue
        wrong += rule_faults(f"/environments/{environment}", offer.rule)
        wrong += policy_faults(f"/environments/{environment}/policy", offer.policy)
    if not shortest <= wanted.link_lifetime_seconds <= longest:
        wrong.append(("/linkLifetimeSeconds", "A link lives 5 minutes (300) to 7 days (604800)."))
    if not wanted.environments:
        wrong.append(("/environments", "Name at least one environment: dev, stage or prod."))
    if wrong:
        raise Invalid("The integration can't be like this.", *wrong)


def evolve(state: Integration | None, event: IntegrationEvent, at: datetime) -> Integration:
    match event:
        case IntegrationCreated():
            terms = Terms(
                name=event.name,
                presentation=event.presentation,
                environments=_with_lifetime(event.rules, event.key_lifetime_seconds),
                link_lifetime_seconds=event.link_lifetime_seconds,
                origins=event.origins,
            )
            return Integration(id=event.integration_id, workspace_id=event.workspace_id, terms=terms)
        case _ if state is None:
            raise ValueError(f"{event.type} before the integration was created")
        case IntegrationChanged():
            after = {
                name: value
                for name in event.after.__struct_fields__
                if (value := getattr(event.after, name)) is not msgspec.UNSET
            }
            return msgspec.structs.replace(state, terms=msgspec.structs.replace(state.terms, **after))
        case IntegrationTopicAdded():
            return msgspec.structs.replace(state, topics=state.topics | {event.topic: event.topic_id})
        case IntegrationTopicRemoved():
            left = {name: of for name, of in state.topics.items() if name != event.topic}
            return msgspec.structs.replace(state, topics=left)
        case _:
            assert_never(event)


def _with_lifetime(offers: dict[Environment, Offer], seconds: int | None) -> dict[Environment, Offer]:
    if seconds is None:
        return offers
    return {
        environment: msgspec.structs.replace(
            offer, policy=msgspec.structs.replace(offer.policy, lifetime_seconds=seconds)
        )
        for environment, offer in offers.items()
    }
