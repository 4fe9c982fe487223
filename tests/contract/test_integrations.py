"""Integrations: created and changed as asked for, at once for every key, or refused by what can't be."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from keyfold.domain.permissions import ENVIRONMENTS

from .keys import change, code, hears, told
from .tenant import Tenant, bearer, pointers, position_of, problem

DEV = "/environments/dev"
LIFETIME = f"{DEV}/policy/lifetimeSeconds"


async def test_an_integration_says_what_partners_get(workspace: Tenant) -> None:
    wanted = {
        "name": "Café 書店",
        "description": "Two\nlines",
        "color": "#AABBCC",
        "icon": "https://x.test/i.svg",
        "environments": {
            "stage": {
                "permitted": ["receive", "receive"],
                "options": {"receive": {"topics": ["a/**"]}},
                "policy": {"lifetimeSeconds": 60},
            }
        },
        "linkLifetimeSeconds": 300,
    }
    answer = await workspace.post("/api/v1/integrations", wanted)
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data["presentation"] == {name: wanted[name] for name in ("description", "color", "icon")}
    stage = data["environments"]["stage"]
    assert (stage["permitted"], stage["options"]["receive"]["topics"]) == (["receive"], ["a/**"])
    assert stage["policy"]["lifetimeSeconds"] == 60
    assert (await workspace.get(f"/api/v1/integrations/{data['id']}")).json()["data"] == data
    default = (await workspace.post("/api/v1/integrations", {"name": "x"})).json()["data"]
    assert [*default["environments"]] == [*ENVIRONMENTS]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({}, "/name"),
        ({"name": "x", "color": "red"}, "/color"),
        ({"name": "x", "icon": "javascript:alert(1)"}, "/icon"),
        ({"name": "x", "description": "a\0"}, "/description"),
        ({"name": "x", "linkLifetimeSeconds": 299}, "/linkLifetimeSeconds"),
        ({"name": "x", "linkLifetimeSeconds": 10**30}, "/linkLifetimeSeconds"),
        ({"name": "x", "linkLifetimeSeconds": -(10**30)}, "/linkLifetimeSeconds"),
        ({"name": "x", "environments": {"dev": {"policy": {"lifetimeSeconds": 59}}}}, LIFETIME),
        ({"name": "x", "environments": {"dev": {"policy": {"lifetimeSeconds": 10**30}}}}, LIFETIME),
        ({"name": "x", "environments": {"dev": {"policy": {"liveKeys": 0}}}}, f"{DEV}/policy/liveKeys"),
        ({"name": "x", "environments": {"dev": {"policy": {"nameTemplate": " "}}}}, f"{DEV}/policy/nameTemplate"),
        ({"name": "x", "keyLifetimeSeconds": 60}, "/keyLifetimeSeconds"),
        ({"name": "x", "environments": {}}, "/environments"),
        ({"name": "x", "environments": {"test": {}}}, "/environments"),
        ({"name": "x", "environments": {"dev": {"permit": []}}}, "/environments"),
        (
            {"name": "x", "environments": {"dev": {"options": {"send": {"topics": ["a b"]}}}}},
            f"{DEV}/options/send/topics/0",
        ),
    ],
)
async def test_an_integration_that_cant_be_is_refused(workspace: Tenant, wanted: Any, wrong: str) -> None:
    assert pointers(await workspace.post("/api/v1/integrations", wanted)) == [wrong]


async def test_an_integration_too_large_for_a_record_is_refused_as_too_large(workspace: Tenant) -> None:
    topics = {"topics": ["a" * 200] * 100}
    rules = {each: {"options": {"send": topics, "receive": topics}} for each in ENVIRONMENTS}
    problem(await workspace.post("/api/v1/integrations", {"name": "x", "environments": rules}), 413, "record-too-large")


def path_of(workspace: Tenant) -> str:
    return f"/api/v1/integrations/{workspace.integration_id}"


def narrow(*topics: str) -> dict[str, Any]:
    """A patch of what prod offers."""
    return {"environments": {"prod": {"options": {"send": {"topics": topics}}}}}


async def test_a_change_keeps_what_it_leaves_out_and_takes_away_what_it_says_is_null(workspace: Tenant) -> None:
    before = await workspace.get(path_of(workspace))
    policy = {"policy": {"rotationSeconds": 86400, "liveKeys": 5}}
    patch = {"description": "Orders", "environments": {"prod": policy, "stage": None}, "linkLifetimeSeconds": 600}
    changed = await change(workspace, path_of(workspace), patch, match=before.headers["etag"])
    assert changed.status_code == 200
    data, old = changed.json()["data"], before.json()["data"]
    assert (data["name"], data["presentation"]["description"], data["linkLifetimeSeconds"]) == ("Shop", "Orders", 600)
    assert [*data["environments"]] == ["dev", "prod"]
    assert data["environments"]["dev"] == old["environments"]["dev"]
    prod = data["environments"]["prod"]
    assert {name: prod["policy"][name] for name in policy["policy"]} == policy["policy"]
    assert (prod["permitted"], prod["options"]) == tuple(
        old["environments"]["prod"][n] for n in ("permitted", "options")
    )
    assert (await workspace.get(path_of(workspace))).json()["data"] == data
    back = await change(workspace, path_of(workspace), {"environments": {"prod": {"policy": None}, "stage": {}}})
    assert back.json()["data"]["environments"] == old["environments"]


async def test_an_integration_is_changed_from_what_was_read(workspace: Tenant) -> None:
    path, headers = path_of(workspace), bearer(workspace.owner_key)
    problem(await workspace.api.patch(path, json={"name": "x"}, headers=headers), 428, "precondition-required")
    assert (await change(workspace, path, {"name": "first"}, match='"1"')).status_code == 200
    problem(await change(workspace, path, {"name": "second"}, match='"1"'), 412, "precondition-failed")
    assert (await change(workspace, path, {"name": "third"}, match='"1", "2"')).status_code == 200
    for wrong in ("2", '"2', "", '"2" "3"'):
        problem(await change(workspace, path, {"name": "x"}, match=wrong), 400, "invalid-request")
    assert (await workspace.get(path)).json()["data"]["name"] == "third"


@pytest.mark.parametrize("content_type", ["application/json", "application/merge-patch+json; charset=utf-8"])
async def test_a_patch_is_json_or_a_merge_patch(workspace: Tenant, content_type: str) -> None:
    answer = await change(workspace, path_of(workspace), {"name": "x"}, content_type=content_type)
    assert answer.json()["data"]["name"] == "x"
    refused = await change(workspace, path_of(workspace), {"name": "x"}, content_type="application/json-patch+json")
    problem(refused, 415, "unsupported-media-type")


async def test_a_change_that_changes_nothing_writes_nothing(workspace: Tenant) -> None:
    head = await workspace.services.journal.head()
    answer = await change(workspace, path_of(workspace), {"name": "Shop", "environments": {"prod": {}}})
    assert (answer.status_code, position_of(answer)) == (200, head)
    assert await workspace.services.journal.head() == head


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ({"name": None}, "/name"),
        ({"name": ""}, "/name"),
        ({"icon": "javascript:alert(1)"}, "/icon"),
        ({"linkLifetimeSeconds": 1}, "/linkLifetimeSeconds"),
        ({"environments": dict.fromkeys(ENVIRONMENTS)}, "/environments"),
        ({"environments": {"test": {}}}, "/environments"),
        ({"environments": {"dev": {"policy": {"lifetimeSeconds": 59}}}}, LIFETIME),
        ({"environments": {"dev": {"options": {"send": {"topics": ["a b"]}}}}}, f"{DEV}/options/send/topics/0"),
        ({"environments": {"dev": {"options": {"send": {"topic": ["a"]}}}}}, "/environments"),
        ({"id": "int_1"}, "/id"),
    ],
)
async def test_a_change_to_what_cant_be_is_refused(workspace: Tenant, patch: Any, wrong: str) -> None:
    head = await workspace.services.journal.head()
    assert pointers(await change(workspace, path_of(workspace), patch)) == [wrong]
    assert await workspace.services.journal.head() == head


async def test_a_smaller_rule_is_in_force_at_once_for_keys_that_exist_in_every_process(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    _, keys = await workspace.onboard()
    prod, dev = keys["prod"]["secret"], keys["dev"]["secret"]
    asked = {"action": "send", "topic": "app/order/created"}
    for client in (workspace.api, other_process):  # it is in the memory of both by now
        for secret in (prod, dev):
            assert (await told(client, workspace, secret, **asked))["code"] == "valid"
    assert (await change(workspace, path_of(workspace), narrow("app/refund/**"))).status_code == 200
    verdict = await workspace.verdict(prod, **asked)
    assert (verdict["code"], verdict["rule"]["level"], verdict["rule"]["id"]) == (
        "beyond-integration",
        "integration",
        workspace.integration_id,
    )
    await hears(other_process, workspace, prod, "beyond-integration", **asked)
    assert await code(workspace, prod, action="send", topic="app/refund/made") == "valid"
    assert await code(workspace, dev, **asked) == "valid"
    key = (await workspace.get(f"/api/v1/keys/{keys['prod']['id']}")).json()["data"]
    assert key["options"] == keys["prod"]["options"]  # what the key has stays written; the rule is asked at its use
    assert (await change(workspace, path_of(workspace), narrow("**"))).status_code == 200
    assert await code(workspace, prod, **asked) == "valid"


async def test_an_environment_that_isnt_offered_any_more_refuses_its_keys(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    assert (await change(workspace, path_of(workspace), {"environments": {"prod": None}})).status_code == 200
    assert await code(workspace, keys["prod"]["secret"]) == "environment-not-offered"
    assert await code(workspace, keys["dev"]["secret"]) == "valid"


async def test_a_new_lifetime_is_for_keys_that_are_issued_from_now_on(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    patch = {"environments": {"dev": {"policy": {"lifetimeSeconds": 3600}}}}
    assert (await change(workspace, path_of(workspace), patch)).status_code == 200
    old = (await workspace.get(f"/api/v1/keys/{keys['dev']['id']}")).json()["data"]
    assert old["expiresAt"] is None
    wanted = {"kind": "service", "partnerId": partner_id, "environment": "dev"}
    new = (await workspace.post("/api/v1/keys", wanted)).json()["data"]
    lives = datetime.fromisoformat(new["expiresAt"]) - datetime.fromisoformat(new["issuedAt"])
    assert lives == timedelta(hours=1)


async def test_a_change_is_told_with_before_and_after(workspace: Tenant) -> None:
    answer = await change(workspace, path_of(workspace), {"name": "Store"})
    asked = {"type": "integration.changed.v1", "minPosition": position_of(answer)}
    (event,) = (await workspace.get("/api/v1/audit/events", **asked)).json()["data"]
    assert (event["data"]["before"], event["data"]["after"]) == ({"name": "Shop"}, {"name": "Store"})


@pytest.mark.parametrize("what", ["integration", "role", "workspace"])
async def test_of_many_changes_at_once_from_one_reading_one_is_done(workspace: Tenant, what: str) -> None:
    role = await workspace.post("/api/v1/roles", {"name": "x", "permissions": []})
    paths = {"integration": path_of(workspace), "workspace": "/api/v1/workspace"}
    path = paths.get(what) or f"/api/v1/roles/{role.json()['data']['id']}"
    at = (await workspace.get(path)).headers["etag"]
    answers = await asyncio.gather(*[change(workspace, path, {"name": f"n{n}"}, match=at) for n in range(5)])
    (done,) = [answer for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer is not done:
            problem(answer, 412, "precondition-failed")
    assert (await workspace.get(path)).json()["data"]["name"] == done.json()["data"]["name"]
