"""The judgement: the key itself, all that stands above it, and in which order it is asked."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from keyfold.domain.judgement import Decision, Finding, Question, Subject, decide, findings, refusal
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import Key, Succession
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Options, Receive, Rule, Send

from .given import NOW

MOMENT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
RULE = Rule(("send",), Options(send=Send(("app/**",))))
NARROW = Rule(("send",), Options(send=Send(("app/order/*",))))
ORDER = Question("send", "app/order/created")


def key(name: str = "key_1", *, rule: Rule | None = RULE, **fields: Any) -> Key:
    document = {each: fields.pop(each) for each in ("source_networks", "not_before", "expires_at") if each in fields}
    given: dict[str, Any] = {"kind": "service", "integration_id": "int_1", "partner_id": "prt_1", "environment": "prod"}
    return Key(
        id=name,
        workspace_id="ws_1",
        document=Document(name="orders", rule=rule, **document),
        issued_at=NOW,
        **given | fields,
    )


def subject(this: Key | None = None, *parents: Key, offer: Offer | None = Offer()) -> Subject:  # noqa: B008  # frozen
    return Subject(this or key(), parents, offer)


def code(this: Subject, question: Question = ORDER, now: datetime = NOW) -> str | None:
    found = refusal(this, question, now)
    return found.code if found else None


STATES: dict[str, dict[str, Any]] = {
    "pending": {"not_before": NOW + MOMENT},
    "suspended": {"status": "suspended"},
    "expired": {"expires_at": NOW},
    "retired": {"succession": Succession("key_2", 0, NOW)},
    "revoked": {"status": "revoked"},
    "compromised": {"status": "compromised"},
}


@pytest.mark.parametrize("status", STATES)
def test_a_key_is_refused_for_its_own_status_and_for_that_of_any_parent(status: str) -> None:
    assert code(subject(key(**STATES[status])), Question()) == status
    for parents in ([key("key_0", **STATES[status])], [key("key_0"), key("key_00", **STATES[status])]):
        found = refusal(subject(key(), *parents), Question(), NOW)
        assert found == Finding("status", "parent", parents[-1].id, f"parent-{status}")


def test_a_key_in_use_and_one_that_retires_may_be_used() -> None:
    retiring: dict[str, Any] = {"succession": Succession("key_2", 60, NOW + MOMENT)}
    assert code(subject()) is None
    assert code(subject(key(**retiring), key("key_0", **retiring))) is None
    assert code(subject(key(**retiring)), now=NOW + MOMENT) == "retired"


@pytest.mark.parametrize(
    ("rule", "question", "refused"),
    [
        (RULE, ORDER, None),
        (RULE, Question("send"), None),
        (RULE, Question("send", "other"), "topic-not-permitted"),
        (RULE, Question("receive", "app/order/created"), "action-not-permitted"),
        (Rule(("queries",)), Question("queries"), "action-not-available"),
        (None, ORDER, "action-not-permitted"),
        (None, Question(), None),
    ],
)
def test_a_key_may_what_its_rule_permits(rule: Rule | None, question: Question, refused: str | None) -> None:
    assert code(subject(key(rule=rule)), question) == refused


def test_narrowing_what_stands_above_narrows_the_key_at_once() -> None:
    refund = Question("send", "app/refund/created")
    narrow = Offer(NARROW.permitted, NARROW.options)
    for this, against in (
        (subject(key(), key("key_0", rule=NARROW)), ("parent", "key_0", "beyond-parent")),
        (subject(key(), key("key_0"), key("key_00", rule=NARROW)), ("parent", "key_00", "beyond-parent")),
        (subject(key(), key("key_0", rule=None)), ("parent", "key_0", "beyond-parent")),
        (subject(offer=narrow), ("integration", "int_1", "beyond-integration")),
    ):
        assert refusal(this, refund, NOW) == Finding("permission", *against)  # type: ignore[arg-type]
        assert code(this, Question()) is None
    assert code(subject(key(), key("key_0", rule=NARROW), offer=narrow)) is None


def test_what_stands_above_gives_nothing_that_the_key_hasnt() -> None:
    wide = Rule(("send", "receive"), Options(receive=Receive(("**",))))
    assert code(subject(key(rule=NARROW), key("key_0", rule=wide)), Question("send", "x")) == "topic-not-permitted"


def test_an_environment_that_isnt_offered_any_more_is_closed_whatever_the_key_is_asked_for() -> None:
    gone = subject(offer=None)
    for question in (Question(), ORDER):
        assert refusal(gone, question, NOW) == Finding("permission", "integration", "int_1", "environment-not-offered")


@pytest.mark.parametrize("kind", ["account", "integration"])
def test_keys_that_manage_are_usable_but_neither_send_nor_receive(kind: Any) -> None:
    this = subject(key(kind=kind, rule=None, environment=None), offer=None)
    assert code(this, Question()) is None
    assert {code(this, Question("send")), code(this, Question("receive"))} == {"action-not-permitted"}


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("192.0.2.7", None),
        ("::ffff:192.0.2.7", None),
        ("2001:db8::1", None),
        ("198.51.100.1", "network-not-allowed"),
        ("nonsense", "network-not-allowed"),
        (None, "address-needed"),
    ],
)
def test_a_key_and_its_parents_are_used_from_their_networks_alone(address: str | None, refused: str | None) -> None:
    networks = ("192.0.2.0/24", "2001:db8::/32")
    question = Question(address=address)
    bound = key("key_0", source_networks=networks)
    for this, level in ((subject(bound), "key"), (subject(key(), bound), "parent")):
        found = refusal(this, question, NOW)
        assert found == (Finding("network", level, "key_0", refused) if refused else None)  # type: ignore[arg-type]
    assert code(subject(), question) is None


def test_everything_is_looked_at_in_order_the_status_first() -> None:
    below = key(rule=NARROW, source_networks=("10.0.0.0/8",), expires_at=NOW)
    parents = key("key_0", rule=RULE), key("key_00", status="suspended")
    offer = Offer(("receive",))
    looked_at = [*findings(subject(below, *parents, offer=offer), Question("send", "app/x", "192.0.2.7"), NOW)]
    assert looked_at == [
        Finding("status", "key", "key_1", "expired"),
        Finding("status", "parent", "key_0", None),
        Finding("status", "parent", "key_00", "parent-suspended"),
        Finding("network", "key", "key_1", "network-not-allowed"),
        Finding("network", "parent", "key_0", None),
        Finding("network", "parent", "key_00", None),
        Finding("permission", "key", "key_1", "topic-not-permitted"),
        Finding("permission", "parent", "key_0", None),
        Finding("permission", "parent", "key_00", None),
        Finding("permission", "integration", "int_1", "beyond-integration"),
    ]
    asked = subject(below, *parents, offer=offer), Question("send", "app/x", "192.0.2.7"), NOW
    assert refusal(*asked) == looked_at[0]


def test_the_judgement_is_about_the_moment_it_is_asked_for() -> None:
    this = subject(key(not_before=NOW, expires_at=NOW + HOUR), key("key_0", expires_at=NOW + HOUR / 2))
    moments = (NOW - MOMENT, NOW, NOW + HOUR / 2 - MOMENT, NOW + HOUR / 2, NOW + HOUR)
    assert [code(this, now=now) for now in moments] == ["pending", None, None, "parent-expired", "expired"]


def test_the_decision_in_short_says_what_was_against_it_or_which_pattern_it_was_for() -> None:
    assert decide(subject(), Question(), NOW) == decide(subject(), Question("send"), NOW) == Decision("valid")
    assert decide(subject(), ORDER, NOW) == Decision("valid", pattern="app/**")
    expired = Finding("status", "key", "key_1", "expired")
    assert decide(subject(key(expires_at=NOW)), ORDER, NOW) == Decision("expired", expired)
