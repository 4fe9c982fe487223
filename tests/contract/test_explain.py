"""Explanations: what a verification says and why, now, in time to come and in the past, without a trace."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.app.explaining import effective, explanation
from keyfold.app.memory import Known
from keyfold.app.ports import Digest
from keyfold.domain.ids import new_id
from keyfold.domain.judgement import Question, Subject
from keyfold.domain.key_events import Document, KeyKind
from keyfold.domain.key_state import Decided, Key, Succession
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import Action, Options, Receive, Rule, Send
from keyfold.domain.tokens import mint
from keyfold.domain.topics import covers

from .keys import Held, act, changed, delegate, done, held, issue, join, prod, read, rotated, types
from .tenant import Clock, Tenant, bearer, pointers, problem

EXPLAIN = "/api/v1/keys/explain"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ORDERS = Options(send=Send(topics=("app/order/*",)), receive=Receive(topics=("app/**",)))
OFFER = Offer(options=ORDERS)


async def explained(workspace: Tenant, **asked: Any) -> Any:
    answer = await workspace.post(EXPLAIN, {name: value for name, value in asked.items() if value is not None})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["data"]


async def agreed(workspace: Tenant, key: Held, **asked: str) -> Any:
    """The explanation, once it is certain that a verification says the same."""
    said = await explained(workspace, keyId=key.id, **asked)
    verdict = await workspace.verdict(key.secret, **asked)
    assert (said["valid"], said["code"]) == (verdict["valid"], verdict["code"])
    failed = [step["code"] for step in said["steps"] if not step["ok"]]
    assert said["code"] == (failed[0] if failed else "valid")
    assert said["valid"] == (not failed)
    return said


def looked_at(said: Any) -> list[tuple[str, str, bool]]:
    return [(step["check"], step["level"], step["ok"]) for step in said["steps"]]


def detail(said: Any, check: str, level: str = "key") -> str:
    return str(next(s["detail"] for s in said["steps"] if (s["check"], s["level"]) == (check, level)))


async def test_every_step_is_told_with_its_facts(workspace: Tenant) -> None:
    above = await prod(workspace, OFFER)
    part = held(await delegate(workspace, above.id, sourceNetworks=["192.0.2.0/24", "2001:db8::/32"]))
    said = await agreed(workspace, part, action="send", topic="app/order/created", address="192.0.2.9")
    assert (said["valid"], said["code"], said["keyId"]) == (True, "valid", part.id)
    assert looked_at(said) == [
        ("status", "key", True),
        ("status", "parent", True),
        ("network", "key", True),
        ("network", "parent", True),
        ("permission", "key", True),
        ("permission", "parent", True),
        ("permission", "integration", True),
    ]
    assert [step["id"] for step in said["steps"]] == [part.id, above.id] * 3 + [workspace.integration_id]
    assert [step["detail"].partition(" since")[0] for step in said["steps"]] == [
        "Active",
        "Active",
        "192.0.2.9 is within 192.0.2.0/24, 2001:db8::/32.",
        "It may be used from anywhere.",
        *["app/order/* covers app/order/created."] * 3,
    ]
    assert said["effective"] == {"send": ["app/order/*"]}
    assert datetime.fromisoformat(said["at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("asked", "code", "check", "level", "fact"),
    [
        ({}, "valid", "status", "key", "Active since "),
        ({"action": "send"}, "valid", "permission", "key", "It permits to send on app/order/*."),
        (
            {"action": "send", "topic": "app/x"},
            "topic-not-permitted",
            "permission",
            "key",
            "Nothing covers app/x: send is permitted on app/order/*.",
        ),
        (
            {"action": "receive"},
            "action-not-permitted",
            "permission",
            "key",
            "It permits send, schema, not receive.",
        ),
        (
            {"action": "schema"},
            "action-not-available",
            "permission",
            "key",
            "It permits schema, which can't be done yet.",
        ),
    ],
)
async def test_the_code_is_what_a_verification_says(
    workspace: Tenant, asked: dict[str, str], code: str, check: str, level: str, fact: str
) -> None:
    key = await prod(workspace, Offer(permitted=("send", "schema"), options=ORDERS))
    said = await agreed(workspace, key, **asked)
    assert said["code"] == code
    assert detail(said, check, level).startswith(fact)


@pytest.mark.parametrize(
    ("address", "code", "fact"),
    [
        ("10.1.2.3", "valid", "10.1.2.3 is within 10.0.0.0/8."),
        ("192.0.2.1", "network-not-allowed", "192.0.2.1 is in none of 10.0.0.0/8."),
        (None, "address-needed", "It may be used from 10.0.0.0/8 alone, and no address was given."),
    ],
)
async def test_networks_are_told(workspace: Tenant, address: str | None, code: str, fact: str) -> None:
    key = await prod(workspace)
    await changed(workspace, key.id, {"sourceNetworks": ["10.0.0.0/8"]})
    said = await agreed(workspace, key, **({"address": address} if address else {}))
    assert (said["code"], detail(said, "network")) == (code, fact)


@pytest.mark.parametrize(
    ("what", "code", "fact"),
    [
        ("suspend", "suspended", "Suspended since {since}: because."),
        ("revoke", "revoked", "Revoked since {since}: because."),
        ("compromise", "compromised", "Compromised since {since}: because."),
    ],
)
async def test_a_status_is_told_with_since_when_and_why_for_the_key_and_the_one_above(
    workspace: Tenant, clock: Clock, what: str, code: str, fact: str
) -> None:
    clock.set(NOON)
    above = await prod(workspace)
    part = held(await delegate(workspace, above.id))
    clock.advance(HOUR)
    await act(workspace, what, above.id, {"reason": "because"})
    said = await agreed(workspace, above)
    wanted = fact.format(since="2026-03-01T13:00:00+00:00")
    assert (said["code"], detail(said, "status")) == (code, wanted)
    below = await agreed(workspace, part)
    assert [step["code"] for step in below["steps"] if not step["ok"]][-1] == f"parent-{code}"
    assert detail(below, "status", "parent") == wanted


async def test_what_time_does_to_a_key_is_told_ahead(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=86400)))
    await changed(workspace, key.id, {"notBefore": (NOON + HOUR).isoformat()})
    end = NOON + timedelta(days=1)
    for at, code, fact in [
        (None, "pending", "Pending until 2026-03-01T13:00:00+00:00."),
        (NOON + HOUR, "valid", "Active since 2026-03-01T13:00:00+00:00, until 2026-03-02T12:00:00+00:00."),
        (end - timedelta(microseconds=1), "valid", "Active since"),
        (end, "expired", "Expired at 2026-03-02T12:00:00+00:00."),
    ]:
        said = await explained(workspace, keyId=key.id, at=at and at.isoformat())
        assert (said["code"], datetime.fromisoformat(said["at"])) == (code, at or NOON)
        assert detail(said, "status").startswith(fact)
    clock.set(NOON + HOUR)
    successor = await rotated(workspace, key.id, overlapSeconds=3600)
    said = await agreed(workspace, key)
    assert detail(said, "status") == f"Retiring until 2026-03-01T14:00:00+00:00, followed by {successor.id}."
    said = await explained(workspace, keyId=key.id, at=(NOON + 2 * HOUR).isoformat())
    assert (said["code"], detail(said, "status")) == ("retired", "Retired at 2026-03-01T14:00:00+00:00.")


async def test_a_past_moment_sees_key_parent_and_integration_as_they_were(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    above = await prod(workspace, OFFER)
    part = held(await delegate(workspace, above.id))
    asked = {"action": "send", "topic": "app/order/created"}
    story: list[tuple[str, str]] = [("valid", "valid")]
    clock.advance(HOUR)
    integration = f"/api/v1/integrations/{workspace.integration_id}"
    narrower = {"environments": {"prod": {"options": {"send": {"topics": ["app/order/paid"]}}}}}
    await changed(workspace, integration, narrower)
    story.append(("beyond-integration", "beyond-integration"))
    clock.advance(HOUR)
    await changed(workspace, above.id, {"permitted": ["receive"]})
    story.append(("action-not-permitted", "beyond-parent"))
    clock.advance(HOUR)
    await done(workspace, "suspend", above.id)
    story.append(("suspended", "suspended"))
    clock.advance(HOUR)
    await done(workspace, "reinstate", above.id)
    await changed(workspace, integration, {"environments": {"prod": None, "dev": {}}})
    story.append(("environment-not-offered", "environment-not-offered"))
    for hours, (of_above, of_part) in enumerate(story):
        for at in (NOON + hours * HOUR, NOON + (hours + 1) * HOUR - timedelta(microseconds=1)):
            told = [await explained(workspace, keyId=key.id, at=at.isoformat(), **asked) for key in (above, part)]
            assert [each["code"] for each in told] == [of_above, of_part], (hours, at)
    assert (await agreed(workspace, above, **asked))["code"] == "environment-not-offered"
    assert (await agreed(workspace, part, **asked))["effective"] == {"send": []}


async def test_before_its_issue_a_key_was_not_issued(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = await prod(workspace)
    before = (NOON - timedelta(microseconds=1)).isoformat()
    for which in ({"keyId": key.id}, {"key": key.secret}):
        said = await explained(workspace, at=before, **which)
        assert (said["valid"], said["code"], said["keyId"], said["steps"]) == (False, "not-issued", key.id, [])
    assert (await explained(workspace, keyId=key.id, at=NOON.isoformat()))["code"] == "valid"


async def test_what_a_process_with_a_slow_clock_noted_holds_from_its_own_time_on(
    workspace: Tenant, clock: Clock
) -> None:
    """A state is folded from all that precedes it in its stream, so what was noted in between is there as well."""
    clock.set(NOON)
    key = await prod(workspace)
    clock.set(NOON + 10 * HOUR)
    await changed(workspace, key.id, {"permitted": ["receive"]})
    clock.set(NOON + 5 * HOUR)
    await done(workspace, "suspend", key.id)
    clock.set(NOON + 20 * HOUR)
    for hours, status, permitted in [(4, True, True), (5, False, False), (7, False, False), (11, False, False)]:
        said = await explained(workspace, keyId=key.id, action="send", at=(NOON + hours * HOUR).isoformat())
        oks = {(step["check"], step["level"]): step["ok"] for step in said["steps"]}
        assert (oks["status", "key"], oks["permission", "key"]) == (status, permitted), hours


async def test_a_key_whose_parent_was_issued_by_a_faster_clock_is_explained_all_the_same(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON + HOUR)
    above = await prod(workspace)
    clock.set(NOON)
    part = held(await delegate(workspace, above.id))
    clock.set(NOON + 2 * HOUR)
    said = await explained(workspace, keyId=part.id, at=NOON.isoformat())
    assert (said["code"], looked_at(said)[1]) == ("valid", ("status", "parent", True))


async def test_what_is_no_key_of_this_workspace_is_unknown_and_its_id_is_not_found(
    workspace: Tenant, neighbour: Tenant
) -> None:
    theirs, mine = await prod(neighbour), await prod(workspace)
    _, link = await workspace.invite()
    forged = mint("kf_prod", mine.id, bytes(32)).reveal
    for text in ("", "kf_prod_nonsense", theirs.secret, forged, link):
        for at in (None, "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z"):
            said = await explained(workspace, key=text, at=at)
            assert {**said, "at": None} == {
                "valid": False,
                "code": "unknown-key",
                "at": None,
                "keyId": None,
                "steps": [],
                "effective": {},
            }
    nowhere = new_id("key", NOON, bytes(10))
    for key_id in (theirs.id, nowhere, workspace.integration_id, "key_\0", "nonsense"):
        for when in ({}, {"at": "2001-01-01T00:00:00Z"}):
            problem(await workspace.post(EXPLAIN, {"keyId": key_id, **when}), 404, "not-found")


async def test_a_partner_sees_why_its_own_keys_are_refused_and_nobody_elses(workspace: Tenant) -> None:
    one, other = await join(workspace), await join(workspace)
    own = await workspace.api.post(EXPLAIN, json={"keyId": one.keys["prod"].id}, headers=one.headers)
    assert own.json()["data"]["valid"]
    foreign = await workspace.api.post(EXPLAIN, json={"keyId": other.keys["prod"].id}, headers=one.headers)
    problem(foreign, 404, "not-found")
    secret = await workspace.api.post(EXPLAIN, json={"key": other.keys["prod"].secret}, headers=one.headers)
    assert secret.json()["data"]["code"] == "unknown-key"


async def test_a_secret_never_comes_back(workspace: Tenant) -> None:
    key = await prod(workspace)
    answer = await workspace.post(EXPLAIN, {"key": key.secret, "action": "send", "topic": "a", "address": "10.0.0.1"})
    assert answer.json()["data"]["keyId"] == key.id
    assert key.secret not in answer.text + str(answer.headers)


async def test_an_explanation_leaves_no_trace(workspace: Tenant) -> None:
    """It counts no use, takes no rate, and isn't the first use of a successor, whose predecessor would retire."""
    old = await prod(workspace, Offer(policy=KeyPolicy(rate=Rate(1, 3600))))
    key = await rotated(workspace, old.id, overlapStarts="first-use")
    usage, head = workspace.services.usage, await workspace.services.journal.head()
    for _ in range(3):
        assert (await explained(workspace, key=key.secret))["valid"]
    assert not any(key_id == key.id for key_id, *_ in usage.drain().uses)
    assert await workspace.services.journal.head() == head
    assert "first-used" not in await types(workspace, key.id)
    assert (await workspace.verdict(key.secret))["code"] == "valid"
    assert (await workspace.verdict(key.secret))["code"] == "rate-limited"
    assert (await explained(workspace, key=key.secret))["code"] == "valid"


