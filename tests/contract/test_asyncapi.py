"""The AsyncAPI document of an integration: valid by the official schema, complete, and for those whose it is."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from keyfold.app.schemas import Judge

from .routes import NOWHERE
from .tenant import Tenant, bearer, problem

OFFICIAL = json.loads((Path(__file__).parent / "data" / "asyncapi-3.0.0.json").read_text())
ORDER: dict[str, Any] = {
    "$id": "https://x.test/order",
    "$defs": {"id": {"type": "string"}},
    "type": "object",
    "required": ["orderId"],
    "properties": {"orderId": {"$ref": "#/$defs/id"}, "lines": {"prefixItems": [True], "items": False}},
}


async def described(workspace: Tenant) -> None:
    for body in (
        {"name": "app/order/created", "direction": "send", "schema": ORDER, "examples": [{"orderId": "o_1"}]},
        {"name": "app/stock", "direction": "receive", "deprecated": True},
        {"name": "app/note"},
    ):
        path = f"/api/v1/integrations/{workspace.integration_id}/topics"
        assert (await workspace.post(path, body)).status_code == 201


async def asked(workspace: Tenant, headers: dict[str, str]) -> Any:
    path = f"/asyncapi/{workspace.integration_id}.json?minPosition={await workspace.services.journal.head()}"
    return await workspace.api.get(path, headers=headers)


def at(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [each for one in value.values() for each in references(one)]
    return [each for one in value for each in references(one)] if isinstance(value, list) else []


async def test_the_document_is_valid_by_the_official_schema_and_names_every_topic_each_way(workspace: Tenant) -> None:
    await described(workspace)
    answer = await asked(workspace, bearer(workspace.owner_key))
    document = answer.json()
    validator = jsonschema_rs.validator_for(OFFICIAL, offline=True)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert not validator.is_valid(document | {"asyncapi": "2.6.0"})
    assert {*document["operations"]} == {
        *("send.app.order.created", "post.app.order.created", "receive.app.stock"),
        *("send.app.note", "post.app.note", "receive.app.note"),
    }
    assert document["channels"]["send.app.order.created"]["address"] == "events.app.order.created"
    assert document["servers"]["nats"]["host"] in workspace.services.settings.public_nats_url
    named = references(document)
    assert len(named) > 20
    for reference in named:
        at(document, reference)


async def test_the_schemas_in_it_accept_the_examples_in_it(workspace: Tenant) -> None:
    await described(workspace)
    document = (await asked(workspace, bearer(workspace.owner_key))).json()
    tried = 0
    for message in document["components"]["messages"].values():
        place = f"{message['payload']['$ref']}/schema"
        whole = {"components": document["components"], "$ref": place}
        validator = jsonschema_rs.Draft202012Validator(whole, offline=True)
        for example in message.get("examples", []):
            tried += 1
            assert validator.is_valid(example["payload"])
            assert not validator.is_valid({"orderId": 5, "data": {"orderId": 5}})
    assert tried == 2
    assert Judge(ORDER).accepts({"orderId": "o_1"})


async def test_the_document_is_for_those_whose_integration_it_is(workspace: Tenant, neighbour: Tenant) -> None:
    await described(workspace)
    _, keys = await workspace.onboard()
    whole = (await asked(workspace, bearer(workspace.owner_key))).json()
    for secret in (workspace.integration_key, keys["dev"]["secret"]):
        assert (await asked(workspace, bearer(secret))).json() == whole
    assert (await asked(workspace, {})).json() == whole  # the session, in the cookie
    workspace.api.cookies.clear()
    problem(await asked(workspace, {}), 401, "unauthenticated")
    _, theirs = await neighbour.onboard()
    other = await workspace.key_of_integration(await workspace.integration())
    problem(await asked(workspace, {"Cookie": cookie_of(workspace)}), 404, "not-found")
    workspace.api.cookies.clear()
    for secret in (neighbour.owner_key, neighbour.integration_key, theirs["dev"]["secret"], other):
        problem(await asked(workspace, bearer(secret)), 404, "not-found")
    blind = await workspace.post("/api/v1/roles", {"name": "x", "permissions": ["keys:read"]})
    role = await workspace.key(blind.json()["data"]["id"])
    problem(await asked(workspace, bearer(role)), 403, "permission-missing")
    for nothing in (f"int_{NOWHERE}", "x", f"prt_{NOWHERE}"):
        answer = await workspace.get(f"/asyncapi/{nothing}.json")
        problem(answer, 404, "not-found")


def cookie_of(workspace: Tenant) -> str:
    return f"__Host-keyfold-portal={workspace.api.cookies['__Host-keyfold-portal']}"


async def test_the_document_is_kept_by_who_asked_and_asked_about_each_time(workspace: Tenant) -> None:
    await described(workspace)
    owner = bearer(workspace.owner_key)
    answer = await asked(workspace, owner)
    assert answer.headers["cache-control"] == "private, no-cache"
    again = await asked(workspace, owner | {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await workspace.post(f"/api/v1/integrations/{workspace.integration_id}/topics", {"name": "app/more"})
    assert (await asked(workspace, owner | {"If-None-Match": answer.headers["etag"]})).status_code == 200


@pytest.mark.parametrize("name", ["app/a", "a-b/c_d", "x"])
async def test_an_integration_with_one_bare_topic_has_a_valid_document(workspace: Tenant, name: str) -> None:
    await workspace.post(f"/api/v1/integrations/{workspace.integration_id}/topics", {"name": name})
    document = (await asked(workspace, bearer(workspace.owner_key))).json()
    assert jsonschema_rs.validator_for(OFFICIAL, offline=True).is_valid(document)
    assert len(document["operations"]) == 3
