"""The access key: three kinds, each with what it must have and nothing else; suspended and back, rotated, handed on;
exact to the instant; ended for good."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from keyfold.domain import key
from keyfold.domain.key import (
    Adopt,
    AlreadyRotated,
    BeginRetiring,
    ChangeKey,
    Delegate,
    IssueKey,
    KeyCommand,
    KeyEnded,
    KeyUnusable,
    NoteFirstUse,
    ReinstateKey,
    ReportCompromised,
    RetireNow,
    RevokeKey,
    RotateKey,
    SuspendKey,
)
from keyfold.domain.key_events import (
    AnyKeyEvent,
    Document,
    KeyAdopted,
    KeyCompromised,
    KeyDelegated,
    KeyExpired,
    KeyFirstUsed,
    KeyIssued,
    KeyReinstated,
    KeyRetired,
    KeyRetiring,
    KeyRevoked,
    KeyRotated,
    KeySuspended,
    Suspender,
)
from keyfold.domain.permissions import Conditions
from keyfold.domain.policy import Upkeep
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Options, Rule, Send

from .given import NOW, given, making

MOMENT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
EXPIRY = NOW + timedelta(days=90)
RULE = Rule(("send",), Options(send=Send(("app/order/*",))))
ACCOUNT: dict[str, Any] = {"kind": "account", "role": "admin"}
INTEGRATION: dict[str, Any] = {"kind": "integration", "integration_id": "int_1"}
SERVICE: dict[str, Any] = {
    "kind": "service",
    "environment": "prod",
    "partner_id": "prt_1",
    "integration_id": "int_1",
    "rule": RULE,
}
THIS: dict[str, Any] = {"workspace_id": "ws_1", "key_id": "key_1", "integration_id": "int_1", "partner_id": "prt_1"}
REVOKED = KeyRevoked(reason="left on a train", **THIS)
COMPROMISED = KeyCompromised(reason="in a public repository", **THIS)
SUSPENDED = KeySuspended(reason="weekend", **THIS)
WITH_PARENT = KeySuspended(reason="parent suspended: weekend", by="parent", **THIS)
IDLE = KeySuspended(reason="unused", by="idle", **THIS)
REINSTATED = KeyReinstated(**THIS)
FIRST_USED = KeyFirstUsed(**THIS)
RETIRED = KeyRetired(**THIS)
EXPIRED = KeyExpired(expires_at=EXPIRY, **THIS)


def issue(**fields: Any) -> IssueKey:
    fields = {"key_id": "key_1", "workspace_id": "ws_1", "name": "orders", **fields}
    document = {name: fields.pop(name) for name in Document.__struct_fields__ if name in fields}
    return IssueKey(document=Document(**document), **fields)


def issued(**fields: Any) -> KeyIssued:
    return KeyIssued(**{"key_id": "key_1", "workspace_id": "ws_1", "name": "orders", **fields})


ISSUED = issued(**SERVICE, expires_at=EXPIRY)
SUCCESSOR = issued(**SERVICE, predecessor_id="key_0")


def rotated(successor: str = "key_2", *, starts: Any = "now", seconds: int = 3600) -> KeyRotated:
    return KeyRotated(
        successor_id=successor,
        overlap_seconds=seconds,
        overlap_starts=starts,
        retires_at=NOW + timedelta(seconds=seconds) if starts == "now" else None,
        **THIS,
    )


@pytest.mark.parametrize("kind", [ACCOUNT, INTEGRATION, SERVICE], ids=lambda kind: str(kind["kind"]))
def test_a_key_is_issued_as_it_was_asked_for(kind: dict[str, Any]) -> None:
    more: dict[str, Any] = {
        "purpose": "Orders\nto the warehouse",
        "tags": ("eu", "b2b"),
        "source_networks": ("192.0.2.0/24",),
        "not_before": NOW,
        "expires_at": EXPIRY,
        "upkeep": Upkeep(EXPIRY, (3,), 60),
        "parent_id": "key_0",
        "depth": 1,
        "predecessor_id": "key_00",
        "delegates": ("key_3",),
    }
    making(key.issue, issue(**kind, **more), NOW).then([issued(**kind, **more)])


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"kind": "account"}, ["/role"]),
        ({"kind": "integration"}, ["/integrationId"]),
        ({"kind": "service"}, ["/environment", "/partnerId"]),
        ({"kind": "service", "environment": "dev", "rule": RULE}, ["/partnerId"]),
        ({"kind": "service", "partner_id": "prt_1", "rule": RULE}, ["/environment"]),
        (ACCOUNT | {"integration_id": "int_1"}, ["/integrationId"]),
        (ACCOUNT | {"environment": "dev"}, ["/environment"]),
        (ACCOUNT | {"partner_id": "prt_1"}, ["/partnerId"]),
        (INTEGRATION | {"role": "viewer"}, ["/role"]),
        (INTEGRATION | {"environment": "dev"}, ["/environment"]),
        (INTEGRATION | {"partner_id": "prt_1"}, ["/partnerId"]),
        (SERVICE | {"role": "viewer"}, ["/role"]),
        (SERVICE | {"partner_id": None}, ["/integrationId", "/partnerId"]),
        (ACCOUNT | {"rule": RULE}, ["/permitted"]),
        (INTEGRATION | {"conditions": Conditions()}, ["/conditions"]),
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
    given(key, [issued(**SERVICE)]).when(RevokeKey("left on a train"), NOW).then([REVOKED])


def test_revoking_a_revoked_key_changes_nothing() -> None:
    given(key, [issued(**SERVICE), REVOKED]).when(RevokeKey("again"), NOW).then_nothing()


def test_a_revoked_key_remembers_when_and_why() -> None:
    later = NOW + timedelta(days=1)
    state = key.evolve(given(key, [issued(**SERVICE)]).state, REVOKED, later)
    assert (state.issued_at, state.since, state.reason) == (NOW, later, "left on a train")


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


def test_the_mark_of_its_secret_tells_what_a_key_is_for() -> None:
    marks = [issue(**ACCOUNT).mark, issue(**INTEGRATION).mark]
    marks += [issue(**SERVICE | {"environment": each}).mark for each in ("dev", "stage", "prod")]
    assert marks == ["kf_acc", "kf_int", "kf_dev", "kf_stage", "kf_prod"]


def test_a_suspended_key_says_why_and_for_whom_and_comes_back() -> None:
    given(key, [ISSUED]).when(SuspendKey("weekend"), NOW).then([SUSPENDED])
    given(key, [ISSUED, SUSPENDED]).when(ReinstateKey(), NOW).then([REINSTATED])
    state = given(key, [ISSUED, SUSPENDED]).state
    assert (state.status_at(NOW), state.since, state.reason, state.suspender) == ("suspended", NOW, "weekend", "own")
    state = given(key, [ISSUED, SUSPENDED, REINSTATED]).state
    assert (state.status_at(NOW), state.since, state.reason, state.suspender) == ("active", NOW, None, None)


@pytest.mark.parametrize(
    ("before", "by", "then"),
    [
        (before, by, later > n)
        for n, before in enumerate(["parent", "idle", "partner", "own"])
        for later, by in enumerate(["parent", "idle", "partner", "own"])
    ],
)
def test_a_suspension_replaces_one_that_it_outranks_and_no_other(
    before: Suspender, by: Suspender, *, then: bool
) -> None:
    first, second = (msgspec.structs.replace(SUSPENDED, by=each) for each in (before, by))
    given(key, [ISSUED, first]).when(SuspendKey("weekend", by), NOW).then([second] if then else [])


@pytest.mark.parametrize("by", ["parent", "idle", "partner"])
def test_a_partner_brings_back_what_it_suspended_itself_and_not_what_the_workspace_did(by: Suspender) -> None:
    suspended = msgspec.structs.replace(SUSPENDED, by=by)
    given(key, [ISSUED, suspended]).when(ReinstateKey("partner"), NOW).then([REINSTATED])
    given(key, [ISSUED, SUSPENDED]).when(ReinstateKey("partner"), NOW).then_refused(key.SuspendedByOthers)


def test_the_parents_return_brings_back_only_what_went_with_it() -> None:
    given(key, [ISSUED, WITH_PARENT]).when(ReinstateKey("parent"), NOW).then([REINSTATED])
    for before in ([SUSPENDED], [IDLE], [WITH_PARENT, SUSPENDED]):
        given(key, [ISSUED, *before]).when(ReinstateKey("parent"), NOW).then_nothing()
    for why in (SUSPENDED, IDLE, WITH_PARENT):
        given(key, [ISSUED, why]).when(ReinstateKey(), NOW).then([REINSTATED])


def test_reinstating_a_key_in_use_changes_nothing() -> None:
    given(key, [ISSUED]).when(ReinstateKey(), NOW).then_nothing()


@pytest.mark.parametrize("starts", ["now", "first-use"])
def test_a_rotated_key_retires_after_the_overlap_or_when_it_will_be_known(starts: Any) -> None:
    command = RotateKey("key_2", 3600, starts)
    given(key, [ISSUED]).when(command, NOW).then([rotated(starts=starts)])
    state = given(key, [ISSUED, rotated(starts=starts)]).state
    last = "retired" if starts == "now" else "retiring"
    moments = (NOW, NOW + HOUR - MOMENT, NOW + HOUR, EXPIRY - MOMENT, EXPIRY)
    end = "retired" if starts == "now" else "expired"
    assert [state.status_at(moment) for moment in moments] == ["retiring", "retiring", last, last, end]


def test_a_rotation_without_an_overlap_retires_the_key_at_once() -> None:
    assert given(key, [ISSUED, rotated(seconds=0)]).state.status_at(NOW) == "retired"


def test_a_rotated_key_is_rotated_again_only_in_the_place_of_its_unused_successor() -> None:
    history = [ISSUED, rotated()]
    given(key, history).when(RotateKey("key_3", 3600, "now"), NOW).then_refused(AlreadyRotated)
    given(key, history).when(RotateKey("key_3", 3600, "now", replaces="key_9"), NOW).then_refused(AlreadyRotated)
    given(key, history).when(RotateKey("key_3", 3600, "now", replaces="key_2"), NOW).then([rotated("key_3")])


@pytest.mark.parametrize("command", [RotateKey("key_2", 0, "now"), Delegate("key_2")], ids=["rotate", "delegate"])
def test_only_a_key_in_use_is_rotated_and_handed_on(command: KeyCommand) -> None:
    pending = issued(**SERVICE, not_before=NOW + MOMENT)
    given(key, [pending]).when(command, NOW).then_refused(KeyUnusable)
    given(key, [ISSUED, SUSPENDED]).when(command, NOW).then_refused(KeyUnusable)


def test_the_first_use_is_noted_once_and_only_of_a_successor() -> None:
    given(key, [SUCCESSOR]).when(NoteFirstUse(), NOW).then([FIRST_USED])
    given(key, [SUCCESSOR, FIRST_USED]).when(NoteFirstUse(), NOW).then_nothing()
    given(key, [ISSUED]).when(NoteFirstUse(), NOW).then_nothing()
    given(key, [SUCCESSOR, REVOKED]).when(NoteFirstUse(), NOW).then_nothing()
    ending = issued(**SERVICE, predecessor_id="key_0", expires_at=EXPIRY)
    given(key, [ending]).when(NoteFirstUse(), EXPIRY).then_nothing()


def test_an_overlap_that_waits_for_the_first_use_begins_with_it_once() -> None:
    retiring = KeyRetiring(retires_at=NOW + 2 * HOUR, **THIS)
    waiting = [ISSUED, rotated(starts="first-use")]
    given(key, waiting).when(BeginRetiring(), NOW + HOUR).then([retiring])
    given(key, [*waiting, retiring]).when(BeginRetiring(), NOW + HOUR).then_nothing()
    given(key, [ISSUED, rotated()]).when(BeginRetiring(), NOW).then_nothing()
    given(key, [ISSUED]).when(BeginRetiring(), NOW).then_nothing()
    given(key, [*waiting, REVOKED]).when(BeginRetiring(), NOW).then_nothing()
    state = given(key, [*waiting, retiring]).state
    assert [state.status_at(NOW + 2 * HOUR - MOMENT), state.status_at(NOW + 2 * HOUR)] == ["retiring", "retired"]


def test_what_a_key_handed_on_goes_over_to_its_successor() -> None:
    delegated = KeyDelegated(delegate_id="key_5", **THIS)
    given(key, [ISSUED]).when(Delegate("key_5"), NOW).then([delegated])
    assert given(key, [ISSUED, delegated]).state.delegates == ("key_5",)
    assert given(key, [ISSUED, delegated, rotated()]).state.delegates == ()
    assert given(key, [issued(**SERVICE, delegates=("key_5",)), delegated]).state.delegates == ("key_5", "key_5")
    adopted = KeyAdopted(parent_id="key_2", **THIS)
    given(key, [issued(**SERVICE, parent_id="key_0")]).when(Adopt("key_2"), NOW).then([adopted])
    assert given(key, [issued(**SERVICE, parent_id="key_0"), adopted]).state.parent_id == "key_2"


ENDS: dict[str, tuple[list[AnyKeyEvent], datetime]] = {
    "expired": ([ISSUED], EXPIRY),
    "expired, as written down": ([ISSUED, EXPIRED], NOW),
    "retired": ([ISSUED, rotated()], NOW + HOUR),
    "retired, as written down": ([ISSUED, rotated(), RETIRED], NOW),
    "retired while suspended": ([ISSUED, rotated(), SUSPENDED], NOW + HOUR),
    "revoked": ([ISSUED, REVOKED], NOW),
    "compromised": ([ISSUED, COMPROMISED], NOW),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "command",
    [
        ChangeKey(Document(name="other", rule=RULE)),
        SuspendKey("weekend"),
        ReinstateKey(),
        RotateKey("key_3", 0, "now", replaces="key_2"),
        Delegate("key_3"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_ended_key_is_neither_changed_nor_brought_back_nor_goes_on_in_another(end: str, command: KeyCommand) -> None:
    history, now = ENDS[end]
    given(key, history).when(command, now).then_refused(KeyEnded)


@pytest.mark.parametrize("end", ENDS)
def test_an_ended_key_retires_no_more_and_gets_no_other_parent(end: str) -> None:
    history, now = ENDS[end]
    given(key, history).when(RetireNow(), now).then_nothing()
    given(key, history).when(Adopt("key_9"), now).then_nothing()
    given(key, [ISSUED]).when(RetireNow(), NOW).then([RETIRED])


def test_whatever_has_become_of_a_key_it_can_be_revoked_and_reported_compromised_once() -> None:
    for end, (history, now) in ENDS.items():
        revoked = [] if end in ("revoked", "compromised") else [REVOKED]
        given(key, history).when(RevokeKey("left on a train"), now).then(revoked)
        compromised = [] if end == "compromised" else [COMPROMISED]
        given(key, history).when(ReportCompromised("in a public repository"), now).then(compromised)
    assert given(key, [ISSUED, REVOKED, COMPROMISED]).state.status_at(NOW) == "compromised"


def test_the_end_that_came_first_is_what_a_key_stays() -> None:
    late = rotated(seconds=2**24)
    assert late.retires_at is not None
    state = given(key, [ISSUED, rotated()]).state
    assert {state.status_at(NOW + HOUR), state.status_at(EXPIRY), state.status_at(EXPIRY + HOUR)} == {"retired"}
    state = given(key, [ISSUED, late]).state
    assert {state.status_at(EXPIRY), state.status_at(late.retires_at)} == {"expired"}


def test_a_suspended_key_expires_and_retires_all_the_same() -> None:
    state = given(key, [ISSUED, SUSPENDED, rotated()]).state
    assert [state.status_at(NOW), state.status_at(NOW + HOUR)] == ["suspended", "retired"]
    assert given(key, [ISSUED, SUSPENDED]).state.status_at(EXPIRY) == "expired"


def test_a_history_without_its_beginning_is_no_history() -> None:
    with pytest.raises(ValueError, match=r"key\.revoked\.v1 before"):
        key.evolve(None, REVOKED, NOW)


def test_nothing_of_a_secret_is_in_what_is_recorded() -> None:
    fields = {field.name for field in msgspec.structs.fields(KeyIssued)}
    assert fields - {field.name for field in msgspec.structs.fields(IssueKey)} == {
        *(field.name for field in msgspec.structs.fields(Document))
    }


def test_keys_that_follow_one_another_are_of_the_line_of_the_first() -> None:
    assert given(key, [issued(**SERVICE)]).state.line == "key_1"
    assert given(key, [issued(**SERVICE, predecessor_id="key_2", line_id="key_0")]).state.line == "key_0"
    assert given(key, [SUCCESSOR]).state.line == "key_0", "lines weren't noted from the beginning"