async def test_keys_that_manage_are_explained_too(workspace: Tenant) -> None:
    made = held(await issue(workspace, kind="account", name="x", role="viewer"))
    said = await agreed(workspace, made, action="send")
    assert said["code"] == "action-not-permitted"
    assert detail(said, "permission") == "A key of kind account has no permitted actions."
    assert said["effective"] == {"send": []}
    inviter = held(await issue(workspace, kind="integration", name="x", integrationId=workspace.integration_id))
    assert (await agreed(workspace, inviter))["effective"] == {"send": [], "receive": []}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/keyId"]),
        ({"keyId": "key_1", "key": "kf_1"}, ["/keyId"]),
        ({"keyId": "key_1", "topic": "a"}, ["/action"]),
        ({"keyId": "key_1", "action": "send", "topic": "*"}, ["/topic"]),
        ({"keyId": "key_1", "at": "2026-03-01T12:00:00"}, ["/at"]),
        ({"keyId": "key_1", "at": "9999-12-31T23:59:59-12:00"}, ["/at"]),
        ({"keyId": "key_1", "environment": "dev"}, ["/environment"]),
    ],
)
async def test_a_wrong_question_is_refused_with_pointers(
    workspace: Tenant, body: dict[str, str], wrong: list[str]
) -> None:
    assert pointers(await workspace.post(EXPLAIN, body)) == wrong


