"""Roles: those that are built in, and those of a workspace's own, which are in force at the next request."""

from typing import Any

import httpx
import pytest

from keyfold.domain.permissions import ROLES

from .keys import Held, change, hears, held, issue
from .routes import NOWHERE
from .tenant import Tenant, bearer, pointers, position_of, problem

ROLE_PATH = "/api/v1/roles"


async def define(workspace: Tenant, *permissions: str, headers: dict[str, str] | None = None) -> httpx.Response:
    wanted = {"name": "Robot", "description": "Rotates", "permissions": permissions}
    return await workspace.api.post(ROLE_PATH, json=wanted, headers=headers or bearer(workspace.owner_key))


async def defined(workspace: Tenant, *permissions: str) -> str:
    """The path of a new role."""
    answer = await define(workspace, *permissions)
    assert answer.status_code == 201, answer.text
    return f"{ROLE_PATH}/{answer.json()['data']['id']}"


async def key_with(workspace: Tenant, role: str, **wanted: Any) -> Held:
    """An account key with the role at this path, or with one that is built in."""
    return held(await issue(workspace, kind="account", name="x", role=role.rpartition("/")[2], **wanted))


async def may(workspace: Tenant, key: Held, path: str) -> bool:
    answer = await workspace.api.get(f"/api/v1/{path}", headers=key.headers)
    assert answer.status_code in (200, 403), answer.text
    return answer.status_code == 200


async def test_a_role_is_defined_read_and_listed_with_those_that_are_built_in(workspace: Tenant) -> None:
    answer = await define(workspace, "keys:rotate", "keys:read", "keys:rotate")
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data == {
        "id": data["id"],
        "name": "Robot",
        "description": "Rotates",
        "permissions": ["keys:read", "keys:rotate"],
        "builtIn": False,
    }
    read = await workspace.get(f"{ROLE_PATH}/{data['id']}")
    assert (read.json()["data"], read.headers["etag"]) == (data, '"1"')
    listed = (await workspace.get(ROLE_PATH, minPosition=position_of(answer))).json()
    assert [role["id"] for role in listed["data"]] == [data["id"], *ROLES]
    assert listed["nextCursor"] is None


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_that_is_built_in_is_read_and_never_changed_or_removed(workspace: Tenant, role: str) -> None:
    read = await workspace.get(f"{ROLE_PATH}/{role}")
    data = read.json()["data"]
    assert (data["id"], data["builtIn"]) == (role, True)
    assert {*data["permissions"]} == ROLES[role]  # type: ignore[index]  # a name of one
    assert "etag" not in read.headers
    path = f"{ROLE_PATH}/{role}"
    problem(await change(workspace, path, {"name": "mine"}, match="*"), 404, "not-found")
    problem(await workspace.delete(path), 404, "not-found")


async def test_the_built_in_roles_come_on_the_last_page_once(workspace: Tenant) -> None:
    for _ in range(2):
        answer = await define(workspace, "keys:read")
    pages, cursor = [], None
    while True:
        asked = {"limit": 1, "minPosition": position_of(answer)} | ({"cursor": cursor} if cursor else {})
        page = (await workspace.get(ROLE_PATH, **asked)).json()
        pages.append([role["builtIn"] for role in page["data"]])
        if (cursor := page["nextCursor"]) is None:
            break
    assert pages == [[False], [False, *[True] * len(ROLES)]]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"permissions": []}, ["/name"]),
        ({"name": "", "permissions": []}, ["/name"]),
        ({"name": "a\0", "permissions": []}, ["/name"]),
        ({"name": "x"}, ["/permissions"]),
        ({"name": "x", "permissions": ["keys:eat"]}, ["/permissions/0"]),
        ({"name": "x", "permissions": ["*"]}, ["/permissions/0"]),
        ({"name": "x", "permissions": [], "builtIn": True}, ["/builtIn"]),
    ],
)
async def test_a_role_that_cant_be_is_refused(workspace: Tenant, wanted: Any, wrong: list[str]) -> None:
    assert pointers(await workspace.post(ROLE_PATH, wanted)) == wrong
    path = await defined(workspace)
    if {"name", "permissions"} <= {*wanted}:
        assert pointers(await change(workspace, path, wanted)) == wrong


