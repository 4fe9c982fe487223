"""A key handed on in part: with as much or less, bound to what it comes from for as long as it lives."""

from datetime import timedelta

import httpx

from keyfold.domain.filters import Filter
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rule import Options, Receive, Send

from .keys import (
    KEYS,
    NOON,
    Held,
    act,
    change,
    changed,
    code,
    delegate,
    done,
    excess,
    hears,
    held,
    issue,
    join,
    prod,
    read,
    told,
    trail,
    types,
)
from .tenant import Clock, Tenant, bearer, pointers, problem

FILTER = {"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"}
WIDE = Offer(
    ("send", "receive"),
    Options(
        send=Send(("app/order/*",), {"tenant": "t_1"}),
        receive=Receive(("app/**",), (Filter("customer.id", "eq", "c_1"),)),
    ),
)


async def parent(workspace: Tenant) -> Held:
    """A partner's key that is narrowed in all ways."""
    partner = await join(workspace, WIDE)
    return held(
        await issue(
            workspace,
            kind="service",
            partnerId=partner.id,
            environment="prod",
            tags=["orders"],
            sourceNetworks=["192.0.2.0/24"],
            expiresAt=(NOON + timedelta(days=30)).isoformat(),
        )
    )


async def test_what_isnt_asked_for_is_as_the_parent_has_it(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    above = await parent(workspace)
    part = held(await delegate(workspace, above.id)).data
    for same in ("permitted", "options", "sourceNetworks", "expiresAt", "environment", "partnerId", "integrationId"):
        assert part[same] == above.data[same], same
    assert (part["parentId"], part["kind"], part["tags"]) == (above.id, "service", [])
    assert part["id"] != above.id
    assert await types(workspace, above.id) == ["issued", "delegated"]
    assert (await trail(workspace, above.id))[-1]["data"]["delegateId"] == part["id"]


async def test_a_part_has_less(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    above = await parent(workspace)
    more = {"propertyName": "total", "operator": "gt", "propertyValue": 10}
    wanted = {
        "name": "contractor",
        "purpose": "the summer",
        "tags": ["x"],
        "permitted": ["receive"],
        "options": {"receive": {"topics": ["app/order/created"], "filters": [FILTER, more]}},
        "sourceNetworks": ["192.0.2.7"],
        "expiresAt": "2031-03-08T12:00:00Z",
    }
    part = held(await delegate(workspace, above.id, **wanted))
    assert {name: part.data[name] for name in wanted} == wanted | {"sourceNetworks": ["192.0.2.7/32"]}
    here = {"address": "192.0.2.7"}
    assert await code(workspace, part.secret, action="receive", topic="app/order/created", **here) == "valid"
    assert await code(workspace, part.secret, action="receive", topic="app/order/sent", **here) == "topic-not-permitted"
    assert await code(workspace, part.secret, action="send", **here) == "action-not-permitted"
    assert await code(workspace, part.secret, address="192.0.2.8") == "network-not-allowed"


async def test_asking_for_more_is_refused_naming_each_excess_at_once(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    above = await parent(workspace)
    head = await workspace.services.journal.head()
    answer = await delegate(
        workspace,
        above.id,
        options={
            "send": {"topics": ["app/order/new", "app/**"], "autofill": {"tenant": "t_2"}},
            "receive": {"filters": []},
        },
        sourceNetworks=["192.0.2.0/25", "192.0.0.0/16"],
        expiresAt="2032-01-01T00:00:00Z",
    )
    assert excess(answer) == [
        "/options/send/topics/1",
        "/options/send/autofill",
        "/options/receive/filters",
        "/sourceNetworks/1",
        "/expiresAt",
    ]
    assert excess(await delegate(workspace, above.id, permitted=["send", "schema"])) == ["/permitted"]
    assert excess(await delegate(workspace, above.id, sourceNetworks=[])) == ["/sourceNetworks"]
    assert pointers(await delegate(workspace, above.id, sourceNetworks=["all"])) == ["/sourceNetworks/0"]
    assert pointers(await delegate(workspace, above.id, options={"send": {"topics": ["a b"]}})) == [
        "/options/send/topics/0"
    ]
    assert await workspace.services.journal.head() == head


async def test_a_part_is_never_changed_to_more_than_its_parent(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    above = await parent(workspace)
    part = held(await delegate(workspace, above.id, sourceNetworks=["192.0.2.7"], expiresAt="2031-03-08T12:00:00Z"))
    wider = {"options": {"receive": {"topics": ["**"]}}, "sourceNetworks": None, "expiresAt": None}
    assert excess(await change(workspace, part.id, wider)) == [
        "/options/receive/topics/0",
        "/sourceNetworks",
        "/expiresAt",
    ]
    assert excess(await change(workspace, part.id, {"sourceNetworks": ["192.0.2.9", "8.8.8.8"]})) == [
        "/sourceNetworks/1"
    ]
    as_above = {name: above.data[name] for name in ("sourceNetworks", "expiresAt")}
    assert (await changed(workspace, part.id, as_above))["sourceNetworks"] == ["192.0.2.0/24"]


async def test_a_part_narrows_with_its_parent_at_once_in_every_process(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    key = await prod(workspace)
    part = held(await delegate(workspace, (held(await delegate(workspace, key.id))).id))
    clients = (workspace.api, other_process)
    question = {"action": "send", "topic": "app/order/new", "address": "192.0.2.7"}
    for client in clients:
        assert (await told(client, workspace, part.secret, **question))["code"] == "valid"
    events = await types(workspace, part.id)
    for patch, said in [
        ({"options": {"send": {"topics": ["app/invoice/*"]}}}, "beyond-parent"),
        ({"options": {"send": {"topics": ["**"]}}}, "valid"),
        ({"permitted": ["receive"]}, "beyond-parent"),
        ({"permitted": ["receive", "send"]}, "valid"),
        ({"sourceNetworks": ["203.0.113.0/24"]}, "network-not-allowed"),
        ({"sourceNetworks": None}, "valid"),
        ({"notBefore": "2100-01-01T00:00:00Z"}, "parent-pending"),
        ({"notBefore": None}, "valid"),
    ]:
        await changed(workspace, key.id, patch)
        await hears(other_process, workspace, part.secret, said, **question)
        for client in clients:
            verdict = await told(client, workspace, part.secret, **question)
            assert verdict["code"] == said, patch
            assert verdict["rule"]["level"] == ("key" if said == "valid" else "parent")
            assert verdict["rule"]["id"] == (part.id if said == "valid" else key.id)
    assert await types(workspace, part.id) == events


async def test_a_key_narrows_with_the_rule_of_its_integration_at_once_in_every_process(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    partner = await join(workspace, Offer())
    key = partner.keys["prod"]
    part = held(await delegate(workspace, key.id))
    path = f"/api/v1/integrations/{partner.integration_id}"
    question = {"action": "send", "topic": "app/order/new"}
    for prod_rule, said in [
        ({"options": {"send": {"topics": ["app/invoice/*"]}}}, "beyond-integration"),
        ({"options": {"send": {"topics": ["app/order/*"]}}}, "valid"),
        ({"permitted": ["receive"]}, "beyond-integration"),
        ({"permitted": ["receive", "send"]}, "valid"),
    ]:
        await changed(workspace, path, {"environments": {"prod": prod_rule}})
        for client in (workspace.api, other_process):
            for each in (key, part):
                if client is other_process:
                    await hears(client, workspace, each.secret, said, **question)
                verdict = await told(client, workspace, each.secret, **question)
                assert verdict["code"] == said
                if said != "valid":
                    assert verdict["rule"] == {"level": "integration", "id": partner.integration_id}
    assert await types(workspace, key.id) == ["issued", "delegated"]


async def test_a_part_ends_when_its_parent_expires(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=86400)))
    part = held(await delegate(workspace, key.id))
    await changed(workspace, key.id, {"expiresAt": "2031-03-01T13:00:00Z"})
    assert (await workspace.verdict(part.secret))["remainingSeconds"] == 3600
    clock.set(NOON + timedelta(hours=1))
    verdict = await workspace.verdict(part.secret)
    assert (verdict["code"], verdict["rule"]) == ("parent-expired", {"level": "parent", "id": key.id})
    assert verdict["remainingSeconds"] == 0


async def test_a_key_is_handed_on_twice_and_not_further(workspace: Tenant) -> None:
    key = await prod(workspace)
    child = held(await delegate(workspace, key.id))
    grandchild = held(await delegate(workspace, child.id))
    problem(await delegate(workspace, grandchild.id), 409, "too-many-keys")


async def test_fifty_parts_of_a_key_live_at_once(workspace: Tenant) -> None:
    key = await prod(workspace)
    parts = [held(await delegate(workspace, key.id)) for _ in range(50)]
    problem(await delegate(workspace, key.id), 409, "too-many-keys")
    await done(workspace, "revoke", parts[7].id)
    held(await delegate(workspace, key.id))


async def test_a_service_key_hands_on_itself_and_can_do_nothing_else(workspace: Tenant) -> None:
    partner = await join(workspace)
    key, api = partner.keys["prod"], workspace.api
    part = held(await api.post(f"{KEYS}/self/delegate", json={"permitted": ["send"]}, headers=key.headers))
    assert (part.data["parentId"], part.data["permitted"]) == (key.id, ["send"])
    (event,) = await trail(workspace, part.id)
    assert event["actor"] == {"kind": "key", "id": key.id, "address": "192.0.2.7"}
    below = held(await api.post(f"{KEYS}/self/delegate", json={}, headers=part.headers))
    assert below.data["parentId"] == part.id
    more = await api.post(f"{KEYS}/self/delegate", json={"permitted": ["receive"]}, headers=part.headers)
    assert excess(more) == ["/permitted"]
    myself = await api.get(f"{KEYS}/self", headers=key.headers)
    assert (myself.json()["data"]["id"], myself.headers["etag"]) == (key.id, '"2"')
    for path, permission in [
        (f"{KEYS}/{key.id}/suspend", "keys:suspend"),
        (f"{KEYS}/{part.id}/revoke", "keys:revoke"),
        (f"{KEYS}/{part.id}/rotate", "keys:rotate"),
        (f"{KEYS}/{key.id}/delegate", "keys:delegate"),
        (f"{KEYS}/verify", "keys:verify"),
        (KEYS, "keys:issue"),
    ]:
        said = problem(await api.post(path, json={"reason": "x"}, headers=key.headers), 403, "permission-missing")
        assert permission in said["detail"]
    for path in (f"{KEYS}/{key.id}", KEYS, "/api/v1/partners", "/api/v1/audit/events"):
        problem(await api.get(path, headers=key.headers), 403, "permission-missing")
    patch = await change(workspace, key.id, {"name": "x"}, headers=key.headers)
    problem(patch, 403, "permission-missing")


async def test_only_a_service_key_in_use_is_handed_on(workspace: Tenant) -> None:
    for secret in (workspace.owner_key, workspace.integration_key):
        answer = await workspace.api.post(f"{KEYS}/self/delegate", json={}, headers=bearer(secret))
        problem(answer, 400, "invalid-request")
    key = await prod(workspace)
    await done(workspace, "suspend", key.id)
    problem(await delegate(workspace, key.id), 409, "key-not-in-use")
    problem(await workspace.api.post(f"{KEYS}/self/delegate", json={}, headers=key.headers), 401, "unauthenticated")
    await done(workspace, "revoke", key.id)
    problem(await delegate(workspace, key.id), 409, "key-ended")
    problem(await act(workspace, "delegate", "key_" + "0" * 26, {}), 404, "not-found")


async def test_offboarding_the_partner_ends_the_parts_as_well(workspace: Tenant) -> None:
    partner = await join(workspace)
    part = held(await delegate(workspace, partner.keys["prod"].id))
    await workspace.delete(f"/api/v1/partners/{partner.id}", reason="over")
    assert (await read(workspace, part.id))["status"] == "revoked"
    assert await code(workspace, part.secret) == "revoked"
