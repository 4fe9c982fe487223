"""A partner's own hands: through the cookie of its portal it makes its keys smaller, and never larger."""

from datetime import timedelta
from typing import Any

import pytest

from keyfold.domain.policy import KeyPolicy, Offer

from .keys import KEYS, NOON, Partner, change, changed, code, excess, held, issue, join, prod, read, trail
from .tenant import Clock, Tenant, bearer, problem


async def post(workspace: Tenant, partner: Partner, path: str, body: Any = None, **headers: str) -> Any:
    return await workspace.api.post(f"{KEYS}{path}", json=body or {}, headers=partner.headers | headers)


async def test_a_session_sees_its_partners_keys_alone(workspace: Tenant, neighbour: Tenant) -> None:
    partner, other = await join(workspace), await join(workspace)
    head = await workspace.services.journal.head()
    listed = await workspace.api.get(KEYS, params={"minPosition": head}, headers=partner.headers)
    assert {key["id"] for key in listed.json()["data"]} == {key.id for key in partner.keys.values()}
    own = await workspace.api.get(f"{KEYS}/{partner.keys['dev'].id}", headers=partner.headers)
    assert own.json()["data"]["id"] == partner.keys["dev"].id
    account = (await workspace.verdict(workspace.owner_key))["keyId"]
    for foreign in (other.keys["dev"].id, (await prod(neighbour)).id, account):
        problem(await workspace.api.get(f"{KEYS}/{foreign}", headers=partner.headers), 404, "not-found")
        for what in ("suspend", "reinstate", "revoke", "rotate", "delegate"):
            body = {"reason": "x"} if what in ("suspend", "revoke") else {}
            problem(await post(workspace, partner, f"/{foreign}/{what}", body), 404, "not-found")
        answer = await workspace.api.patch(
            f"{KEYS}/{foreign}", json={"name": "x"}, headers=partner.headers | {"If-Match": "*"}
        )
        problem(answer, 404, "not-found")
        assert (await code(workspace, other.keys["dev"].secret)) == "valid"


async def test_a_session_narrows(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace)
    key = partner.keys["prod"]
    patch = {
        "name": "ours",
        "purpose": "orders",
        "tags": ["a"],
        "permitted": ["send"],
        "options": {"send": {"topics": ["app/order/*"], "autofill": {"x": 1}}},
        "sourceNetworks": ["192.0.2.0/24"],
        "notBefore": "2031-03-02T00:00:00Z",
        "expiresAt": "2031-04-01T00:00:00Z",
    }
    answer = await change(workspace, key.id, patch, headers=partner.headers)
    assert answer.status_code == 200, answer.text
    data = await read(workspace, key.id)
    assert {name: data[name] for name in patch} == patch
    event = (await trail(workspace, key.id))[-1]
    assert event["actor"]["kind"] == "portal"


async def test_a_session_never_widens(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace, Offer())
    key = partner.keys["prod"]
    narrow = {
        "permitted": ["send"],
        "options": {"send": {"topics": ["app/order/*"], "autofill": {"x": 1}}},
        "sourceNetworks": ["192.0.2.0/24"],
        "notBefore": "2031-03-02T00:00:00Z",
        "expiresAt": "2031-04-01T00:00:00Z",
    }
    await changed(workspace, key.id, narrow)
    head = await workspace.services.journal.head()
    wider: list[tuple[dict[str, Any], str]] = [
        ({"permitted": ["send", "receive"]}, "/permitted"),
        ({"options": {"send": {"topics": ["app/order/*", "app/invoice/*"]}}}, "/options/send/topics/1"),
        ({"options": {"send": {"topics": None}}}, "/options/send/topics/0"),
        ({"options": {"send": {"autofill": {"x": True}}}}, "/options/send/autofill"),
        ({"options": {"send": {"autofill": {"x": None}}}}, "/options/send/autofill"),
        ({"sourceNetworks": None}, "/sourceNetworks"),
        ({"sourceNetworks": ["192.0.2.1", "192.0.0.0/16"]}, "/sourceNetworks/1"),
        ({"notBefore": None}, "/notBefore"),
        ({"notBefore": "2031-03-01T18:00:00Z"}, "/notBefore"),
        ({"expiresAt": None}, "/expiresAt"),
        ({"expiresAt": "2031-04-01T00:00:01Z"}, "/expiresAt"),
    ]
    for patch, wrong in wider:
        assert excess(await change(workspace, key.id, patch, headers=partner.headers)) == [wrong], patch
    every = {name: value for patch, _ in wider[:1] + wider[5:] for name, value in patch.items()}
    assert len(excess(await change(workspace, key.id, every, headers=partner.headers))) == 4
    assert await workspace.services.journal.head() == head
    for patch, _ in wider[:5]:
        await changed(workspace, key.id, patch)