async def test_a_change_is_in_force_at_the_next_request_of_a_key_in_every_process(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    path = await defined(workspace, "keys:read")
    key = await key_with(workspace, path)
    for client in (workspace.api, other_process):
        assert (await client.get("/api/v1/keys", headers=key.headers)).status_code == 200
        problem(await client.get("/api/v1/links", headers=key.headers), 403, "permission-missing")
    answer = await change(workspace, path, {"permissions": ["links:read"]})
    data = answer.json()["data"]
    assert (data["permissions"], data["name"], data["description"]) == (["links:read"], "Robot", "Rotates")
    assert (await may(workspace, key, "keys"), await may(workspace, key, "links")) == (False, True)
    await hears(other_process, workspace, key.secret, "valid")
    problem(await other_process.get("/api/v1/keys", headers=key.headers), 403, "permission-missing")
    assert (await other_process.get("/api/v1/links", headers=key.headers)).status_code == 200


async def test_the_keys_of_a_removed_role_may_do_nothing_and_no_key_gets_it(workspace: Tenant) -> None:
    path = await defined(workspace, "keys:read", "keys:rotate", "links:read")
    key = await key_with(workspace, path)
    assert await may(workspace, key, "keys")
    removed = await workspace.delete(path)
    assert removed.status_code == 200
    for what in ("keys", "links", "roles", "workspace"):
        assert not await may(workspace, key, what)
    assert await may(workspace, key, "keys/self")  # it is a valid key, without a single permission
    listed = (await workspace.get(ROLE_PATH, minPosition=position_of(removed))).json()["data"]
    assert [role["id"] for role in listed] == [*ROLES]
    body = {"kind": "account", "name": "late", "role": path.rpartition("/")[2]}
    problem(await issue(workspace, **body), 409, "role-removed")
    problem(await change(workspace, path, {"permissions": ["keys:read"]}), 409, "role-removed")
    again = await workspace.delete(path)
    assert (again.json(), position_of(again)) == (removed.json(), position_of(removed))


async def test_a_role_that_isnt_there_is_given_to_no_key(workspace: Tenant, neighbour: Tenant) -> None:
    theirs = (await defined(neighbour, "keys:read")).rpartition("/")[2]
    viewer = await key_with(workspace, "viewer")
    for role in (theirs, f"rol_{NOWHERE}"):
        problem(await issue(workspace, kind="account", name="x", role=role), 404, "not-found")
        problem(await change(workspace, viewer.id, {"role": role}), 404, "not-found")


async def test_nobody_defines_changes_or_removes_a_role_beyond_what_they_have(workspace: Tenant) -> None:
    few = await defined(workspace, "roles:manage", "roles:read", "keys:read")
    key = await key_with(workspace, few)
    refused = problem(
        await define(workspace, "keys:read", "audit:read", headers=key.headers), 403, "permission-missing"
    )
    assert "audit:read" in refused["detail"]
    less = f"{ROLE_PATH}/{(await define(workspace, 'keys:read', headers=key.headers)).json()['data']['id']}"
    more = {"permissions": ["keys:read", "keys:revoke"]}
    for path in (less, few):  # its own role is no way up either
        problem(await change(workspace, path, more, headers=key.headers), 403, "permission-missing")
    beyond = await defined(workspace, "workspace:change")
    problem(await change(workspace, beyond, {"permissions": []}, headers=key.headers), 403, "permission-missing")
    problem(await workspace.api.delete(beyond, headers=key.headers), 403, "permission-missing")
    assert (await workspace.get(few)).headers["etag"] == (await workspace.get(beyond)).headers["etag"] == '"1"'
    assert (await change(workspace, less, {"permissions": []}, headers=key.headers)).status_code == 200


async def test_an_admin_gives_no_role_that_changes_the_workspace(workspace: Tenant) -> None:
    admin, beyond = await key_with(workspace, "admin"), await defined(workspace, "workspace:change")
    body = {"kind": "account", "name": "x", "role": beyond.rpartition("/")[2]}
    problem(await workspace.api.post("/api/v1/keys", json=body, headers=admin.headers), 403, "permission-missing")
    problem(await define(workspace, "workspace:change", headers=admin.headers), 403, "permission-missing")
    viewer = await key_with(workspace, "viewer")
    problem(await change(workspace, viewer.id, {"role": "owner"}, headers=admin.headers), 403, "permission-missing")
    assert (await workspace.get(f"/api/v1/keys/{viewer.id}")).json()["data"]["role"] == "viewer"


async def test_a_key_that_is_narrowed_says_nothing_of_what_others_may_do(workspace: Tenant) -> None:
    conditions = {"integrations": [workspace.integration_id]}
    admin, path = await key_with(workspace, "admin", conditions=conditions), await defined(workspace, "keys:read")
    problem(await define(workspace, "keys:read", headers=admin.headers), 403, "permission-missing")
    problem(await change(workspace, path, {"name": "x"}, headers=admin.headers), 403, "permission-missing")
    problem(await workspace.api.delete(path, headers=admin.headers), 403, "permission-missing")


async def test_a_change_is_made_from_what_was_read(workspace: Tenant) -> None:
    path = await defined(workspace, "keys:read")
    headers = bearer(workspace.owner_key)
    problem(await workspace.api.patch(path, json={"name": "x"}, headers=headers), 428, "precondition-required")
    assert (await change(workspace, path, {"name": "first"}, match='"1"')).status_code == 200
    problem(await change(workspace, path, {"name": "second"}, match='"1"'), 412, "precondition-failed")
    assert (await workspace.get(path)).json()["data"]["name"] == "first"
    emptied = (await change(workspace, path, {"description": None}, match='"2"')).json()["data"]
    assert (emptied["name"], emptied["description"]) == ("first", "")
    assert pointers(await change(workspace, path, {"name": None}, match="*")) == ["/name"]
