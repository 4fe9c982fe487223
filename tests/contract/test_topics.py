"""The topic catalogue: described, held to, changed within what was promised, seen by those whose it is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from integration.support import LIMIT
from keyfold.app.schemas import SchemaViolation
from keyfold.web.services import Services

from .conftest import System
from .keys import change, held, issue
from .routes import NOWHERE
from .tenant import Tenant, bearer, pointers, position_of, problem, running

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["orderId"],
    "properties": {"orderId": {"type": "string"}, "total": {"type": "number"}},
}
WIDER = ORDER | {"properties": ORDER["properties"] | {"orderId": {"type": ["string", "integer"]}}}
NARROWER = ORDER | {"required": ["orderId", "total"]}


@pytest_asyncio.fixture(loop_scope="package")
async def other(system: System) -> AsyncIterator[Services]:
    """A second API process on the same Postgres and NATS."""
    async with running(system.settings, system.clock) as (services, _):
        yield services


async def describe(workspace: Tenant, name: str = "app/order/created", **wanted: Any) -> httpx.Response:
    return await workspace.post(f"/api/v1/integrations/{workspace.integration_id}/topics", {"name": name, **wanted})


async def described(workspace: Tenant, name: str = "app/order/created", **wanted: Any) -> Any:
    answer = await describe(workspace, name, **wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def add(workspace: Tenant, topic: Any, schema: Any, **more: Any) -> httpx.Response:
    return await workspace.post(f"/api/v1/topics/{topic['id']}/schemas", {"schema": schema, **more})


async def violations(services: Services, key: Any, data: Any, topic: str = "app/order/created") -> list[str]:
    """Where the data isn't as the schema says."""
    known = await services.verifier.find_id(key["id"])
    assert known is not None
    try:
        await services.catalogue.demand_valid(known, topic, data)
    except SchemaViolation as refused:
        return [pointer for pointer, _ in refused.fields]
    return []


async def test_a_topic_is_described_read_and_listed(workspace: Tenant) -> None:
    answer = await describe(
        workspace, description="Came in", direction="send", schema=ORDER, examples=[{"orderId": "o_1"}]
    )
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data == {
        "id": data["id"],
        "integrationId": workspace.integration_id,
        "name": "app/order/created",
        "description": "Came in",
        "direction": "send",
        "deprecated": False,
        "status": "active",
        "examples": [{"orderId": "o_1"}],
        "schemas": [{"version": 1, "schema": ORDER, "since": data["schemas"][0]["since"], "compatibility": "backward"}],
    }
    read = await workspace.get(f"/api/v1/topics/{data['id']}")
    assert (read.json()["data"], read.headers["etag"]) == (data, '"2"')
    bare = await describe(workspace, "app/plain")
    listed = await workspace.get(
        f"/api/v1/integrations/{workspace.integration_id}/topics", minPosition=position_of(bare)
    )
    assert [(each["name"], each["schemaVersion"]) for each in listed.json()["data"]] == [
        ("app/plain", None),
        ("app/order/created", 1),
    ]


async def test_events_are_held_to_the_newest_version_at_once_in_every_process(
    workspace: Tenant, services: Services, other: Services
) -> None:
    _, keys = await workspace.onboard()
    dev = keys["dev"]
    for process in (services, other):
        assert await violations(process, dev, 5) == []
    topic = await described(workspace, schema=ORDER)
    assert await violations(services, dev, {"orderId": 5}) == ["/orderId"]
    await hears(other, dev, {"orderId": 5}, ["/orderId"])
    for process in (services, other):
        assert await violations(process, keys["prod"], {"orderId": "o"}) == []
        assert await violations(process, dev, {}) == [""]
        assert await violations(process, dev, msgspec.UNSET) == [""]
        assert await violations(process, dev, {}, "app/order/other") == []
    assert (await add(workspace, topic, WIDER)).status_code == 201
    assert await violations(services, dev, {"orderId": 5}) == []
    await hears(other, dev, {"orderId": 5}, [])
    await workspace.delete(f"/api/v1/topics/{topic['id']}")
    assert await violations(services, dev, 5) == []
    await hears(other, dev, 5, [])


async def hears(services: Services, key: Any, data: Any, expected: list[str]) -> None:
    """Once a process has heard of another's writes."""
    async with asyncio.timeout(LIMIT):
        while await violations(services, key, data) != expected:
            await asyncio.sleep(0.001)