async def test_what_would_take_long_to_bring_together_is_left_out(workspace: Tenant) -> None:
    offer = Offer(options=Options(send=Send(topics=tuple(f"a/{n}/{'x' * 150}/*" for n in range(100)))))
    key = await prod(workspace, offer)
    same = await explained(workspace, keyId=key.id, action="send")
    assert len(same["effective"]["send"]) == 100
    part = held(await delegate(workspace, key.id, options={"send": {"topics": list(offer.options.send.topics[:99])}}))
    said = await explained(workspace, keyId=part.id)
    assert said["effective"] == {"send": None, "receive": ["**"]}
    assert detail(await explained(workspace, keyId=part.id, action="send"), "permission").endswith("and 89 more.")


SEGMENT = st.sampled_from(["a", "b"])
TOPIC = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
PATTERN = st.tuples(st.lists(SEGMENT | st.just("*"), max_size=2), st.sampled_from(["a", "*", "**"])).map(
    lambda parts: "/".join([*parts[0], parts[1]])
)
PATTERNS = st.lists(PATTERN, min_size=1, max_size=3).map(tuple)
ACTION: st.SearchStrategy[Action] = st.sampled_from(["send", "send", "receive", "receive", "schema"])
RULE = st.builds(
    Rule,
    st.sampled_from([("send", "receive")] * 6 + [("send",), ("receive", "schema")]),
    st.builds(Options, send=st.builds(Send, topics=PATTERNS), receive=st.builds(Receive, topics=PATTERNS)),
)
MOMENT = st.integers(-3, 3).map(lambda hours: NOON + hours * HOUR)
KIND: st.SearchStrategy[KeyKind] = st.sampled_from(["service"] * 9 + ["account"])
DECIDED: st.SearchStrategy[Decided] = st.sampled_from(
    ["active", "active", "active", "suspended", "retired", "revoked", "compromised"]
)
NETWORKS = st.sampled_from([(), ("10.0.0.0/8",), ("192.0.2.0/24", "2001:db8::/32")])


