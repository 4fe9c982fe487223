"""Access keys: issued in three kinds and within what the issuer has, verified, expired, revoked for good."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from integration.support import LIMIT
from keyfold.domain.ids import new_id
from keyfold.domain.permissions import BuiltInRole
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rule import Options, Send
from keyfold.domain.tokens import mint
from keyfold.store.queries import query

from .tenant import Clock, Tenant, bearer, pointers, position_of, problem

MOMENT = timedelta(microseconds=1)
NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


async def issue(workspace: Tenant, **wanted: Any) -> httpx.Response:
    return await workspace.post("/api/v1/keys", {"name": "fresh", **wanted})


async def revoke(workspace: Tenant, key_id: str, reason: str = "leaked") -> httpx.Response:
    return await workspace.post(f"/api/v1/keys/{key_id}/revoke", {"reason": reason})


async def test_an_account_key_manages_what_its_role_says(workspace: Tenant) -> None:
    answer = await issue(workspace, kind="account", role="viewer")
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert data["secret"].startswith("kf_acc_")
    assert (data["role"], data["environment"], data["permitted"], data["options"]) == ("viewer", None, [], None)
    assert (await workspace.api.get("/api/v1/keys", headers=bearer(data["secret"]))).status_code == 200
    lacking = await workspace.api.get("/api/v1/audit/events", headers=bearer(data["secret"]))
    assert "audit:read" in problem(lacking, 403, "permission-missing")["detail"]


async def test_an_integration_key_invites(workspace: Tenant) -> None:
    answer = await issue(workspace, kind="integration", integrationId=workspace.integration_id)
    assert answer.json()["data"]["secret"].startswith("kf_int_")
    workspace.integration_key = answer.json()["data"]["secret"]
    await workspace.invite()


async def test_a_service_key_gets_the_rule_of_its_integration_and_never_lives_longer(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    month = KeyPolicy(lifetime_seconds=30 * 86400)
    offer = Offer(("send",), Options(send=Send(topics=("app/order/*",))), month)
    strict = await workspace.integration(environments={"prod": offer})
    workspace.integration_key = await workspace.key_of_integration(strict)
    partner_id, keys = await workspace.onboard()
    assert [*keys] == ["prod"]
    wanted = {"kind": "service", "partnerId": partner_id, "environment": "prod"}
    for asked, expires in [(None, 30), (NOON + timedelta(days=7), 7), (NOON + timedelta(days=30), 30)]:
        answer = await issue(workspace, **wanted, **({"expiresAt": asked.isoformat()} if asked else {}))
        data = answer.json()["data"]
        assert datetime.fromisoformat(data["expiresAt"]) == NOON + timedelta(days=expires)
        assert (data["permitted"], data["options"]["send"]["topics"]) == (["send"], ["app/order/*"])
        assert data["integrationId"] == strict
    too_late = (NOON + timedelta(days=30) + MOMENT).isoformat()
    refused = problem(await issue(workspace, **wanted, expiresAt=too_late), 422, "exceeds-ceiling")
    assert [each["pointer"] for each in refused["errors"]] == ["/expiresAt"]
    assert pointers(await issue(workspace, **wanted | {"environment": "dev"})) == ["/environment"]
    foreign = await issue(workspace, **wanted, integrationId=workspace.integration_id)
    assert pointers(foreign) == ["/integrationId"]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"kind": "account"}, ["/role"]),
        ({"kind": "account", "role": "viewer", "environment": "dev"}, ["/environment"]),
        ({"kind": "integration"}, ["/integrationId"]),
        ({"kind": "service", "environment": "dev"}, ["/partnerId"]),
        ({"kind": "service"}, ["/environment", "/partnerId"]),
        ({"kind": "account", "role": "viewer", "expiresAt": "2020-01-01T00:00:00Z"}, ["/expiresAt"]),
        ({"kind": "account", "role": "viewer", "expiresAt": "2040-01-01T00:00:00"}, ["/expiresAt"]),
        ({"kind": "account", "role": "viewer", "expiresAt": "9999-12-31T23:59:59-12:00"}, ["/expiresAt"]),
        ({"kind": "account", "role": "viewer", "expiresAt": "soon"}, ["/expiresAt"]),
        ({"kind": "master", "role": "viewer"}, ["/kind"]),
        ({"kind": "account", "role": "viewer", "name": ""}, ["/name"]),
        ({"kind": "account", "role": "viewer", "name": "a\0"}, ["/name"]),
        ({"kind": "account", "role": "viewer", "secret": "mine"}, ["/secret"]),
    ],
)
async def test_a_wrong_combination_is_refused_with_pointers(
    workspace: Tenant, wanted: dict[str, Any], wrong: list[str]
) -> None:
    head = await workspace.services.journal.head()
    assert pointers(await issue(workspace, **wanted)) == wrong
    assert await workspace.services.journal.head() == head


async def test_a_key_of_an_account_with_a_partner_is_refused_and_leaves_no_trace_on_the_partner(
    workspace: Tenant,
) -> None:
    partner_id, _ = await workspace.onboard()
    head = await workspace.services.journal.head()
    assert pointers(await issue(workspace, kind="account", role="viewer", partnerId=partner_id)) == ["/partnerId"]
    assert await workspace.services.journal.head() == head


async def test_nobody_issues_a_key_with_more_than_they_have(workspace: Tenant) -> None:
    may: dict[BuiltInRole, list[str]] = {
        "owner": ["owner", "admin", "key-manager", "auditor", "viewer", "integration"],
        "admin": ["admin", "key-manager", "auditor", "viewer", "integration"],
        "key-manager": ["key-manager", "viewer"],
    }
    for role, issuable in may.items():
        headers = bearer(await workspace.key(role))
        for wanted in may["owner"]:
            body = {"name": "x", "kind": "account", "role": wanted}
            if wanted == "integration":
                body = {"name": "x", "kind": "integration", "integrationId": workspace.integration_id}
            answer = await workspace.api.post("/api/v1/keys", json=body, headers=headers)
            assert answer.status_code == (201 if wanted in issuable else 403), (role, wanted)


async def test_only_an_owner_revokes_an_owners_key(workspace: Tenant) -> None:
    owner = (await issue(workspace, kind="account", role="owner")).json()["data"]
    admin = (await issue(workspace, kind="account", role="admin")).json()["data"]
    path = f"/api/v1/keys/{owner['id']}/revoke"
    refused = await workspace.api.post(path, json={"reason": "coup"}, headers=bearer(admin["secret"]))
    problem(refused, 403, "permission-missing")
    assert (await workspace.verdict(owner["secret"]))["valid"]
    assert (await revoke(workspace, owner["id"])).status_code == 200


async def test_a_key_manager_still_issues_keys_to_partners(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    body = {"name": "x", "kind": "service", "partnerId": partner_id, "environment": "dev"}
    headers = bearer(await workspace.key("key-manager"))
    assert (await workspace.api.post("/api/v1/keys", json=body, headers=headers)).status_code == 201


async def test_a_key_is_valid_from_its_beginning_to_its_end_to_the_instant(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    begins, ends = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    answer = await issue(
        workspace, kind="account", role="viewer", notBefore=begins.isoformat(), expiresAt=ends.isoformat()
    )
    key = answer.json()["data"]
    for moment, code in [
        (NOON, "pending"),
        (begins - MOMENT, "pending"),
        (begins, "valid"),
        (ends - MOMENT, "valid"),
        (ends, "expired"),
        (ends + MOMENT, "expired"),
    ]:
        clock.set(moment)
        verdict = await workspace.verdict(key["secret"])
        assert (verdict["code"], verdict["valid"]) == (code, code == "valid"), moment
        assert verdict["remainingSeconds"] == max(0.0, (ends - moment).total_seconds())
        used = await workspace.api.get("/api/v1/keys", headers=bearer(key["secret"]))
        assert used.status_code == (200 if code == "valid" else 401), moment
        status = (await workspace.get(f"/api/v1/keys/{key['id']}")).json()["data"]
        assert (status["status"], status["isActive"]) == ("active" if code == "valid" else code, code != "expired")


async def test_times_are_given_back_in_utc(workspace: Tenant) -> None:
    answer = await issue(workspace, kind="account", role="viewer", expiresAt="2040-01-01T00:00:00+02:00")
    assert answer.json()["data"]["expiresAt"] == "2039-12-31T22:00:00Z"


async def test_a_revoked_key_is_refused_at_once_everywhere(workspace: Tenant, other_process: httpx.AsyncClient) -> None:
    key = (await issue(workspace, kind="account", role="viewer")).json()["data"]
    headers = bearer(key["secret"])
    for client in (workspace.api, other_process):
        assert (await client.get("/api/v1/keys", headers=headers)).status_code == 200
    answer = await revoke(workspace, key["id"])
    data = answer.json()["data"]
    assert (answer.status_code, data["status"], data["isActive"], data["revokedReason"]) == (
        200,
        "revoked",
        False,
        "leaked",
    )
    assert data["revokedAt"] is not None
    for client in (workspace.api, other_process):
        problem(await client.get("/api/v1/keys", headers=headers), 401, "unauthenticated")
    verdict = await workspace.verdict(key["secret"])
    assert (verdict["valid"], verdict["code"], verdict["keyId"]) == (False, "revoked", key["id"])


async def test_revoking_twice_is_fine_and_changes_nothing(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    first, again = await revoke(workspace, keys["dev"]["id"]), await revoke(workspace, keys["dev"]["id"], "again")
    assert again.json() == first.json()
    assert position_of(again) == position_of(first)


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 1025}, {"reason": "a\0b"}, {"reason": 5}])
async def test_a_revocation_needs_a_reason_that_can_be_written_down(workspace: Tenant, body: Any) -> None:
    _, keys = await workspace.onboard()
    assert pointers(await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", body)) == ["/reason"]


async def test_verify_says_what_a_key_may_do(workspace: Tenant) -> None:
    offer = Offer(("send",), Options(send=Send(topics=("app/order/*", "app/refund/**"))))
    strict = await workspace.integration(environments={"prod": offer})
    workspace.integration_key = await workspace.key_of_integration(strict)
    partner_id, keys = await workspace.onboard()
    secret = keys["prod"]["secret"]
    verdict = await workspace.verdict(secret, address="192.0.2.1")
    assert {name: verdict[name] for name in ("keyId", "kind", "workspaceId", "integrationId", "partnerId")} == {
        "keyId": keys["prod"]["id"],
        "kind": "service",
        "workspaceId": workspace.id,
        "integrationId": strict,
        "partnerId": partner_id,
    }
    assert (verdict["environment"], verdict["expiresAt"], verdict["remainingSeconds"]) == ("prod", None, None)
    for asked, code in [
        ({"action": "send"}, "valid"),
        ({"action": "send", "topic": "app/order/created"}, "valid"),
        ({"action": "send", "topic": "app/refund/a/b"}, "valid"),
        ({"action": "send", "topic": "app/order"}, "topic-not-permitted"),
        ({"action": "receive"}, "action-not-permitted"),
        ({"action": "receive", "topic": "app/order/created"}, "action-not-permitted"),
    ]:
        verdict = await workspace.verdict(secret, **asked)
        assert (verdict["code"], verdict["valid"]) == (code, code == "valid"), asked


async def test_what_is_no_key_is_unknown_and_told_nothing_of(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    secret = keys["prod"]["secret"]
    _, link = await workspace.invite()
    for text in ("", "x", secret[:-1], secret[:-1] + ("a" if secret[-1] != "a" else "b"), link):
        verdict = await workspace.verdict(text)
        assert {name for name, value in verdict.items() if value is not None} == {"valid", "code"}
        assert (verdict["valid"], verdict["code"]) == (False, "unknown-key")


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({}, "/key"),
        ({"key": "x", "topic": "app/order"}, "/action"),
        ({"key": "x", "action": "send", "topic": "app/*"}, "/topic"),
        ({"key": "x", "action": "send", "topic": "a\0b"}, "/topic"),
        ({"key": "x", "action": "publish"}, "/action"),
        ({"key": "x" * 257}, "/key"),
        ({"key": "x", "address": "1" * 65}, "/address"),
        ({"key": "x", "ip": "192.0.2.1"}, "/ip"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(workspace: Tenant, asked: Any, wrong: str) -> None:
    assert pointers(await workspace.post("/api/v1/keys/verify", asked)) == [wrong]


async def test_a_partners_key_may_have_less_than_the_rule_gives(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    less = {"permitted": ["send"], "options": {"send": {"topics": ["app/order/created"]}}}
    key = (await issue(workspace, kind="service", partnerId=partner_id, environment="dev", **less)).json()["data"]
    assert (key["permitted"], key["options"]["send"]["topics"]) == (["send"], ["app/order/created"])
    codes = {
        (action, topic): (await workspace.verdict(key["secret"], action=action, topic=topic))["code"]
        for action, topic in (
            ("send", "app/order/created"),
            ("send", "app/order/gone"),
            ("receive", "app/order/created"),
        )
    }
    assert [*codes.values()] == ["valid", "topic-not-permitted", "action-not-permitted"]


async def test_more_than_the_rule_gives_is_refused_naming_each_excess_and_leaves_no_trace(workspace: Tenant) -> None:
    rule = {"permitted": ["send"], "options": {"send": {"topics": ["app/order/*"]}}}
    made = await workspace.post("/api/v1/integrations", {"name": "Narrow", "environments": {"dev": rule}})
    integration_id = made.json()["data"]["id"]
    inviter = (await issue(workspace, kind="integration", integrationId=integration_id)).json()["data"]["secret"]
    invited = await workspace.api.post("/api/v1/external/partner", json={}, headers=bearer(inviter))
    partner_id = invited.json()["data"]["id"]
    more = {"permitted": ["send", "receive"], "options": {"send": {"topics": ["app/order/created", "app/**"]}}}
    refused = await issue(workspace, kind="service", partnerId=partner_id, environment="dev", **more)
    excess = problem(refused, 422, "exceeds-ceiling")["errors"]
    assert sorted(each["pointer"] for each in excess) == ["/options/send/topics/1", "/permitted"]
    events = await workspace.get("/api/v1/audit/events", partnerId=partner_id, minPosition=position_of(invited))
    assert [event["type"] for event in events.json()["data"]] == ["link.issued.v1", "partner.invited.v1"]


async def test_topics_are_for_service_keys_alone(workspace: Tenant) -> None:
    topics = {"send": {"topics": ["a"]}}
    assert pointers(await issue(workspace, kind="account", role="viewer", options=topics)) == ["/options"]
    both = await issue(workspace, kind="account", role="viewer", options=topics, permitted=["send"])
    assert pointers(both) == ["/permitted", "/options"]


async def test_a_wrong_secret_of_a_known_key_costs_as_much_as_an_unknown_key(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the time of a refusal would tell which ids there are. A right secret costs nothing: it is in memory."""
    known = (await issue(workspace, kind="account", role="viewer")).json()["data"]
    now = workspace.services.clock()
    unknown = mint("kf_acc", new_id("key", now, bytes(10)), bytes(32)).reveal
    wrong = mint("kf_acc", known["id"], bytes(32)).reveal
    asked: list[str] = []
    postgres = workspace.services.postgres
    fetch = postgres.fetch

    async def counted(statement: str, *arguments: Any) -> Any:
        asked.append(statement)
        return await fetch(statement, *arguments)

    async def cost(token: str) -> list[str]:
        asked.clear()
        await workspace.services.verifier.verify(token)
        return sorted(asked)

    assert (await workspace.services.verifier.verify(known["secret"])).valid
    monkeypatch.setattr(postgres, "fetch", counted)
    assert await cost(wrong) == await cost(unknown) == sorted([query("digests"), query("load")])
    async with asyncio.timeout(LIMIT):
        while await cost(known["secret"]):  # what just moved is told once more by the tail, and then kept
            await asyncio.sleep(0.05)
