"""The key document: given, read, changed by merge patch, each change an event, and never beyond the rule above it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from keyfold.domain.filters import Filter
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rule import (
    CachedQueries,
    Dataset,
    Datasets,
    Options,
    Queries,
    Receive,
    SavedQueries,
    Send,
)

from .keys import KEYS, NOON, change, changed, code, excess, held, issue, join, prod, read, trail, types
from .tenant import Clock, Tenant, bearer, pointers, problem

DOCUMENT: dict[str, Any] = {
    "name": "orders-sync",
    "purpose": "Keeps the orders in step.\nAsk Ann.",
    "tags": ["orders", "critical"],
    "permitted": ["receive", "send"],
    "options": {
        "send": {"topics": ["app/order/*"], "autofill": {"customer": {"id": "c_1", "vip": True}}},
        "receive": {
            "topics": ["app/fulfillment/**"],
            "filters": [{"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"}],
            "history": {"since": "2031-01-01T00:00:00Z", "seconds": 3600},
        },
    },
    "sourceNetworks": ["192.0.2.0/24", "2001:db8::/32"],
    "notBefore": "2031-02-01T00:00:00Z",
    "expiresAt": "2032-01-01T00:00:00Z",
}
SHAPES: dict[str, dict[str, Any]] = {
    "queries": {"filters": [{"propertyName": "a", "operator": "in", "propertyValue": [1, "x"]}]},
    "savedQueries": {
        "allowed": ["daily", "weekly"],
        "blocked": ["secret"],
        "filters": [{"propertyName": "b", "operator": "exists", "propertyValue": True}],
    },
    "cachedQueries": {"allowed": ["top"], "blocked": ["raw"]},
    "datasets": {
        "operations": ["read", "list"],
        "allowed": {"orders": {"indexBy": {"region": ["eu", "us"]}}},
        "blocked": ["salaries"],
    },
}
OTHERS = (*SHAPES, "schema")


async def service(workspace: Tenant, **wanted: Any) -> Any:
    partner = await join(workspace)
    return await issue(workspace, kind="service", partnerId=partner.id, environment="prod", **wanted)


async def test_a_document_is_read_as_it_was_given_and_stands_in_the_event(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = held(await service(workspace, **DOCUMENT))
    answer = await workspace.get(f"{KEYS}/{key.id}")
    data = answer.json()["data"]
    assert {name: data[name] for name in DOCUMENT} == DOCUMENT
    assert (data["isActive"], data["status"], data["environment"]) == (True, "active", "prod")
    assert "secret" not in data
    assert answer.headers["etag"] == '"1"'
    (event,) = await trail(workspace, key.id)
    assert event["data"]["rule"]["options"] == DOCUMENT["options"]
    assert event["data"]["tags"] == DOCUMENT["tags"]
    assert key.secret not in str(event)


async def test_a_key_is_changed_field_by_field_and_each_change_is_an_event_with_before_and_after(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    key = held(await service(workspace, **DOCUMENT))
    moves: list[tuple[dict[str, Any], Any, Any]] = [
        ({"name": "orders"}, "orders-sync", "orders"),
        ({"purpose": None}, DOCUMENT["purpose"], None),
        ({"tags": ["b", "a", "b"]}, ["orders", "critical"], ["b", "a"]),
        (
            {"sourceNetworks": ["10.0.0.1", "2001:DB8::/32"]},
            DOCUMENT["sourceNetworks"],
            ["10.0.0.1/32", "2001:db8::/32"],
        ),
        ({"notBefore": None}, DOCUMENT["notBefore"], None),
        ({"expiresAt": "2031-06-01T02:00:00+02:00"}, DOCUMENT["expiresAt"], "2031-06-01T00:00:00Z"),
    ]
    for patch, before, after in moves:
        ((field, _),) = patch.items()
        assert (await changed(workspace, key.id, patch))[field] == after
        assert (await read(workspace, key.id))[field] == after
        event = (await trail(workspace, key.id))[-1]
        assert event["type"] == "key.changed.v1"
        assert (event["data"]["before"], event["data"]["after"]) == ({field: before}, {field: after})
    assert await types(workspace, key.id) == ["issued", *["changed"] * len(moves)]


async def test_a_merge_patch_goes_into_the_options_and_leaves_the_rest(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = held(await service(workspace, **DOCUMENT))
    patch = {"options": {"send": {"autofill": {"customer": {"vip": None}, "source": "erp"}}}}
    options = (await changed(workspace, key.id, patch))["options"]
    assert options["send"] == {"topics": ["app/order/*"], "autofill": {"customer": {"id": "c_1"}, "source": "erp"}}
    assert options["receive"] == DOCUMENT["options"]["receive"]
    options = (await changed(workspace, key.id, {"options": {"receive": {"filters": None, "history": None}}}))[
        "options"
    ]
    assert options["receive"] == {"topics": ["app/fulfillment/**"]}
    event = (await trail(workspace, key.id))[-1]["data"]
    assert ([*event["before"]], [*event["after"]]) == (["rule"], ["rule"])
    assert (await changed(workspace, key.id, {"permitted": ["send"]}))["options"] == {"send": options["send"]}


async def test_nothing_changed_is_nothing_appended(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = held(await service(workspace, **DOCUMENT))
    head = await workspace.services.journal.head()
    same = {"expiresAt": "2032-01-01T01:00:00+01:00", "sourceNetworks": ["192.0.2.0/24", "2001:DB8:0::/32"]}
    for patch in ({}, DOCUMENT, same, {"isActive": True}):
        assert (await changed(workspace, key.id, patch))["name"] == "orders-sync"
    assert await workspace.services.journal.head() == head
    assert (await workspace.get(f"{KEYS}/{key.id}")).headers["etag"] == '"1"'


async def test_a_change_says_what_it_is_made_from(workspace: Tenant) -> None:
    key = await prod(workspace)
    path, headers = f"{KEYS}/{key.id}", bearer(workspace.owner_key)
    problem(await workspace.api.patch(path, json={"name": "x"}, headers=headers), 428, "precondition-required")
    problem(await change(workspace, key.id, {"name": "x"}, match='"2"'), 412, "precondition-failed")
    for wrong in ("1", "", "W/1", '"1'):
        problem(await change(workspace, key.id, {"name": "x"}, match=wrong), 400, "invalid-request")
    first = (await workspace.get(path)).headers["etag"]
    assert (await change(workspace, key.id, {"name": "ours"}, match=first)).status_code == 200
    problem(await change(workspace, key.id, {"name": "theirs"}, match=first), 412, "precondition-failed")
    assert (await change(workspace, key.id, {"name": "mine"}, match='"7", "2"')).status_code == 200
    assert (await change(workspace, key.id, {"name": "whose"}, match="*")).json()["data"]["name"] == "whose"
    assert (await read(workspace, key.id))["name"] == "whose"


async def test_a_change_comes_as_a_merge_patch_or_as_json(workspace: Tenant) -> None:
    key = await prod(workspace)
    for media_type in ("application/merge-patch+json", "application/json", "application/json; charset=utf-8"):
        answer = await change(workspace, key.id, {"purpose": media_type}, content_type=media_type)
        assert answer.json()["data"]["purpose"] == media_type
    for media_type in ("text/plain", "application/json-patch+json", ""):
        answer = await change(workspace, key.id, {"purpose": "x"}, content_type=media_type)
        problem(answer, 415, "unsupported-media-type")
    wrong = await workspace.api.post(
        KEYS, content="{}", headers=bearer(workspace.owner_key) | {"Content-Type": "application/merge-patch+json"}
    )
    problem(wrong, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ({"secret": "mine"}, ["/secret"]),
        ({"environment": "dev"}, ["/environment"]),
        ({"options": {"send": {"topic": ["a"]}}}, ["/options/send/topic"]),
        ({"options": {"schema": {}}}, ["/options/schema"]),
        ({"name": None}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "x" * 257}, ["/name"]),
        ({"name": 7}, ["/name"]),
        ({"isActive": None}, ["/isActive"]),
        ({"isActive": "no"}, ["/isActive"]),
        ({"permitted": None}, ["/permitted"]),
        ({"permitted": ["fly"]}, ["/permitted/0"]),
        ({"options": None}, ["/options"]),
        ({"options": {"send": {"topics": []}}}, ["/options/send/topics"]),
        ({"options": {"send": {"topics": ["a//b"]}}}, ["/options/send/topics/0"]),
        ({"options": {"send": {"autofill": []}}}, ["/options/send/autofill"]),
        ({"options": {"receive": {"filters": [{"propertyName": "a", "operator": "like", "propertyValue": 1}]}}},
         ["/options/receive/filters/0/operator"]),
        ({"options": {"receive": {"filters": [{"propertyName": "a", "operator": "in", "propertyValue": 1}]}}},
         ["/options/receive/filters/0/propertyValue"]),
        ({"options": {"receive": {"history": {"seconds": 0}}}}, ["/options/receive/history/seconds"]),
        ({"options": {"datasets": {"operations": ["drop"]}}}, ["/options/datasets/operations/0"]),
        ({"tags": ["x" * 65]}, ["/tags/0"]),
        ({"tags": ["ok", ""]}, ["/tags/1"]),
        ({"tags": [str(n) for n in range(21)]}, ["/tags"]),
        ({"sourceNetworks": ["10.0.0.0/8", "10.0.0.1/8"]}, ["/sourceNetworks/1"]),
        ({"sourceNetworks": ["everywhere"]}, ["/sourceNetworks/0"]),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, ["/expiresAt"]),
        ({"expiresAt": "2040-01-01T00:00:00"}, ["/expiresAt"]),
        ({"expiresAt": "2040-01-01T00:00:00Z", "notBefore": "2040-01-01T00:00:00Z"}, ["/notBefore"]),
        ({"conditions": {"environments": ["dev"]}}, ["/conditions"]),
        ({"conditions": {"environments": ["mars"]}}, ["/conditions/environments/0"]),
        ({"conditions": {"planets": []}}, ["/conditions/planets"]),
        ({"role": "owner"}, ["/role"]),
        ({"role": "viewer"}, ["/role"]),
        ([], [""]),
    ],
)  # fmt: skip
async def test_a_wrong_patch_is_refused_by_its_name_and_changes_nothing(
    workspace: Tenant, patch: Any, wrong: list[str]
) -> None:
    key = await prod(workspace)
    head = await workspace.services.journal.head()
    assert pointers(await change(workspace, key.id, patch)) == wrong
    assert await workspace.services.journal.head() == head


async def test_what_a_key_that_manages_has_and_has_not(workspace: Tenant) -> None:
    wanted: dict[str, Any] = {"name": "x", "kind": "account", "role": "viewer"}
    key = held(await issue(workspace, **wanted, conditions={"environments": ["dev"]}))
    assert key.data["conditions"] == {"environments": ["dev"]}
    after = await changed(workspace, key.id, {"conditions": {"partners": []}, "role": "auditor"})
    assert (after["conditions"], after["role"]) == ({"environments": ["dev"], "partners": []}, "auditor")
    assert (await changed(workspace, key.id, {"conditions": None}))["conditions"] is None
    assert pointers(await change(workspace, key.id, {"permitted": ["send"]})) == ["/permitted"]
    assert pointers(await issue(workspace, **wanted, permitted=["send"])) == ["/permitted"]
    inviter = held(await issue(workspace, name="x", kind="integration", integrationId=workspace.integration_id))
    assert pointers(await change(workspace, inviter.id, {"role": "owner"})) == ["/role"]
    assert pointers(await issue(workspace, **wanted | {"kind": "service", "environment": "dev"})) == [
        "/partnerId",
        "/role",
    ]


async def test_is_active_suspends_and_reinstates(workspace: Tenant) -> None:
    key = await prod(workspace)
    data = await changed(workspace, key.id, {"isActive": False, "name": "on leave"})
    assert (data["isActive"], data["status"], data["suspendedBy"], data["name"]) == (
        False,
        "suspended",
        "own",
        "on leave",
    )
    assert await code(workspace, key.secret) == "suspended"
    data = await changed(workspace, key.id, {"name": "still on leave"})
    assert (data["isActive"], data["name"]) == (False, "still on leave")
    data = await changed(workspace, key.id, {"isActive": True})
    assert (data["isActive"], data["status"], data["suspendedBy"]) == (True, "active", None)
    assert await code(workspace, key.secret) == "valid"
    assert await types(workspace, key.id) == ["issued", "changed", "suspended", "changed", "reinstated"]


async def test_what_has_ended_is_changed_no_more(workspace: Tenant) -> None:
    key = await prod(workspace)
    await workspace.post(f"{KEYS}/{key.id}/revoke", {"reason": "leaked"})
    for patch in ({"name": "x"}, {"isActive": True}, {}):
        problem(await change(workspace, key.id, patch), 409, "key-ended")


async def test_an_expiry_lies_within_the_policy_and_takes_effect_at_the_instant(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    key = await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=86400)))
    end = NOON + timedelta(days=1)
    assert datetime.fromisoformat(key.data["expiresAt"]) == end
    for beyond in ("2031-03-02T12:00:01Z", None):
        assert excess(await change(workspace, key.id, {"expiresAt": beyond})) == ["/expiresAt"]
    await changed(workspace, key.id, {"expiresAt": "2031-03-01T18:00:00Z"})
    await changed(workspace, key.id, {"expiresAt": end.isoformat()})
    clock.set(end - timedelta(microseconds=1))
    assert await code(workspace, key.secret) == "valid"
    clock.set(end)
    assert await code(workspace, key.secret) == "expired"


FILTER = {"propertyName": "customer.id", "operator": "eq", "propertyValue": 1}
ONE = Filter("customer.id", "eq", 1)
NARROW = Offer(
    ("send", "receive", *SHAPES),  # type: ignore[arg-type]  # they are actions
    Options(
        send=Send(("app/order/*",), {"tenant": 1}),
        receive=Receive(("app/**",), (ONE,)),
        queries=Queries((ONE,)),
        saved_queries=SavedQueries(("daily", "weekly"), ("secret",), (ONE,)),
        cached_queries=CachedQueries(("top",), ("raw",)),
        datasets=Datasets(("read", "list"), {"orders": Dataset({"region": ("eu", "us")})}, ("salaries",)),
    ),
)
BEYOND: list[tuple[str, dict[str, Any], list[str]]] = [
    ("send", {"topics": ["app/order/*", "app/**"]}, ["topics/1"]),
    ("send", {"autofill": {"tenant": 2}}, ["autofill"]),
    ("send", {"autofill": {"tenant": True}}, ["autofill"]),
    ("receive", {"topics": ["**"], "filters": []}, ["topics/0", "filters"]),
    ("receive", {"filters": [FILTER | {"propertyValue": True}]}, ["filters"]),
    ("queries", {"filters": []}, ["filters"]),
    ("savedQueries", {"allowed": ["daily", "mine"]}, ["allowed"]),
    ("savedQueries", {"blocked": [], "filters": []}, ["filters", "blocked"]),
    ("cachedQueries", {"allowed": ["raw"], "blocked": []}, ["allowed", "blocked"]),
    ("datasets", {"operations": ["read", "delete"]}, ["operations"]),
    ("datasets", {"allowed": {"orders": {"indexBy": {"region": ["asia"]}}}}, ["allowed/orders/indexBy/region"]),
]


@pytest.mark.parametrize(("action", "options", "wrong"), BEYOND)
async def test_asking_for_more_than_the_rule_is_refused_with_each_excess(
    workspace: Tenant, action: str, options: dict[str, Any], wrong: list[str]
) -> None:
    partner = await join(workspace, NARROW)
    head = await workspace.services.journal.head()
    asked = {"options": {action: options}}
    issued = await issue(workspace, kind="service", partnerId=partner.id, environment="prod", **asked)
    patched = await change(workspace, partner.keys["prod"].id, asked)
    assert excess(issued) == excess(patched) == [f"/options/{action}/{each}" for each in wrong]
    assert await workspace.services.journal.head() == head


async def test_an_action_beyond_the_rule_is_refused_by_name(workspace: Tenant) -> None:
    key = await prod(workspace, NARROW)
    answer = await change(workspace, key.id, {"permitted": ["send", "schema"]})
    assert excess(answer) == ["/permitted"]
    assert "schema" in answer.text


async def test_the_other_actions_are_kept_in_full_and_not_available_yet(workspace: Tenant) -> None:
    partner = await join(workspace, Offer(("send", *OTHERS)))  # type: ignore[arg-type]  # they are actions
    asked = {"kind": "service", "partnerId": partner.id, "environment": "prod", "options": SHAPES}
    key = held(await issue(workspace, **asked))
    data = await read(workspace, key.id)
    assert data["permitted"] == ["send", *OTHERS]
    assert data["options"] == {"send": {"topics": ["**"]}, **SHAPES}
    fewer = await changed(workspace, key.id, {"options": {"datasets": {"operations": ["read"]}}})
    assert fewer["options"]["datasets"] == {**SHAPES["datasets"], "operations": ["read"]}
    for action in OTHERS:
        assert await code(workspace, key.secret, action=action) == "action-not-available"
    assert await code(workspace, key.secret, action="receive") == "action-not-permitted"