async def test_a_schema_that_refuses_what_was_valid_is_refused_by_its_places_unless_no_promise_is_asked_for(
    workspace: Tenant,
) -> None:
    topic = await described(workspace, schema=ORDER)
    refused = problem(await add(workspace, topic, NARROWER), 409, "schema-incompatible")
    assert [each["pointer"] for each in refused["errors"]] == ["/schema/required"]
    made = await add(workspace, topic, NARROWER, compatibility="none")
    assert [each["compatibility"] for each in made.json()["data"]["schemas"]] == ["backward", "none"]
    again = await add(workspace, topic, NARROWER)
    assert position_of(again) == position_of(made)


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"name": "app//x"}, ["/name"]),
        ({"name": "app/*"}, ["/name"]),
        ({"name": "a", "direction": "up"}, ["/direction"]),
        ({"name": "a", "schemas": []}, ["/schemas"]),
        ({"name": "a", "examples": [1] * 21}, ["/examples"]),
        ({"name": "a", "examples": ["x" * 16_384]}, ["/examples"]),
        ({"name": "a", "schema": True}, ["/schema"]),
        ({"name": "a", "schema": {"typ": "object"}}, ["/schema/typ"]),
        ({"name": "a", "schema": {"type": "text"}}, ["/schema/type"]),
        ({"name": "a", "schema": {"pattern": "(?=a)"}}, ["/schema/pattern"]),
        ({"name": "a", "schema": {"$ref": "https://x.test/a"}}, ["/schema/$ref"]),
        ({"name": "a", "schema": {"items": {"$ref": "#"}}}, ["/schema"]),
        ({"name": "a", "schema": {"$comment": "x" * 32_768}}, ["/schema"]),
    ],
)
async def test_a_topic_that_cant_be_is_refused(workspace: Tenant, wanted: Any, wrong: list[str]) -> None:
    assert pointers(await workspace.post(f"/api/v1/integrations/{workspace.integration_id}/topics", wanted)) == wrong