async def test_a_session_rotates_suspends_delegates_and_revokes(workspace: Tenant) -> None:
    partner = await join(workspace)
    key = partner.keys["prod"]
    new = held(await post(workspace, partner, f"/{key.id}/rotate", {"overlapSeconds": 60}))
    assert await code(workspace, new.secret) == "valid"
    part = held(await post(workspace, partner, f"/{new.id}/delegate", {"permitted": ["receive"]}))
    assert (part.data["parentId"], part.data["partnerId"]) == (new.id, partner.id)
    assert excess(await post(workspace, partner, f"/{part.id}/delegate", {"permitted": ["send"]})) == ["/permitted"]
    for what, body, said in [
        ("suspend", {"reason": "x"}, "suspended"),
        ("reinstate", {}, "valid"),
        ("revoke", {"reason": "x"}, "revoked"),
    ]:
        answer = await post(workspace, partner, f"/{new.id}/{what}", body)
        assert answer.status_code == 200, answer.text
        assert [await code(workspace, each.secret) for each in (new, part)] == [said, said]
    usage = await workspace.api.get(f"{KEYS}/{key.id}/usage", headers=partner.headers)
    assert usage.status_code == 200


async def test_a_session_issues_verifies_and_manages_nothing(workspace: Tenant) -> None:
    partner = await join(workspace)
    body = {"kind": "service", "partnerId": partner.id, "environment": "dev"}
    problem(await post(workspace, partner, "", body), 403, "permission-missing")
    problem(await post(workspace, partner, "/verify", {"key": "x"}), 403, "permission-missing")
    for path in ("partners", "integrations", "links", "workspace", "roles", "audit/events"):
        answer = await workspace.api.get(f"/api/v1/{path}", headers=partner.headers)
        problem(answer, 403, "permission-missing")
    for path in ("/self/rotate", "/self/delegate"):
        problem(await post(workspace, partner, path), 401, "unauthenticated")


async def test_the_role_of_an_owner_is_out_of_a_sessions_reach(workspace: Tenant) -> None:
    partner = await join(workspace)
    for role in ("owner", "viewer"):
        answer = await change(workspace, partner.keys["dev"].id, {"role": role}, headers=partner.headers)
        assert answer.status_code in (400, 403)
    assert (await read(workspace, partner.keys["dev"].id))["role"] is None


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://keyfold.test.evil.test", ""])
async def test_a_page_of_another_site_does_nothing_with_the_cookie(workspace: Tenant, origin: str) -> None:
    partner = await join(workspace)
    key = partner.keys["prod"]
    answer = await post(workspace, partner, f"/{key.id}/revoke", {"reason": "x"}, Origin=origin)
    problem(answer, 403, "foreign-origin")
    problem(await workspace.api.get(KEYS, headers=partner.headers | {"Origin": origin}), 403, "foreign-origin")
    assert await code(workspace, key.secret) == "valid"
    own = await post(workspace, partner, f"/{key.id}/suspend", {"reason": "x"}, Origin="https://keyfold.test")
    assert own.status_code == 200


async def test_a_session_ends(workspace: Tenant, clock: Clock) -> None:
    partner = await join(workspace)
    path = f"{KEYS}/{partner.keys['dev'].id}"
    for wrong in ("x", partner.cookie[:-1] + ("a" if partner.cookie[-1] != "a" else "b"), workspace.owner_key):
        answer = await workspace.api.get(path, headers=partner._replace(cookie=wrong).headers)
        problem(answer, 401, "unauthenticated")
    with_key = await workspace.api.get(path, headers=partner.headers | bearer("kf_nonsense"))
    problem(with_key, 401, "unauthenticated")
    clock.advance(timedelta(hours=12))
    problem(await workspace.api.get(path, headers=partner.headers), 401, "unauthenticated")
    clock.run()
    assert (await workspace.api.get(path, headers=partner.headers)).status_code == 200
    await workspace.delete(f"/api/v1/partners/{partner.id}", reason="over")
    problem(await workspace.api.get(path, headers=partner.headers), 401, "unauthenticated")


async def test_a_sessions_keys_obey_the_limits_of_the_policy(workspace: Tenant) -> None:
    partner = await join(workspace, Offer(policy=KeyPolicy(live_keys=1)))
    key = partner.keys["prod"]
    problem(await post(workspace, partner, f"/{key.id}/delegate"), 409, "too-many-keys")
    asked = {"kind": "service", "partnerId": partner.id, "environment": "prod"}
    problem(await issue(workspace, **asked), 409, "too-many-keys")
    held(await post(workspace, partner, f"/{key.id}/rotate"))
