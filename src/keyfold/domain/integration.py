"""The integration: what a workspace offers to partners, and the most that a partner's keys may do."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from keyfold.domain.permissions import ENVIRONMENTS, Environment, Rule
from keyfold.domain.record import Event
from keyfold.domain.refusals import Invalid
from keyfold.domain.topics import is_pattern

LINK_LIFETIME = timedelta(minutes=30)
LINK_LIFETIME_RANGE = (timedelta(minutes=5), timedelta(days=7))


class Presentation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How the integration shows itself to a partner. `color` is `#rrggbb`, `icon` an https address or a data URL."""

    description: str = ""
    color: str = "#2f6fed"
    icon: str | None = None


class IntegrationCreated(Event, frozen=True, kw_only=True):
    type = "integration.created.v1"

    integration_id: str
    name: str
    presentation: Presentation
    rules: dict[Environment, Rule]
    link_lifetime_seconds: int
    key_lifetime_seconds: int | None = None


class Integration(msgspec.Struct, frozen=True, rename="camel"):
    """`rules` has an entry for each environment that a partner gets a key for."""

    id: str
    workspace_id: str
    name: str
    presentation: Presentation
    rules: dict[Environment, Rule]
    link_lifetime_seconds: int
    key_lifetime_seconds: int | None
    status: Literal["active"] = "active"

    def link_expiry(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.link_lifetime_seconds)

    def key_expiry(self, now: datetime) -> datetime | None:
        return None if self.key_lifetime_seconds is None else now + timedelta(seconds=self.key_lifetime_seconds)


class NewIntegration(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Without `rules` a partner gets a key for each environment, for every topic."""

    name: str
    presentation: Presentation = Presentation()
    rules: dict[Environment, Rule] = msgspec.field(default_factory=lambda: {each: Rule() for each in ENVIRONMENTS})
    link_lifetime: timedelta = LINK_LIFETIME
    key_lifetime: timedelta | None = None


def create(integration_id: str, workspace_id: str, wanted: NewIntegration) -> list[IntegrationCreated]:
    """A new integration. Refuses rules and lifetimes that can't be kept."""
    wrong = [
        (f"/environments/{environment}", f"{pattern!r} is not a topic pattern, such as app/order/* or app/**.")
        for environment, rule in wanted.rules.items()
        for pattern in (*rule.options.send.topics, *rule.options.receive.topics)
        if not is_pattern(pattern)
    ]
    shortest, longest = LINK_LIFETIME_RANGE
    if not shortest <= wanted.link_lifetime <= longest:
        wrong.append(("/linkLifetimeSeconds", "A link lives 5 minutes (300) to 7 days (604800)."))
    if not wanted.rules:
        wrong.append(("/environments", "Name at least one environment: dev, stage or prod."))
    if wrong:
        raise Invalid("The integration can't be created like this.", *wrong)
    lifetime = wanted.key_lifetime
    return [
        IntegrationCreated(
            workspace_id=workspace_id,
            integration_id=integration_id,
            name=wanted.name,
            presentation=wanted.presentation,
            rules=wanted.rules,
            link_lifetime_seconds=int(wanted.link_lifetime.total_seconds()),
            key_lifetime_seconds=None if lifetime is None else int(lifetime.total_seconds()),
        )
    ]


def evolve(state: Integration | None, event: IntegrationCreated, at: datetime) -> Integration:
    return Integration(
        id=event.integration_id,
        workspace_id=event.workspace_id,
        name=event.name,
        presentation=event.presentation,
        rules=event.rules,
        link_lifetime_seconds=event.link_lifetime_seconds,
        key_lifetime_seconds=event.key_lifetime_seconds,
    )