async def test_a_name_is_taken_once_even_by_two_at_once_and_free_again_after_withdrawal(workspace: Tenant) -> None:
    answers = await asyncio.gather(*[describe(workspace) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    problem(next(answer for answer in answers if answer.status_code == 409), 409, "topic-taken")
    topic = next(answer for answer in answers if answer.status_code == 201).json()["data"]
    withdrawn = await workspace.delete(f"/api/v1/topics/{topic['id']}")
    assert (withdrawn.status_code, withdrawn.json()["data"]["status"]) == (200, "withdrawn")
    again = await workspace.delete(f"/api/v1/topics/{topic['id']}")
    assert position_of(again) == position_of(withdrawn)
    problem(await add(workspace, topic, ORDER), 409, "topic-withdrawn")
    problem(await change_topic(workspace, topic, {"deprecated": True}), 409, "topic-withdrawn")
    assert (await described(workspace))["id"] != topic["id"]


async def change_topic(workspace: Tenant, topic: Any, patch: Any) -> httpx.Response:
    return await change(workspace, f"/api/v1/topics/{topic['id']}", patch, match="*")


async def test_a_request_made_twice_with_one_idempotency_key_adds_one_topic(workspace: Tenant) -> None:
    path, body = f"/api/v1/integrations/{workspace.integration_id}/topics", {"name": "a", "schema": ORDER}
    first = await workspace.post(path, body, Idempotency_Key="once")
    second = await workspace.post(path, body, Idempotency_Key="once")
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_topic_is_changed_from_what_was_read(workspace: Tenant) -> None:
    topic = await described(workspace, description="Came in", examples=[{"orderId": "o"}], schema=ORDER)
    path = f"/api/v1/topics/{topic['id']}"
    problem(await change(workspace, path, {"deprecated": True}, match='"1"'), 412, "precondition-failed")
    answer = await change(workspace, path, {"deprecated": True, "description": None}, match='"2"')
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["deprecated"], data["description"], data["examples"]) == (True, "", [{"orderId": "o"}])
    assert answer.headers["etag"] == '"3"'
    refused = problem(await change_topic(workspace, topic, {"examples": [{"orderId": 5}]}), 422, "schema-violation")
    assert [each["pointer"] for each in refused["errors"]] == ["/examples/0/orderId"]
    assert pointers(await change_topic(workspace, topic, {"name": "other"})) == ["/name"]


async def test_the_examples_are_always_as_the_newest_version_says(workspace: Tenant) -> None:
    problem(await describe(workspace, schema=ORDER, examples=[{}]), 422, "schema-violation")
    topic = await described(workspace, schema=ORDER, examples=[{"orderId": "o"}])
    body = {"compatibility": "none"}
    refused = problem(await add(workspace, topic, NARROWER, **body), 422, "schema-violation")
    assert [each["pointer"] for each in refused["errors"]] == ["/examples/0"]
    replaced = await add(workspace, topic, NARROWER, **body, examples=[{"orderId": "o", "total": 1}])
    assert replaced.json()["data"]["examples"] == [{"orderId": "o", "total": 1}]


async def test_a_schema_and_examples_are_tried_without_consequence(workspace: Tenant) -> None:
    topic = await described(workspace, schema=ORDER)
    head = await workspace.services.journal.head()

    async def tried(**body: Any) -> Any:
        answer = await workspace.post(f"/api/v1/topics/{topic['id']}/check", body)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        return data["compatible"], data["valid"], [each["pointer"] for each in data["errors"]]

    assert await tried(schema=WIDER) == (True, True, [])
    assert await tried(schema=NARROWER) == (False, True, ["/schema/required"])
    assert await tried(examples=[{"orderId": 5}]) == (None, False, ["/examples/0/orderId"])
    assert await tried(schema=WIDER, examples=[{"orderId": 5}]) == (True, True, [])
    answer = await workspace.post(f"/api/v1/topics/{topic['id']}/check", {"schema": {"type": 5}})
    assert pointers(answer) == ["/schema/type"]
    assert pointers(await add(workspace, topic, {"type": 5})) == ["/schema/type"]
    assert await workspace.services.journal.head() == head


async def test_whoever_is_narrowed_sees_and_changes_the_catalogue_of_what_it_is_narrowed_to(workspace: Tenant) -> None:
    topic = await described(workspace)
    partner_id, _ = await workspace.onboard()
    other = await workspace.integration()
    path, its = f"/api/v1/topics/{topic['id']}", f"/api/v1/integrations/{workspace.integration_id}/topics"
    for conditions, read, changed in (
        ({"integrations": [workspace.integration_id]}, 200, 200),
        ({"integrations": [other]}, 404, 404),
        ({"partners": [partner_id]}, 200, 403),
        ({"environments": ["dev"]}, 200, 403),
    ):
        key = held(await issue(workspace, kind="account", name="x", role="admin", conditions=conditions))
        for asked in (path, its):
            assert (await workspace.api.get(asked, headers=key.headers)).status_code == read, conditions
        patch = {"description": str(conditions)}
        answer = await change(workspace, path, patch, headers=key.headers, match="*")
        assert answer.status_code == changed, conditions
        added = await workspace.api.post(its, json={"name": f"a/{len(str(conditions))}"}, headers=key.headers)
        assert added.status_code == (201 if changed == 200 else changed), conditions


async def test_a_key_is_told_of_the_topics_that_it_may_use_right_now(workspace: Tenant) -> None:
    options = {"send": {"topics": ["app/order/*"]}, "receive": {"topics": ["app/order/created"]}}
    rule = {"permitted": ["send", "receive"], "options": options}
    answer = await workspace.post(
        "/api/v1/integrations", {"name": "x", "environments": {"dev": rule, "prod": {"permitted": ["receive"]}}}
    )
    workspace.integration_id = answer.json()["data"]["id"]
    workspace.integration_key = await workspace.key_of_integration(workspace.integration_id)
    partner_id, keys = await workspace.onboard()
    await described(workspace, schema=ORDER, examples=[{"orderId": "o"}])
    await described(workspace, "app/order/paid", deprecated=True)
    await described(workspace, "app/stock")
    head = await workspace.services.journal.head()

    async def told(path: str, headers: dict[str, str]) -> Any:
        answer = await workspace.api.get(f"/api/v1/keys/{path}/topics?minPosition={head}", headers=headers)
        assert answer.status_code == 200, answer.text
        return {each["name"]: (each["send"], each["receive"]) for each in answer.json()["data"]}, answer.json()["data"]

    dev, prod = bearer(keys["dev"]["secret"]), bearer(keys["prod"]["secret"])
    of_dev = {"app/order/created": (True, True), "app/order/paid": (True, False)}
    assert (await told("self", dev))[0] == of_dev
    data = (await told("self", dev))[1][-1]
    assert (data["schema"], data["schemaVersion"], data["examples"]) == (ORDER, 1, [{"orderId": "o"}])
    everything = dict.fromkeys(("app/order/created", "app/order/paid", "app/stock"), (False, True))
    assert (await told("self", prod))[0] == everything
    assert (await told(keys["dev"]["id"], {}))[0] == of_dev  # by the session, in the cookie
    assert (await told(keys["dev"]["id"], bearer(workspace.owner_key)))[0] == of_dev
    for other in (workspace.owner_key, workspace.integration_key):
        assert (await told("self", bearer(other)))[1] == []
    problem(await workspace.api.get(f"/api/v1/keys/key_{NOWHERE}/topics"), 404, "not-found")
    narrow = {"options": {"send": {"topics": ["app/order/paid"]}}}
    assert (await change(workspace, keys["dev"]["id"], narrow)).status_code == 200
    assert (await told("self", dev))[0] == {"app/order/created": (False, True), "app/order/paid": (True, False)}
    await workspace.delete(f"/api/v1/partners/{partner_id}")
    assert (await told(keys["dev"]["id"], bearer(workspace.owner_key)))[0] == {}
