"""The workspace: read and changed by its owners, of whom there is always one."""

import asyncio
from typing import Any

import httpx
import pytest

from .keys import KEYS, Held, act, change, code, held, issue, rotated
from .tenant import Tenant, bearer, pointers, problem

PATH = "/api/v1/workspace"
SLOW = {"requests": 2, "seconds": 60}


async def owner(workspace: Tenant) -> Held:
    return held(await issue(workspace, kind="account", name="another", role="owner"))


async def owners(workspace: Tenant) -> list[str]:
    owners_: list[str] = (await workspace.get(PATH)).json()["data"]["owners"]
    return owners_


async def first_owner(workspace: Tenant) -> Held:
    (key_id,) = await owners(workspace)
    return Held(key_id, workspace.owner_key, None)


async def test_a_workspace_is_read_and_changed_by_its_owner(workspace: Tenant) -> None:
    read = await workspace.get(PATH)
    first = await first_owner(workspace)
    as_it_is = {"id": workspace.id, "name": "Acme", "rate": None, "keyRate": None, "owners": [first.id]}
    assert read.json()["data"] == as_it_is
    patch = {"name": "Acme Ltd", "rate": {"requests": 500, "seconds": 60}}
    changed = await change(workspace, PATH, patch, match=read.headers["etag"])
    assert (changed.status_code, changed.json()["data"]) == (200, as_it_is | patch)
    assert (await workspace.get(PATH)).json() == changed.json()
    back = await change(workspace, PATH, {"name": "Acme", "rate": None})
    assert back.json()["data"] == as_it_is
    admin = bearer(await workspace.key("admin"))
    said = problem(await change(workspace, PATH, {"name": "Mine"}, headers=admin), 403, "permission-missing")
    assert "workspace:change" in said["detail"]


async def test_a_change_is_made_from_what_was_read(workspace: Tenant) -> None:
    at = (await workspace.get(PATH)).headers["etag"]
    headers = bearer(workspace.owner_key)
    problem(await workspace.api.patch(PATH, json={"name": "x"}, headers=headers), 428, "precondition-required")
    assert (await change(workspace, PATH, {"name": "first"}, match=at)).status_code == 200
    problem(await change(workspace, PATH, {"name": "second"}, match=at), 412, "precondition-failed")
    assert (await workspace.get(PATH)).json()["data"]["name"] == "first"


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ({"name": ""}, ["/name"]),
        ({"name": None}, ["/name"]),
        ({"rate": {"requests": 0, "seconds": 1}}, ["/rate/requests"]),
        ({"keyRate": {"requests": 1, "seconds": 0}}, ["/keyRate/seconds"]),
        ({"rate": {"requests": 1}}, ["/rate/seconds"]),
        ({"keyRate": {"requests": 1, "seconds": 61}}, ["/keyRate"]),
        ({"owners": []}, ["/owners"]),
    ],
)
async def test_a_workspace_that_cant_be_is_refused(workspace: Tenant, patch: Any, wrong: list[str]) -> None:
    assert pointers(await change(workspace, PATH, patch)) == wrong


async def test_a_key_that_is_narrowed_changes_nothing_that_others_live_by(workspace: Tenant) -> None:
    role = await workspace.post("/api/v1/roles", {"name": "x", "permissions": ["workspace:change", "workspace:read"]})
    conditions = {"environments": ["dev"]}
    wanted = {"kind": "account", "name": "x", "role": role.json()["data"]["id"], "conditions": conditions}
    headers = held(await issue(workspace, **wanted)).headers
    assert (await workspace.api.get(PATH, headers=headers)).status_code == 200
    problem(await change(workspace, PATH, {"name": "x"}, headers=headers), 403, "permission-missing")


@pytest.mark.parametrize(("of", "limits"), [("rate", "workspace"), ("keyRate", "key")])
async def test_a_rate_is_in_force_at_the_next_request_of_a_key(
    workspace: Tenant, neighbour: Tenant, of: str, limits: str
) -> None:
    viewer, another = bearer(await workspace.key("viewer")), bearer(await workspace.key("viewer"))
    at = (await workspace.get(PATH)).headers["etag"]
    for headers in (viewer, another):  # both are in memory by now
        assert "ratelimit" not in (await workspace.api.get(KEYS, headers=headers)).headers
    limited = await change(workspace, PATH, {of: SLOW}, match=at)
    assert limited.status_code == 200
    for left in (1, 0):
        answer = await workspace.api.get(KEYS, headers=viewer)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == f'"{limits}";q=2;w=60'
        assert answer.headers["ratelimit"].startswith(f'"{limits}";r={left};t=')
    refused = await workspace.api.get(KEYS, headers=viewer)
    problem(refused, 429, "rate-limited")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit"].startswith(f'"{limits}";r=0;t=')
    others = await workspace.api.get(KEYS, headers=another)
    assert others.status_code == (429 if of == "rate" else 200)
    assert "ratelimit" not in (await neighbour.get(KEYS)).headers


