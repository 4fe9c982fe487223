"""Workspaces, integrations and portal sessions: what begins, and within which limits."""

from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest

from keyfold.domain import integration, session, workspace
from keyfold.domain.integration import (
    IntegrationChanged,
    IntegrationCreated,
    Presentation,
    Terms,
    TermsChange,
)
from keyfold.domain.link import Link
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Options, Send
from keyfold.domain.session import SessionOpened
from keyfold.domain.workspace import WorkspaceCreated

from .given import NOW, Outcome, given, making

MOMENT = timedelta(microseconds=1)
ALL: dict[Environment, Offer] = {"dev": Offer(), "stage": Offer(), "prod": Offer()}


def create(**wanted: Any) -> Outcome:
    return making(integration.create, "int_1", "ws_1", Terms(**{"name": "Shop", **wanted}))


def created(**fields: Any) -> list[IntegrationCreated]:
    default = {"name": "Shop", "presentation": Presentation(), "rules": ALL, "link_lifetime_seconds": 1800}
    return [IntegrationCreated(**{"workspace_id": "ws_1", "integration_id": "int_1", **default, **fields})]


def only_prod(topics: tuple[str, ...], policy: KeyPolicy = KeyPolicy()) -> dict[Environment, Offer]:  # noqa: B008  # frozen
    return {"prod": Offer(("send",), Options(send=Send(topics)), policy)}


def test_a_workspace_is_created_with_its_name() -> None:
    making(workspace.create, "ws_1", "Acme").then([WorkspaceCreated(workspace_id="ws_1", name="Acme")])
    state = given(workspace, [WorkspaceCreated(workspace_id="ws_1", name="Acme")]).state
    assert (state.id, state.workspace_id, state.house.name) == ("ws_1", "ws_1", "Acme")


def test_an_integration_offers_everything_in_every_environment_unless_it_says_otherwise() -> None:
    create().then(created())


def test_an_integration_without_a_color_has_that_of_our_own_pages() -> None:
    static = files("keyfold.web") / "static"
    assert f"--accent-light: {integration.COLOR};" in (static / "keyfold.css").read_text(encoding="utf-8")
    assert f'const OURS = "{integration.COLOR}";' in (static / "portal" / "color.js").read_text(encoding="utf-8")


def test_an_integration_is_created_as_it_was_asked_for() -> None:
    look = Presentation("Our shop", "#aabbcc", "https://x.test/i.svg")
    offers = only_prod(("app/order/*", "app/**"), KeyPolicy(lifetime_seconds=2_592_000))
    create(presentation=look, environments=offers).then(created(presentation=look, rules=offers))


@pytest.mark.parametrize("lifetime", [300, 604_800])
def test_a_link_may_live_5_minutes_to_7_days(lifetime: int) -> None:
    create(link_lifetime_seconds=lifetime).then(created(link_lifetime_seconds=lifetime))


@pytest.mark.parametrize("lifetime", [299, 604_801, -86_400])
def test_a_link_lives_no_shorter_and_no_longer(lifetime: int) -> None:
    create(link_lifetime_seconds=lifetime).then_refused(Invalid, "/linkLifetimeSeconds")


def test_an_integration_without_an_environment_is_refused() -> None:
    create(environments={}).then_refused(Invalid, "/environments")


@pytest.mark.parametrize("pattern", ["", "/", "a//b", "a b", "**/a", "a/*b", "é"])
def test_a_rule_with_what_is_no_pattern_is_refused_by_its_place(pattern: str) -> None:
    create(environments=only_prod(("app/**", pattern))).then_refused(
        Invalid, "/environments/prod/options/send/topics/1"
    )


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = only_prod(("a b",), KeyPolicy(live_keys=0))
    create(name="\0", environments=wrong, link_lifetime_seconds=0).then_refused(
        Invalid,
        "/name",
        "/environments/prod/options/send/topics/0",
        "/environments/prod/policy/liveKeys",
        "/linkLifetimeSeconds",
    )


def test_links_live_as_long_as_the_integration_says() -> None:
    state = given(integration, created(link_lifetime_seconds=300)).state
    assert state.link_expiry(NOW) == NOW + timedelta(minutes=5)


def test_the_one_lifetime_that_older_versions_knew_is_that_of_every_environment() -> None:
    offers = only_prod(("app/**",), KeyPolicy(live_keys=3))
    state = given(integration, created(rules=ALL | offers, key_lifetime_seconds=60)).state
    policies = {name: offer.policy for name, offer in state.terms.environments.items()}
    assert policies == {
        "dev": KeyPolicy(lifetime_seconds=60),
        "stage": KeyPolicy(lifetime_seconds=60),
        "prod": KeyPolicy(lifetime_seconds=60, live_keys=3),
    }
    assert given(integration, created()).state.terms.environments == ALL


def test_a_change_says_what_changed_before_and_after_and_nothing_else() -> None:
    offers = only_prod(("app/**",))
    changed = IntegrationChanged(
        workspace_id="ws_1",
        integration_id="int_1",
        before=TermsChange(name="Shop", environments=ALL),
        after=TermsChange(name="Shops", environments=offers),
    )
    given(integration, created()).when(Terms(name="Shops", environments=offers)).then([changed])
    state = given(integration, [*created(link_lifetime_seconds=300), changed]).state
    assert state.terms == Terms(name="Shops", environments=offers, link_lifetime_seconds=300)


def test_terms_that_are_so_already_change_nothing_and_true_is_not_one() -> None:
    given(integration, created()).when(Terms(name="Shop")).then_nothing()
    one, true = (Offer(options=Options(send=Send(autofill={"n": n}))) for n in (1, True))
    state = given(integration, created(rules={"prod": one})).state
    assert len(integration.decide(state, Terms(name="Shop", environments={"prod": true}))) == 1


def test_terms_that_cant_be_kept_are_refused_for_an_old_integration_too() -> None:
    given(integration, created()).when(Terms(name="Shop", environments={})).then_refused(Invalid, "/environments")


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