@st.composite
def keys(draw: st.DrawFn, key_id: str) -> Key:
    kind, decided = draw(KIND), draw(DECIDED)
    return Key(
        id=key_id,
        workspace_id="ws_1",
        kind=kind,
        document=Document(
            name="x",
            source_networks=draw(NETWORKS),
            not_before=draw(st.none() | MOMENT),
            expires_at=draw(st.none() | MOMENT),
            rule=draw(RULE) if kind == "service" else None,
        ),
        integration_id="int_1",
        partner_id=None,
        environment="prod" if kind == "service" else None,
        issued_at=NOON - 4 * HOUR,
        succession=draw(st.none() | st.builds(Succession, st.just("key_9"), st.just(60), st.none() | MOMENT)),
        status=decided,
        since=draw(MOMENT) if decided != "active" else draw(st.none() | MOMENT),
        reason="because",
    )


SUBJECT = st.builds(
    Subject,
    key=keys("key_0"),
    parents=st.sampled_from([(), ("key_1",), ("key_1", "key_2")]).flatmap(
        lambda ids: st.tuples(*[keys(each) for each in ids])
    ),
    offer=st.builds(lambda rule: Offer(rule.permitted, rule.options), RULE) | st.none(),
)
ADDRESS = st.sampled_from(["10.0.0.1", "192.0.2.1", "unknown", None])
QUESTION = st.builds(Question, ACTION, TOPIC | TOPIC | st.none(), ADDRESS) | st.builds(Question, address=ADDRESS)


