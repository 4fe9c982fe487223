"""Keys in the wrong hands: ended at once, replaced in the same stroke, and what they may have touched."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keyfold.domain.ids import new_id
from keyfold.domain.policy import KeyPolicy, Offer

from .keys import KEYS, Held, changed, code, coming_from, delegate, done, held, issue, join, prod, read, rotated, types
from .tenant import Clock, Tenant, bearer, pointers, problem

LEAKED = "found in a repository"
HOUR = timedelta(hours=1)
TEN = "192.0.2.10"
ELEVEN = "192.0.2.11"


async def reported(
    workspace: Tenant, key_id: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    headers = bearer(workspace.owner_key) if headers is None else headers
    return await workspace.api.post(f"{KEYS}/{key_id}/compromise", json={"reason": LEAKED, **more}, headers=headers)


async def report(workspace: Tenant, key_id: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    answer = await reported(workspace, key_id, headers, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["data"]


async def replaced(workspace: Tenant, key_id: str, headers: dict[str, str] | None = None) -> Held:
    data = (await report(workspace, key_id, headers, replace=True))["replacement"]
    return Held(data["id"], data["secret"], data)


async def related(workspace: Tenant, key_id: str, headers: dict[str, str] | None = None, **params: Any) -> Any:
    """What is known by now: uses are written down first, and the audit trail is waited for."""
    await workspace.services.usage_store.flush(workspace.services.usage)
    params = {"minPosition": await workspace.services.journal.head(), **params}
    headers = bearer(workspace.owner_key) if headers is None else headers
    answer = await workspace.api.get(f"{KEYS}/{key_id}/related", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def whys(entries: Any) -> set[tuple[str, str, str | None]]:
    return {(each["keyId"], each["why"], each.get("address")) for each in entries}


async def account(workspace: Tenant, role: str = "key-manager", **wanted: Any) -> Held:
    return held(await issue(workspace, kind="account", name=role, role=role, **wanted))


async def issued_from(workspace: Tenant, address: str, by: str, **wanted: Any) -> Held:
    """An account key issued with this secret, by somebody at this address."""
    wanted = {"kind": "account", "name": "x", "role": "viewer", **wanted}
    async with coming_from(workspace.services, address) as client:
        return held(await client.post(KEYS, json=wanted, headers=bearer(by)))


async def test_a_compromised_key_has_ended_at_once_with_all_below_it(workspace: Tenant) -> None:
    key = await prod(workspace)
    part = held(await delegate(workspace, key.id))
    below = held(await delegate(workspace, part.id))
    said = await report(workspace, key.id)
    assert (said["key"]["status"], said["key"]["revokedReason"]) == ("compromised", LEAKED)
    assert said["replacement"] is None
    assert [await code(workspace, each.secret) for each in (key, part, below)] == ["compromised", "revoked", "revoked"]
    assert (await read(workspace, below.id))["revokedReason"] == f"parent compromised: {LEAKED}"
    assert (await types(workspace, key.id))[-1] == "compromised"
    head = await workspace.services.journal.head()
    await report(workspace, key.id)
    assert await workspace.services.journal.head() == head


async def test_a_retiring_key_has_no_overlap_left(workspace: Tenant) -> None:
    key = await prod(workspace)
    successor = await rotated(workspace, key.id, overlapSeconds=3600)
    problem(await reported(workspace, key.id, replace=True), 409, "already-rotated")
    await report(workspace, key.id)
    assert [await code(workspace, each.secret) for each in (key, successor)] == ["compromised", "valid"]


@pytest.mark.parametrize("what", ["revoke", "expire"])
async def test_a_key_that_has_ended_can_be_reported_but_not_replaced(
    workspace: Tenant, clock: Clock, what: str
) -> None:
    key = await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=60)))
    if what == "revoke":
        await done(workspace, "revoke", key.id)
    else:
        clock.advance(HOUR)
    problem(await reported(workspace, key.id, replace=True), 409, "key-ended")
    await report(workspace, key.id)
    assert await code(workspace, key.secret) == "compromised"
    problem(await reported(workspace, key.id, replace=True), 409, "key-ended")


async def test_a_replacement_has_all_that_the_key_had_and_is_a_key_of_its_own(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    partner = await join(workspace, Offer(policy=KeyPolicy(lifetime_seconds=86400)))
    key = partner.keys["prod"]
    document = {
        "name": "mine",
        "tags": ["x"],
        "purpose": "sync",
        "sourceNetworks": ["10.0.0.0/8"],
        "permitted": ["send"],
        "options": {"send": {"topics": ["app/order/*"], "autofill": {"a": 1}}},
    }
    before = await changed(workspace, key.id, document)
    clock.advance(HOUR)
    new = await replaced(workspace, key.id)
    same = [*document, "kind", "environment", "partnerId", "integrationId", "expiresAt"]
    assert {name: new.data[name] for name in same} == {name: before[name] for name in same}
    assert (new.data["predecessorId"], (await read(workspace, key.id))["successorId"]) == (None, None)
    verdicts = [await code(workspace, each.secret, address="10.0.0.1") for each in (key, new)]
    assert verdicts == ["compromised", "valid"]
    assert (await code(workspace, new.secret, address="10.0.0.1", action="receive")) == "action-not-permitted"
    left = await workspace.delete(f"/api/v1/partners/{partner.id}", reason="left")
    assert left.json()["data"]["revokedKeys"] == [new.id]


async def test_a_replacement_lives_no_longer_than_the_policy_gives_by_now(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    key = await prod(workspace, Offer())
    shorter = {"environments": {"prod": {"policy": {"lifetimeSeconds": 3600}}}}
    await changed(workspace, f"/api/v1/integrations/{workspace.integration_id}", shorter)
    assert (await replaced(workspace, key.id)).data["expiresAt"] == "2026-03-01T13:00:00Z"


async def test_a_replacement_of_a_part_is_a_part_of_the_same_key(workspace: Tenant) -> None:
    key = await prod(workspace)
    part = held(await delegate(workspace, key.id, permitted=["send"]))
    new = await replaced(workspace, part.id)
    assert new.data["parentId"] == key.id
    assert await code(workspace, new.secret, action="receive") == "action-not-permitted"
    await done(workspace, "suspend", key.id)
    assert await code(workspace, new.secret) == "suspended"


async def test_a_suspended_key_is_reported_and_comes_not_back_as_its_replacement(workspace: Tenant) -> None:
    key = (await join(workspace)).keys["prod"]
    assert (await workspace.post(f"/api/v1/keys/{key.id}/suspend", {"reason": "an audit"})).status_code == 200
    head = await workspace.services.journal.head()
    problem(await reported(workspace, key.id, replace=True), 409, "key-not-in-use")
    assert await workspace.services.journal.head() == head
    assert (await report(workspace, key.id))["replacement"] is None
    assert (await workspace.verdict(key.secret))["code"] == "compromised"


async def test_no_replacement_comes_in_an_environment_that_is_offered_no_more(workspace: Tenant) -> None:
    key = (await join(workspace, dev=Offer(), prod=Offer())).keys["prod"]
    integration = f"/api/v1/integrations/{workspace.integration_id}"
    await changed(workspace, integration, {"environments": {"prod": None}})
    problem(await reported(workspace, key.id, replace=True), 409, "key-not-in-use")
    await report(workspace, key.id)


async def test_an_account_key_is_regenerated_with_its_role_and_conditions(workspace: Tenant) -> None:
    old = await account(workspace, "auditor", conditions={"environments": ["dev"]})
    new = await replaced(workspace, old.id)
    assert (new.data["role"], new.data["conditions"]) == ("auditor", {"environments": ["dev"]})
    statuses = [(await workspace.api.get(KEYS, headers=each.headers)).status_code for each in (old, new)]
    assert statuses == [401, 200]


async def test_the_last_owner_is_reported_only_with_a_replacement(workspace: Tenant) -> None:
    (owner,) = (await workspace.get("/api/v1/workspace")).json()["data"]["owners"]
    problem(await reported(workspace, owner), 409, "last-owner")
    new = await replaced(workspace, owner)
    assert (await workspace.api.get(KEYS, headers=bearer(workspace.owner_key))).status_code == 401
    workspace.owner_key = new.secret
    assert (await workspace.get("/api/v1/workspace")).json()["data"]["owners"] == [new.id]


async def test_of_two_owners_reported_at_once_one_stays(workspace: Tenant) -> None:
    (first,) = (await workspace.get("/api/v1/workspace")).json()["data"]["owners"]
    second = await account(workspace, "owner")
    answers = await asyncio.gather(reported(workspace, first), reported(workspace, second.id, second.headers))
    assert sorted(each.status_code for each in answers) in ([200, 401], [200, 409])


async def test_only_an_owner_reports_an_owners_key(workspace: Tenant) -> None:
    owner = await account(workspace, "owner")
    for replace in (True, False):
        refused = await reported(workspace, owner.id, bearer(await workspace.key("admin")), replace=replace)
        problem(refused, 403, "permission-missing")
    assert (await read(workspace, owner.id))["status"] == "active"


async def test_nobody_gets_a_replacement_with_more_than_they_have(workspace: Tenant) -> None:
    admin, manager = await account(workspace, "admin"), await account(workspace, "key-manager")
    problem(await reported(workspace, admin.id, manager.headers, replace=True), 403, "permission-missing")
    assert (await read(workspace, admin.id))["status"] == "active"
    await report(workspace, admin.id, manager.headers)


async def test_a_report_made_again_under_its_idempotency_key_shows_the_same_replacement(workspace: Tenant) -> None:
    key, headers = await prod(workspace), bearer(workspace.owner_key) | {"Idempotency-Key": "one"}
    first = await report(workspace, key.id, headers, replace=True)
    assert await report(workspace, key.id, headers, replace=True) == first


async def test_a_partner_reports_its_own_keys_in_the_portal(workspace: Tenant) -> None:
    one, other = await join(workspace), await join(workspace)
    new = await replaced(workspace, one.keys["prod"].id, one.headers)
    assert [await code(workspace, each.secret) for each in (one.keys["prod"], new)] == ["compromised", "valid"]
    problem(await reported(workspace, other.keys["prod"].id, one.headers), 404, "not-found")


async def test_keys_that_it_issued_are_related_each_with_where_from(workspace: Tenant) -> None:
    key = await account(workspace, "admin")
    by_it = await issued_from(workspace, TEN, key.secret)
    said = await related(workspace, key.id)
    assert whys(said) == {(by_it.id, "issued-by", TEN)}
    assert said[0]["at"] == by_it.data["issuedAt"]
    assert (await report(workspace, key.id))["related"] == said


async def test_keys_issued_or_used_from_where_it_was_used_are_related(workspace: Tenant) -> None:
    key, used, elsewhere = await prod(workspace), await prod(workspace), await prod(workspace)
    for each, address in [(key, TEN), (used, TEN), (used, ELEVEN), (elsewhere, ELEVEN)]:
        assert (await workspace.verdict(each.secret, address=address))["valid"]
    (owner,) = (await workspace.get("/api/v1/workspace")).json()["data"]["owners"]
    from_there = await issued_from(workspace, TEN, workspace.owner_key)
    await issued_from(workspace, ELEVEN, workspace.owner_key)
    wanted = {(used.id, "used-from", TEN), (from_there.id, "issued-from", TEN), (owner, "used-from", TEN)}
    said = await related(workspace, key.id)
    assert whys(said) == wanted
    times = [each["at"] for each in said]
    assert times == sorted(times, reverse=True)
    assert whys((await report(workspace, key.id))["related"]) == wanted


async def test_what_was_before_is_not_related(workspace: Tenant, clock: Clock) -> None:
    start = clock()
    clock.set(start)
    key = await account(workspace, "admin")
    other = await prod(workspace)
    early = await issued_from(workspace, TEN, key.secret)
    await workspace.verdict(other.secret, address=TEN)
    clock.advance(HOUR)
    late = await issued_from(workspace, TEN, key.secret)
    everything = {(early.id, "issued-by", TEN), (late.id, "issued-by", TEN), (other.id, "used-from", TEN)}
    assert whys(await related(workspace, key.id)) == everything
    since = (start + HOUR).isoformat()
    assert whys(await related(workspace, key.id, since=since)) == {(late.id, "issued-by", TEN)}
    assert whys((await report(workspace, key.id, since=since))["related"]) == {(late.id, "issued-by", TEN)}


async def test_only_what_the_caller_sees_is_related(workspace: Tenant, neighbour: Tenant) -> None:
    one, other = await join(workspace), await join(workspace)
    foreign = await prod(neighbour)
    key, own = one.keys["prod"], one.keys["dev"]
    for tenant, each in [(workspace, key), (workspace, own), (workspace, other.keys["dev"]), (neighbour, foreign)]:
        assert (await tenant.verdict(each.secret, address=TEN))["valid"]
    await issued_from(neighbour, TEN, neighbour.owner_key)
    mine = {(own.id, "used-from", TEN), (other.keys["dev"].id, "used-from", TEN)}
    assert whys(await related(workspace, key.id)) == mine
    assert whys(await related(workspace, key.id, one.headers)) == {(own.id, "used-from", TEN)}
    narrowed = await account(workspace, "admin", conditions={"partners": [one.id]})
    assert whys(await related(workspace, key.id, narrowed.headers)) == {(own.id, "used-from", TEN)}


async def test_what_is_not_seen_has_nothing_related(workspace: Tenant, neighbour: Tenant) -> None:
    theirs = await prod(neighbour)
    nowhere = new_id("key", workspace.services.clock(), bytes(10))
    for key_id in (theirs.id, nowhere, workspace.integration_id):
        problem(await workspace.get(f"{KEYS}/{key_id}/related"), 404, "not-found")
        problem(await reported(workspace, key_id), 404, "not-found")
        problem(await reported(workspace, key_id, replace=True), 404, "not-found")
    assert await code(neighbour, theirs.secret) == "valid"


async def test_it_takes_the_permission_to_report(workspace: Tenant) -> None:
    key, auditor = await prod(workspace), bearer(await workspace.key("auditor"))
    problem(await reported(workspace, key.id, auditor), 403, "permission-missing")
    answer = await workspace.api.get(f"{KEYS}/{key.id}/related", headers=auditor)
    problem(answer, 403, "permission-missing")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/reason"]),
        ({"reason": ""}, ["/reason"]),
        ({"reason": "x", "replace": "yes"}, ["/replace"]),
        ({"reason": "x", "since": "2026-03-01T12:00:00"}, ["/since"]),
        ({"reason": "x", "since": "9999-12-31T23:59:59-12:00"}, ["/since"]),
        ({"reason": "x", "overlapSeconds": 1}, ["/overlapSeconds"]),
    ],
)
async def test_a_wrong_body_is_refused_with_pointers(workspace: Tenant, body: Any, wrong: list[str]) -> None:
    key = await prod(workspace)
    assert pointers(await workspace.post(f"{KEYS}/{key.id}/compromise", body)) == wrong
    assert await code(workspace, key.secret) == "valid"


@pytest.mark.parametrize("since", ["yesterday", "2026-03-01T12:00:00", "9999-12-31T23:59:59-12:00"])
async def test_a_wrong_since_is_refused(workspace: Tenant, since: str) -> None:
    key = await prod(workspace)
    assert pointers(await workspace.get(f"{KEYS}/{key.id}/related", since=since)) == ["?since"]
