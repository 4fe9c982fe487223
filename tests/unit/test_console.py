"""The console's sessions and links, how far a partner has come, and an integration as a form."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as every
from hypothesis import strategies as some
from litestar.exceptions import ValidationException

from keyfold.app.stages import Stage, stage_of
from keyfold.domain import console
from keyfold.domain.console import LIFETIME, SIGN_IN_LIFETIME, ConsoleSession, SignIn
from keyfold.domain.integration import Integration, Presentation, Terms, create, evolve
from keyfold.domain.link import LinkExpired, LinkUsed
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Options, Queries, Receive, Send
from keyfold.web import words
from keyfold.web.console.rule_form import RuleForm, form_of, form_of_fields, period, terms_of

from .given import NOW

WORKSPACE, KEY, SIGN_IN, SESSION = "ws_1", "key_1", "sgn_1", "cns_1"


def sign_in(*events: Any) -> SignIn:
    state = None
    for event in (*console.issue(SIGN_IN, WORKSPACE, KEY, NOW), *events):
        state = console.evolve_sign_in(state, event, NOW)
    assert state is not None
    return state


def test_a_sign_in_link_works_once_and_not_for_long() -> None:
    last = NOW + SIGN_IN_LIFETIME - timedelta(microseconds=1)
    (used,) = console.use(sign_in(), SESSION, last)
    assert (used.key_id, used.sign_in_id) == (KEY, SIGN_IN)
    with pytest.raises(LinkExpired):
        console.use(sign_in(), SESSION, NOW + SIGN_IN_LIFETIME)
    with pytest.raises(LinkUsed):
        console.use(sign_in(used), "cns_2", NOW)
    with pytest.raises(ValueError, match="before the link"):
        console.evolve_sign_in(None, used, NOW)


def test_a_session_is_open_for_twelve_hours_or_until_it_is_closed() -> None:
    (opened,) = console.open_for(SESSION, WORKSPACE, KEY, NOW)
    state = console.evolve(None, opened, NOW)
    assert state == ConsoleSession(SESSION, WORKSPACE, KEY, NOW, NOW + LIFETIME)
    assert [state.is_open(NOW + each) for each in (timedelta(), LIFETIME - timedelta(microseconds=1), LIFETIME)] == [
        *(True, True, False)
    ]
    (closed,) = console.close(state)
    over = console.evolve(state, closed, NOW)
    assert (over.is_open(NOW), console.close(over)) == (False, [])
    with pytest.raises(ValueError, match="before the session"):
        console.evolve(None, closed, NOW)


@pytest.mark.parametrize(
    ("status", "used", "stage"),
    [
        ("invited", set(), "invited"),
        ("onboarded", set(), "onboarded"),
        ("onboarded", {"stage"}, "validating"),
        ("onboarded", {"dev", "prod"}, "live"),
        ("offboarded", {"prod"}, "offboarded"),
    ],
)
def test_a_partner_has_come_as_far_as_its_keys_were_used(status: Any, used: set[Environment], stage: Stage) -> None:
    assert stage_of(status, used) == stage


TERMS = Terms(
    name="Orders",
    presentation=Presentation("Orders,\nas they come.", "#b44509", "https://app.example.com/icon.png"),
    environments={
        "dev": Offer(),
        "prod": Offer(
            ("send", "receive", "queries"),
            Options(
                send=Send(("app/order/*", "app/x"), {"customer": {"id": "c_1"}}),
                receive=Receive(("app/**",)),
                queries=Queries(()),
            ),
            KeyPolicy(
                lifetime_seconds=90 * 86400,
                rotation_seconds=3601,
                overlap_seconds=0,
                rate=Rate(600, 60),
                lead_days=(5,),
                live_keys=3,
            ),
        ),
    },
    link_lifetime_seconds=7200,
    origins=("https://app.example.com",),
)


def kept(terms: Terms) -> Integration:
    state = None
    for event in create("int_01h455vb4pex5vsknk084sn02q", WORKSPACE, terms):
        state = evolve(state, event, NOW)
    assert state is not None
    return state


def sent(form: RuleForm) -> dict[str, list[str]]:
    """As a browser sends it."""
    fields = {name: ["\r\n".join(text.splitlines())] for name, text in form.fields.items()}
    fields["environments"] = [each.name for each in form.environments if each.is_offered]
    for each in form.environments:
        fields |= {f"{each.name}.{name}": ["\r\n".join(text.splitlines())] for name, text in each.fields.items()}
        if each.permitted:
            fields[f"{each.name}.permitted"] = [*each.permitted]
    return fields


def test_a_form_that_is_sent_as_it_was_shown_changes_nothing() -> None:
    """Not what it has no field for either."""
    fields = sent(form_of(TERMS))
    assert terms_of(fields, kept(TERMS)) == TERMS
    assert sent(form_of_fields(fields)) == fields


def test_a_form_for_something_new_comes_to_what_the_api_would_make_of_it() -> None:
    fields = sent(form_of(Terms(name="New")))
    assert terms_of(fields, None) == Terms(name="New")


@pytest.mark.parametrize(
    ("field", "text", "place"),
    [
        ("dev.lifetimeSeconds", "soon", "dev.lifetimeSeconds"),
        ("dev.rate", "600", "dev.rate"),
        ("dev.liveKeys", "-1", "dev.liveKeys"),
        ("dev.liveKeys", "9" * 99, "dev.liveKeys"),
        ("dev.autofill", "{", "dev.autofill"),
        ("dev.filters", "[" * 5000, "dev.filters"),
        ("link", "later", "link"),
    ],
)
def test_a_field_that_is_wrong_is_named(field: str, text: str, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        terms_of({**sent(form_of(TERMS)), field: [text]}, kept(TERMS))
    assert refused.value.fields[0][0] == place


@pytest.mark.parametrize(("field", "text"), [("name", ""), ("color", "red"), ("dev.filters", "{}"), ("link", "1m")])
def test_what_the_api_refuses_the_form_refuses(field: str, text: str) -> None:
    with pytest.raises((ValidationException, Invalid)):
        terms_of({**sent(form_of(TERMS)), field: [text]}, kept(TERMS))


@every(some.integers(0, 10 * 366 * 86400))
def test_a_period_is_read_back_as_it_was_written(seconds: int) -> None:
    fields = sent(form_of(TERMS)) | {"dev.idleSeconds": [period(seconds)]}
    assert terms_of(fields, kept(TERMS)).environments["dev"].policy.idle_seconds == seconds


@every(some.dictionaries(some.text(max_size=20), some.lists(some.text(max_size=40), min_size=1, max_size=3)))
def test_whatever_is_sent_is_refused_as_a_mistake_of_the_sender(junk: dict[str, list[str]]) -> None:
    fields = sent(form_of(TERMS))
    mixed = {name: junk.get(name, values) for name, values in fields.items()} | junk
    with suppress(Invalid, ValidationException):
        terms_of(mixed, kept(TERMS))


def test_moments_and_periods_are_said_as_people_do() -> None:
    said = [words.ago(NOW + timedelta(seconds=each), NOW) for each in (-7200, 86400 * 2, -59, 45 * 86400, -60)]
    assert said == ["2 hours ago", "in 2 days", "now", "in 2 months", "1 minute ago"]
    almost = [
        words.ago(NOW + timedelta(seconds=each), NOW) for each in (-3599, 7 * 86400 - 1, -86399, 365 * 86400 - 1, -89)
    ]
    assert almost == ["1 hour ago", "in 1 week", "1 day ago", "in 1 year", "1 minute ago"]
    assert [words.lasting(each) for each in (90 * 86400, 5400, 45, None)] == ["90 days", "90 minutes", "45 seconds", ""]
    assert words.parts("prt_01h455vb4pex5vsknk084sn02q") == ("prt_01h4", "55vb4pex5vsknk08", "4sn02q")
    assert words.parts("system") == ("system", "", "")
