"""Workspaces, integrations and portal sessions: what begins, and within which limits."""

from datetime import timedelta
from typing import Any

import pytest

from keyfold.domain import integration, session, workspace
from keyfold.domain.integration import IntegrationCreated, NewIntegration, Presentation
from keyfold.domain.link import Link
from keyfold.domain.permissions import Environment, Options, Rule, Topics
from keyfold.domain.refusals import Invalid
from keyfold.domain.session import SessionOpened
from keyfold.domain.workspace import WorkspaceCreated

from .given import NOW, Outcome, given, making

MOMENT = timedelta(microseconds=1)
ALL: dict[Environment, Rule] = {"dev": Rule(), "stage": Rule(), "prod": Rule()}


def create(**wanted: Any) -> Outcome:
    return making(integration.create, "int_1", "ws_1", NewIntegration(**{"name": "Shop", **wanted}))


def created(**fields: Any) -> list[IntegrationCreated]:
    default = {"name": "Shop", "presentation": Presentation(), "rules": ALL, "link_lifetime_seconds": 1800}
    return [IntegrationCreated(**{"workspace_id": "ws_1", "integration_id": "int_1", **default, **fields})]


def only_prod(topics: tuple[str, ...]) -> dict[Environment, Rule]:
    return {"prod": Rule(("send",), Options(send=Topics(topics)))}


def test_a_workspace_is_created_with_its_name() -> None:
    making(workspace.create, "ws_1", "Acme").then([WorkspaceCreated(workspace_id="ws_1", name="Acme")])
    state = given(workspace, [WorkspaceCreated(workspace_id="ws_1", name="Acme")]).state
    assert (state.id, state.workspace_id, state.name) == ("ws_1", "ws_1", "Acme")


def test_an_integration_offers_everything_in_every_environment_unless_it_says_otherwise() -> None:
    create().then(created())


def test_an_integration_is_created_as_it_was_asked_for() -> None:
    look, rules = Presentation("Our shop", "#aabbcc", "https://x.test/i.svg"), only_prod(("app/order/*", "app/**"))
    create(presentation=look, rules=rules, key_lifetime=timedelta(days=30)).then(
        created(presentation=look, rules=rules, key_lifetime_seconds=2_592_000)
    )


@pytest.mark.parametrize("lifetime", [timedelta(minutes=5), timedelta(days=7)])
def test_a_link_may_live_5_minutes_to_7_days(lifetime: timedelta) -> None:
    create(link_lifetime=lifetime).then(created(link_lifetime_seconds=int(lifetime.total_seconds())))


@pytest.mark.parametrize("lifetime", [timedelta(minutes=5) - MOMENT, timedelta(days=7) + MOMENT, -timedelta(days=1)])
def test_a_link_lives_no_shorter_and_no_longer(lifetime: timedelta) -> None:
    create(link_lifetime=lifetime).then_refused(Invalid, "/linkLifetimeSeconds")


def test_an_integration_without_an_environment_is_refused() -> None:
    create(rules={}).then_refused(Invalid, "/environments")


@pytest.mark.parametrize("pattern", ["", "/", "a//b", "a b", "**/a", "a/*b", "é"])
def test_a_rule_with_what_is_no_pattern_is_refused_by_its_environment(pattern: str) -> None:
    create(rules=only_prod(("app/**", pattern))).then_refused(Invalid, "/environments/prod")


def test_all_that_is_wrong_is_said_at_once() -> None:
    create(rules=only_prod(("a b",)), link_lifetime=timedelta(0)).then_refused(
        Invalid, "/environments/prod", "/linkLifetimeSeconds"
    )


def test_links_and_keys_of_an_integration_live_as_long_as_it_says() -> None:
    state = given(integration, created(link_lifetime_seconds=300, key_lifetime_seconds=60)).state
    assert (state.link_expiry(NOW), state.key_expiry(NOW)) == (NOW + timedelta(minutes=5), NOW + timedelta(minutes=1))
    assert given(integration, created()).state.key_expiry(NOW) is None


def test_a_session_is_that_of_the_partner_whose_link_was_redeemed_and_lasts_twelve_hours() -> None:
    link = Link(
        id="lnk_1", workspace_id="ws_1", integration_id="int_1", partner_id="prt_1", issued_at=NOW, expires_at=NOW
    )
    opened = SessionOpened(
        workspace_id="ws_1",
        session_id="pse_1",
        integration_id="int_1",
        partner_id="prt_1",
        link_id="lnk_1",
        expires_at=NOW + timedelta(hours=12),
    )
    making(session.open_for, link, "pse_1", NOW).then([opened])
    state = given(session, [opened]).state
    assert state.partner_id == "prt_1"
    assert [state.is_open(NOW + timedelta(hours=12) - MOMENT), state.is_open(NOW + timedelta(hours=12))] == [
        True,
        False,
    ]