async def test_the_last_owner_cant_be_taken_away_by_anything(workspace: Tenant) -> None:
    last = await first_owner(workspace)
    head = await workspace.services.journal.head()
    for what in ("revoke", "suspend", "compromise"):
        problem(await act(workspace, what, last.id, {"reason": "x"}), 409, "last-owner")
    for patch in (
        {"isActive": False},
        {"role": "admin"},
        {"expiresAt": "2040-01-01T00:00:00Z"},
        {"notBefore": "2040-01-01T00:00:00Z"},
    ):
        problem(await change(workspace, last.id, patch), 409, "last-owner")
    assert await workspace.services.journal.head() == head
    assert await code(workspace, last.secret) == "valid"


@pytest.mark.parametrize("how", ["revoked", "suspended", "expiring", "demoted", "reported", "pending"])
async def test_an_owner_who_cant_act_for_good_is_no_reason_to_let_the_last_one_go(workspace: Tenant, how: str) -> None:
    first, second = await first_owner(workspace), await owner(workspace)
    assert await owners(workspace) == [first.id, second.id]
    answer = {
        "revoked": lambda: act(workspace, "revoke", second.id),
        "suspended": lambda: act(workspace, "suspend", second.id),
        "reported": lambda: act(workspace, "compromise", second.id, {"reason": "x"}),
        "expiring": lambda: change(workspace, second.id, {"expiresAt": "2040-01-01T00:00:00Z"}),
        "demoted": lambda: change(workspace, second.id, {"role": "admin"}),
        "pending": lambda: change(workspace, second.id, {"notBefore": "2040-01-01T00:00:00Z"}),
    }
    assert (await answer[how]()).status_code == 200
    assert await owners(workspace) == [first.id]
    problem(await act(workspace, "revoke", first.id), 409, "last-owner")


async def test_an_owner_that_expires_is_no_owner_to_rely_on_from_the_beginning(workspace: Tenant) -> None:
    first = await first_owner(workspace)
    held(await issue(workspace, kind="account", name="guest", role="owner", expiresAt="2040-01-01T00:00:00Z"))
    assert await owners(workspace) == [first.id]


async def test_what_makes_an_owner_counts_again_when_it_comes_back(workspace: Tenant) -> None:
    first, second = await first_owner(workspace), await owner(workspace)
    assert (await act(workspace, "suspend", second.id)).status_code == 200
    assert (await act(workspace, "reinstate", second.id)).status_code == 200
    promoted = held(await issue(workspace, kind="account", name="x", role="viewer"))
    assert (await change(workspace, promoted.id, {"role": "owner"})).status_code == 200
    assert await owners(workspace) == [first.id, second.id, promoted.id]
    workspace.owner_key = second.secret
    assert (await act(workspace, "revoke", first.id)).status_code == 200


async def test_the_last_owner_can_be_rotated_and_its_successor_is_the_last_owner(workspace: Tenant) -> None:
    first = await first_owner(workspace)
    successor = await rotated(workspace, first.id, overlapSeconds=0)
    workspace.owner_key = successor.secret
    assert await owners(workspace) == [successor.id]
    problem(await act(workspace, "revoke", successor.id), 409, "last-owner")


async def test_of_two_owners_who_revoke_each_other_at_the_same_time_one_stays(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    for _ in range(5):
        first, second = Held((await owners(workspace))[0], workspace.owner_key, None), await owner(workspace)
        for client, key in ((workspace.api, first), (other_process, second)):  # both are in memory by now
            assert (await client.get(PATH, headers=key.headers)).status_code == 200
        answers = await asyncio.gather(
            workspace.api.post(f"{KEYS}/{second.id}/revoke", json={"reason": "x"}, headers=first.headers),
            other_process.post(f"{KEYS}/{first.id}/revoke", json={"reason": "x"}, headers=second.headers),
        )
        assert min(answer.status_code for answer in answers) == 200
        (refused,) = [answer for answer in answers if answer.status_code != 200]
        assert refused.json()["code"] in ("last-owner", "unauthenticated")
        stays = first if answers[0].status_code == 200 else second
        workspace.owner_key = stays.secret
        assert await owners(workspace) == [stays.id]
