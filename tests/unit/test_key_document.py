"""The key document: what may stand in it, the one form it is written in, and changes with before and after."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from keyfold.domain import key
from keyfold.domain.key import ChangeKey
from keyfold.domain.key_document import document_faults, settled
from keyfold.domain.key_events import Document, DocumentChange, KeyChanged, KeyExpiring, KeyIssued, KeyKind
from keyfold.domain.permissions import Conditions
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Options, Rule, Send

from .given import NOW, given

PARIS = timezone(timedelta(hours=2))
EXPIRY = NOW + timedelta(days=90)
RULE = Rule(("send",), Options(send=Send(("app/order/*",))))
THIS: dict[str, Any] = {"workspace_id": "ws_1", "key_id": "key_1", "integration_id": "int_1", "partner_id": "prt_1"}
ISSUED = KeyIssued(kind="service", environment="prod", name="orders", rule=RULE, expires_at=EXPIRY, **THIS)
ADMIN = KeyIssued(kind="account", workspace_id="ws_1", key_id="key_1", name="Zoë", role="admin")


def document(**fields: Any) -> Document:
    return Document(**{"name": "orders", "rule": RULE, "expires_at": EXPIRY, **fields})


def changed(before: dict[str, Any], after: dict[str, Any], this: dict[str, Any] = THIS) -> KeyChanged:
    return KeyChanged(before=DocumentChange(**before), after=DocumentChange(**after), **this)


def pointers(kind: KeyKind, **fields: Any) -> list[str]:
    mine: dict[KeyKind, Any] = {"service": {"rule": RULE}, "account": {"role": "admin"}, "integration": {}}
    return [at for at, _ in document_faults(kind, Document(**{"name": "orders", **mine[kind], **fields}), NOW)]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": "x" * 256}, None),
        ({"name": "x" * 257}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"purpose": "one\n\ttwo" + "x" * 4088}, None),
        ({"purpose": "x" * 4097}, "/purpose"),
        ({"purpose": "\0"}, "/purpose"),
        ({"tags": tuple(f"t{n}" for n in range(20))}, None),
        ({"tags": tuple(f"t{n}" for n in range(21))}, "/tags"),
        ({"tags": ("eu", "x" * 65)}, "/tags/1"),
        ({"tags": ("x" * 64, "")}, "/tags/1"),
        ({"tags": ("a\tb",)}, "/tags/0"),
        ({"source_networks": tuple(f"10.0.0.{n}" for n in range(50))}, None),
        ({"source_networks": tuple(f"10.0.0.{n}" for n in range(51))}, "/sourceNetworks"),
        ({"source_networks": ("2001:db8::/32", "10.0.0.1/8")}, "/sourceNetworks/1"),
        ({"not_before": EXPIRY, "expires_at": EXPIRY + timedelta(microseconds=1)}, None),
        ({"not_before": EXPIRY, "expires_at": EXPIRY}, "/notBefore"),
        ({"expires_at": NOW}, "/expiresAt"),
        ({"not_before": datetime(1, 1, 1, tzinfo=PARIS)}, "/notBefore"),
        ({"rule": Rule(("send",), Options(send=Send(("a b",))))}, "/options/send/topics/0"),
        ({"role": "admin"}, "/role"),
        ({"conditions": Conditions()}, "/conditions"),
    ],
)
def test_each_part_of_a_document_has_its_limits(fields: dict[str, Any], fault: str | None) -> None:
    assert pointers("service", **fields) == ([fault] if fault else [])


def test_an_account_key_has_a_role_that_is_built_in_or_a_custom_one() -> None:
    assert pointers("account", role="rol_01h455vb4pex5vsknk084sn02q", conditions=Conditions()) == []
    for role in ("Owner", "", "rol_1", "key_01h455vb4pex5vsknk084sn02q"):
        assert pointers("account", role=role) == ["/role"]
    assert pointers("account", conditions=Conditions(partners=("prt_1",))) == ["/conditions/partners/0"]
    assert pointers("account", rule=RULE) == ["/permitted"]
    assert pointers("integration", rule=RULE, conditions=Conditions()) == ["/conditions", "/permitted"]


def test_a_document_is_written_down_in_one_form_whatever_it_was_given_in() -> None:
    given_so = document(
        tags=("eu", "b2b", "eu"),
        source_networks=("10.0.0.1", "2001:DB8::/32", "10.0.0.1/32"),
        not_before=NOW.astimezone(PARIS),
        expires_at=EXPIRY.astimezone(PARIS),
    )
    one = settled(given_so)
    assert (one.tags, one.source_networks) == (("eu", "b2b"), ("10.0.0.1/32", "2001:db8::/32"))
    assert one.not_before is not None
    assert one.expires_at is not None
    assert (one.not_before, one.expires_at) == (NOW, EXPIRY)
    assert {one.not_before.tzinfo, one.expires_at.tzinfo} == {UTC}
    assert settled(one) == one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "orders, EU"),
        ("purpose", "Orders"),
        ("tags", ("eu",)),
        ("rule", Rule(("receive",))),
        ("source_networks", ("10.0.0.0/8",)),
        ("not_before", NOW),
        ("expires_at", EXPIRY - timedelta(days=1)),
        ("expires_at", None),
    ],
)
def test_a_change_says_what_changed_before_and_after_and_nothing_else(field: str, value: Any) -> None:
    event = changed({field: getattr(ISSUED, field)}, {field: value})
    given(key, [ISSUED]).when(ChangeKey(document(**{field: value})), NOW).then([event])
    assert given(key, [ISSUED, event]).state.document == document(**{field: value})


def test_several_changes_are_one_and_role_and_conditions_change_too() -> None:
    after: dict[str, Any] = {"name": "Zoé", "role": "viewer", "conditions": Conditions(environments=("dev",))}
    event = changed(
        {"name": "Zoë", "role": "admin", "conditions": None}, after, {"workspace_id": "ws_1", "key_id": "key_1"}
    )
    given(key, [ADMIN]).when(ChangeKey(Document(**after)), NOW).then([event])
    assert given(key, [ADMIN, event]).state.document == Document(**after)


def test_a_document_that_is_so_already_changes_nothing_in_whatever_form() -> None:
    given(key, [ISSUED]).when(ChangeKey(document()), NOW).then_nothing()
    given(key, [ISSUED]).when(ChangeKey(document(expires_at=EXPIRY.astimezone(PARIS))), NOW).then_nothing()


def test_true_in_the_place_of_one_is_a_change() -> None:
    one, true = (Rule(("send",), Options(send=Send(autofill={"n": n}))) for n in (1, True))
    issued = KeyIssued(kind="service", environment="prod", name="orders", rule=one, **THIS)
    (event,) = key.decide(given(key, [issued]).state, ChangeKey(Document(name="orders", rule=true)), NOW)
    assert isinstance(event, KeyChanged)
    assert event.after.rule is true


def test_a_change_to_what_a_document_mustnt_be_is_refused() -> None:
    wrong = document(name="", tags=("",), expires_at=NOW)
    given(key, [ISSUED]).when(ChangeKey(wrong), NOW).then_refused(Invalid, "/tags/0", "/name", "/expiresAt")
    given(key, [ISSUED]).when(ChangeKey(document(role="admin")), NOW).then_refused(Invalid, "/role")
    given(key, [ADMIN]).when(ChangeKey(Document(name="Zoë")), NOW).then_refused(Invalid, "/role")


def test_an_expiry_can_be_moved_to_the_future_alone_and_one_that_stays_isnt_judged_again() -> None:
    given(key, [ISSUED]).when(ChangeKey(document(expires_at=NOW)), NOW).then_refused(Invalid, "/expiresAt")
    before = document(expires_at=NOW)
    assert document_faults("service", before, NOW, before=before) == []


def test_a_moved_expiry_is_announced_anew_and_another_change_announces_nothing_again() -> None:
    announced = KeyExpiring(days=30, expires_at=EXPIRY, **THIS)
    moved = changed({"expires_at": EXPIRY}, {"expires_at": EXPIRY - timedelta(days=1)})
    renamed = changed({"name": "orders"}, {"name": "other"})
    assert given(key, [ISSUED, announced, renamed]).state.announced == ("expiring 30",)
    assert given(key, [ISSUED, announced, moved]).state.announced == ()