@settings(max_examples=150, deadline=None)
@given(subject=SUBJECT, question=QUESTION, at=MOMENT)
async def test_whatever_the_subject_the_code_is_that_of_the_first_failing_step_and_of_a_verification(
    subject: Subject, question: Question, at: datetime
) -> None:
    shared = effective(subject, question)
    said = explanation(subject, question, at, shared)
    verified = Known(subject, frozenset(), Digest("key_0", 1, bytes(32))).decision(question, at)
    assert said.code == verified.code
    assert said.code == next((step.code for step in said.steps if not step.ok), "valid")
    assert all(step.detail.endswith(".") for step in said.steps)
    if question.action in shared and question.topic is not None:
        topic, patterns = question.topic, shared[question.action] or ()
        permitted = all(step.ok for step in said.steps if step.check == "permission")
        assert any(covers(pattern, topic) for pattern in patterns) == permitted


async def test_reading_is_not_part_of_explaining(workspace: Tenant) -> None:
    """An auditor explains, a viewer doesn't."""
    key = await prod(workspace)
    for role, status in (("auditor", 200), ("viewer", 403)):
        headers = bearer(await workspace.key(role))
        answer = await workspace.api.post(EXPLAIN, json={"keyId": key.id}, headers=headers)
        assert answer.status_code == status
    assert (await read(workspace, key.id))["lastUsedAt"] is None
