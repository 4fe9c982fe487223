"""The access key: three kinds, each with what it must have and nothing else; exact to the instant; revoked for good."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from keyfold.domain import key
from keyfold.domain.key import IssueKey, KeyIssued, KeyRevoked, RevokeKey
from keyfold.domain.permissions import INTEGRATION_KEY, ROLES, Options, Rule, Topics
from keyfold.domain.refusals import Invalid

from .given import NOW, given, making

MOMENT = timedelta(microseconds=1)
EXPIRY = NOW + timedelta(days=90)
RULE = Rule(("send",), Options(send=Topics(("app/order/*",))))
ACCOUNT: dict[str, Any] = {"kind": "account", "role": "admin"}
INTEGRATION: dict[str, Any] = {"kind": "integration", "integration_id": "int_1"}
SERVICE: dict[str, Any] = {"kind": "service", "environment": "prod", "partner_id": "prt_1", "integration_id": "int_1"}
REVOKED = KeyRevoked(
    workspace_id="ws_1", key_id="key_1", integration_id="int_1", partner_id="prt_1", reason="left on a train"
)


def issue(**fields: Any) -> IssueKey:
    return IssueKey(**{"key_id": "key_1", "workspace_id": "ws_1", "name": "orders", **fields})


def issued(**fields: Any) -> KeyIssued:
    return KeyIssued(**{"key_id": "key_1", "workspace_id": "ws_1", "name": "orders", **fields})


@pytest.mark.parametrize("kind", [ACCOUNT, INTEGRATION, SERVICE | {"rule": RULE}], ids=lambda kind: str(kind["kind"]))
def test_a_key_is_issued_as_it_was_asked_for(kind: dict[str, Any]) -> None:
    times = {"not_before": NOW, "expires_at": EXPIRY}
    making(key.issue, issue(**kind, **times), NOW).then([issued(**kind, **times)])


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"kind": "account"}, ["/role"]),
        ({"kind": "integration"}, ["/integrationId"]),
        ({"kind": "service"}, ["/environment", "/partnerId"]),
        ({"kind": "service", "environment": "dev"}, ["/partnerId"]),
        ({"kind": "service", "partner_id": "prt_1"}, ["/environment"]),
        (ACCOUNT | {"integration_id": "int_1"}, ["/integrationId"]),
        (ACCOUNT | {"environment": "dev"}, ["/environment"]),
        (ACCOUNT | {"partner_id": "prt_1"}, ["/partnerId"]),
        (INTEGRATION | {"role": "viewer"}, ["/role"]),
        (INTEGRATION | {"environment": "dev"}, ["/environment"]),
        (INTEGRATION | {"partner_id": "prt_1"}, ["/partnerId"]),
        (SERVICE | {"role": "viewer"}, ["/role"]),
        ({"kind": "service", "environment": "dev", "integration_id": "int_1"}, ["/integrationId", "/partnerId"]),
    ],
)
def test_a_key_with_too_much_or_too_little_for_its_kind_is_refused_by_name(
    fields: dict[str, Any], pointers: list[str]
) -> None:
    making(key.issue, issue(**fields), NOW).then_refused(Invalid, *pointers)


def test_a_key_that_would_be_expired_at_birth_is_refused() -> None:
    making(key.issue, issue(**ACCOUNT, expires_at=NOW), NOW).then_refused(Invalid, "/expiresAt")
    making(key.issue, issue(**ACCOUNT, expires_at=NOW + MOMENT), NOW).then([issued(**ACCOUNT, expires_at=NOW + MOMENT)])


def test_a_key_that_would_expire_before_it_begins_is_refused() -> None:
    making(key.issue, issue(**ACCOUNT, not_before=EXPIRY, expires_at=EXPIRY), NOW).then_refused(Invalid, "/notBefore")


def test_times_are_written_down_in_utc() -> None:
    paris = EXPIRY.astimezone(timezone(timedelta(hours=2)))
    (event,) = key.issue(issue(**ACCOUNT, not_before=paris - timedelta(days=1), expires_at=paris), NOW)
    assert isinstance(event, KeyIssued)
    assert (event.not_before, event.expires_at) == (EXPIRY - timedelta(days=1), EXPIRY)
    assert {str(event.not_before)[-6:], str(event.expires_at)[-6:]} == {"+00:00"}


@pytest.mark.parametrize(
    ("field", "pointer", "moment"),
    [
        ("expires_at", "/expiresAt", datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12)))),
        ("not_before", "/notBefore", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=12)))),
    ],
)
def test_a_moment_that_utc_has_no_date_for_is_refused(field: str, pointer: str, moment: datetime) -> None:
    making(key.issue, issue(**ACCOUNT, **{field: moment}), NOW).then_refused(Invalid, pointer)


def test_a_key_is_revoked_and_says_why() -> None:
    given(key, [issued(**SERVICE)]).when(RevokeKey("left on a train")).then([REVOKED])


def test_revoking_a_revoked_key_changes_nothing() -> None:
    given(key, [issued(**SERVICE), REVOKED]).when(RevokeKey("again")).then_nothing()


def test_a_revoked_key_remembers_when_and_why() -> None:
    later = NOW + timedelta(days=1)
    state = key.evolve(given(key, [issued(**SERVICE)]).state, REVOKED, later)
    assert (state.issued_at, state.revoked_at, state.revoked_reason) == (NOW, later, "left on a train")


def test_a_key_works_from_its_beginning_until_just_before_its_end() -> None:
    begins = NOW + timedelta(hours=1)
    state = given(key, [issued(**SERVICE, not_before=begins, expires_at=EXPIRY)]).state
    assert [
        state.status_at(moment) for moment in (begins - MOMENT, begins, EXPIRY - MOMENT, EXPIRY, EXPIRY + MOMENT)
    ] == ["pending", "active", "active", "expired", "expired"]


def test_a_key_without_times_is_active_for_ever() -> None:
    state = given(key, [issued(**SERVICE)]).state
    assert state.status_at(datetime.max.replace(tzinfo=UTC)) == "active"


def test_a_revoked_key_is_revoked_whatever_the_time() -> None:
    begins = NOW + timedelta(hours=1)
    state = given(key, [issued(**SERVICE, not_before=begins, expires_at=EXPIRY), REVOKED]).state
    assert {state.status_at(moment) for moment in (NOW, begins, EXPIRY)} == {"revoked"}


def test_what_a_key_is_refused_for_its_own_state_comes_before_what_it_may_do() -> None:
    state = given(key, [issued(**SERVICE, rule=RULE, expires_at=EXPIRY)]).state
    assert state.refuses(NOW, None, None) is None
    assert state.refuses(NOW, "send", "app/order/created") is None
    assert state.refuses(NOW, "send", "app/refund/created") == "topic-not-permitted"
    assert state.refuses(NOW, "receive", None) == "action-not-permitted"
    assert state.refuses(EXPIRY, "receive", None) == "expired"


@pytest.mark.parametrize("kind", [ACCOUNT, INTEGRATION], ids=lambda kind: str(kind["kind"]))
def test_keys_that_manage_neither_send_nor_receive(kind: dict[str, Any]) -> None:
    state = given(key, [issued(**kind)]).state
    assert {state.refuses(NOW, "send", None), state.refuses(NOW, "receive", None)} == {"action-not-permitted"}


def test_each_kind_manages_what_its_role_or_its_nature_says() -> None:
    for role in ROLES:
        assert given(key, [issued(kind="account", role=role)]).state.permissions == ROLES[role]
    assert given(key, [issued(**INTEGRATION)]).state.permissions == INTEGRATION_KEY
    assert given(key, [issued(**SERVICE)]).state.permissions == frozenset()


def test_the_mark_of_its_secret_tells_what_a_key_is_for() -> None:
    marks = [issue(**ACCOUNT).mark, issue(**INTEGRATION).mark]
    marks += [issue(**SERVICE | {"environment": each}).mark for each in ("dev", "stage", "prod")]
    assert marks == ["kf_acc", "kf_int", "kf_dev", "kf_stage", "kf_prod"]


def test_a_history_without_its_beginning_is_no_history() -> None:
    with pytest.raises(ValueError, match=r"key\.revoked\.v1 before"):
        key.evolve(None, REVOKED, NOW)


def test_nothing_of_a_secret_is_in_what_is_recorded() -> None:
    assert {field.name for field in msgspec.structs.fields(KeyIssued)} == {
        "workspace_id",
        "key_id",
        "kind",
        "name",
        "role",
        "integration_id",
        "partner_id",
        "environment",
        "rule",
        "not_before",
        "expires_at",
    }
