"""At home at the portal: the partner itself, its usage, its dead letters and its history, and nobody else's."""

import json
from typing import Any

import httpx

from .conftest import System
from .consuming import joined, publish, pull, say
from .keys import Partner, act, join
from .tenant import ORIGIN, Tenant, bearer, problem
from .test_event_usage import flushed

PORTAL = "/api/v1/portal"


async def get(workspace: Tenant, partner: Partner, path: str, **query: Any) -> httpx.Response:
    answer = await workspace.api.get(f"{PORTAL}{path}", params=query, headers=partner.headers)
    if answer.status_code == 200:
        assert answer.headers["cache-control"] == "no-store"
    return answer


async def listed(workspace: Tenant, partner: Partner, path: str, **query: Any) -> Any:
    answer = await get(workspace, partner, path, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_home_says_who_is_there_for_whom_until_when_and_what_can_be_done(workspace: Tenant) -> None:
    partner = await join(workspace)
    policy = {"overlapSeconds": 3600, "overlapStarts": "first-use"}
    patch = {
        "description": "Orders and returns",
        "color": "#112233",
        "origins": ["https://app.acme.test"],
        "environments": {"prod": {"policy": policy}},
    }
    headers = bearer(workspace.owner_key) | {"If-Match": "*"}
    await workspace.api.patch(f"/api/v1/integrations/{workspace.integration_id}", json=patch, headers=headers)
    home = await listed(workspace, partner, "")
    assert home["partner"]["id"] == partner.id
    assert home["integration"] == {
        "id": workspace.integration_id,
        "name": "Shop",
        "description": "Orders and returns",
        "color": "#112233",
        "icon": None,
    }
    assert {*home["environments"]} == {"dev", "stage", "prod"}
    assert home["overlaps"] == {
        **{each: {"seconds": 7 * 86_400, "starts": "now"} for each in ("dev", "stage")},
        "prod": {"seconds": 3600, "starts": "first-use"},
    }
    assert home["natsUrl"] == workspace.services.settings.public_nats_url
    assert (home["session"]["status"], home["session"]["id"][:4]) == ("open", "pse_")
    assert {"keys:rotate", "links:issue"} <= {*home["capabilities"]}
    assert not {"keys:issue", "audit:read"} & {*home["capabilities"]}
    assert "secret" not in json.dumps(home)


async def use(system: System, workspace: Tenant, partner: Partner) -> None:
    """Two events published in dev and one in prod, and one refused; all of it written down."""
    await publish(workspace, partner.keys["dev"], 1, 2)
    await publish(workspace, partner.keys["prod"], 3)
    await workspace.api.post("/api/v1/events?topic=a//b", json={}, headers=partner.keys["dev"].headers)
    await flushed(system)


async def test_usage_is_of_all_keys_of_an_environment_or_of_one(
    system: System, workspace: Tenant, neighbour: Tenant
) -> None:
    partner, other, foreign = await joined(workspace), await joined(workspace), await join(neighbour)
    await use(system, workspace, partner)
    dev, prod = partner.keys["dev"].id, partner.keys["prod"].id
    whole = await listed(workspace, partner, "/usage")
    assert whole["totals"]["published"]["count"] == 3
    assert whole["totals"]["refused:invalid-request"]["count"] == 1
    assert whole["latency"]["byOutcome"]["published"]["p50"] > 0
    assert {key: each["published"]["count"] for key, each in whole["byKey"].items()} == {dev: 2, prod: 1}
    for query in ({"environment": "prod"}, {"keyId": prod}):
        part = await listed(workspace, partner, "/usage", **query)
        assert (part["totals"]["published"]["count"], {*part["byKey"]}) == (1, {prod})
    assert (await listed(workspace, other, "/usage"))["totals"] == {}
    for key in (other.keys["dev"].id, foreign.keys["dev"].id, "key_no"):
        problem(await get(workspace, partner, "/usage", keyId=key), 404, "not-found")


async def give_up(workspace: Tenant, partner: Partner, number: int) -> None:
    """An event that the key for dev terminates, so that it is a dead letter."""
    key = partner.keys["dev"]
    await publish(workspace, key, {"n": number})
    events = await pull(workspace, key, wait=5)
    assert await say(workspace, key, "terminate", events, reason="no good") == ["done"] * len(events)


async def settle(workspace: Tenant, partner: Partner, what: str, letter: Any, **more: Any) -> httpx.Response:
    body = {"keyId": letter["keyId"], "consumer": letter["consumer"], "sequence": letter["deadLetter"]["sequence"]}
    return await workspace.api.post(f"{PORTAL}/dead-letters/{what}", json=body | more, headers=partner.headers)


async def test_dead_letters_are_given_again_or_discarded(workspace: Tenant, neighbour: Tenant) -> None:
    partner, other, foreign = await joined(workspace), await joined(workspace), await joined(neighbour)
    for number in (1, 2):
        await give_up(workspace, partner, number)
    key = partner.keys["dev"]
    letters = await listed(workspace, partner, "/dead-letters", environment="dev")
    assert [(each["keyId"], each["consumer"], each["environment"]) for each in letters] == [(key.id, "own", "dev")] * 2
    assert [each["deadLetter"]["event"]["data"]["n"] for each in letters] == [1, 2]
    assert {each["deadLetter"]["detail"] for each in letters} == {"no good"}
    assert await listed(workspace, partner, "/dead-letters", environment="prod") == []
    assert await listed(workspace, other, "/dead-letters") == []
    for stranger in (other, foreign):
        problem(await settle(workspace, stranger, "redrive", letters[0]), 404, "not-found")
        own = {"keyId": stranger.keys["dev"].id}
        problem(await settle(workspace, stranger, "redrive", letters[0], **own), 404, "not-found")
    hostile = partner.headers | {"Origin": "https://evil.test"}
    answer = await workspace.api.post(f"{PORTAL}/dead-letters/redrive", json={}, headers=hostile)
    problem(answer, 403, "foreign-origin")
    assert (await settle(workspace, partner, "redrive", letters[0])).status_code == 200
    assert (await settle(workspace, partner, "discard", letters[1])).status_code == 200
    assert await listed(workspace, partner, "/dead-letters") == []
    [again] = await pull(workspace, key, wait=5)
    assert again["event"]["data"] == {"n": 1}
    problem(await settle(workspace, partner, "redrive", letters[0]), 404, "not-found")


async def test_history_is_the_partners_own_and_names_nobody_of_the_workspace(
    workspace: Tenant, neighbour: Tenant
) -> None:
    partner, other = await join(workspace), await join(workspace)
    key = partner.keys["dev"].id
    await act(workspace, "suspend", key)
    body = {"reason": "ours"}
    mine = await workspace.api.post(f"/api/v1/keys/{key}/reinstate", json={}, headers=partner.headers)
    assert mine.status_code in (200, 409)
    prod = partner.keys["prod"].id
    await workspace.api.post(f"/api/v1/keys/{prod}/suspend", json=body, headers=partner.headers)
    head = await workspace.services.journal.head()
    happened = await listed(workspace, partner, "/history", minPosition=head, limit=200)
    text = json.dumps(happened)
    operators = [(await workspace.verdict(each))["keyId"] for each in (workspace.owner_key, workspace.integration_key)]
    for foreign in (*operators, other.id, other.keys["dev"].id, neighbour.id, workspace.integration_key):
        assert foreign not in text
    by_type = {(each["type"], each["resource"]): each["actor"] for each in happened}
    assert by_type["key.suspended.v1", key] == {"who": "workspace", "kind": "key", "id": None, "address": None}
    ours = by_type["key.suspended.v1", prod]
    assert (ours["who"], ours["kind"], ours["address"]) == ("you", "portal", "192.0.2.7")
    assert by_type["partner.invited.v1", partner.id]["who"] == "workspace"
    assert by_type["partner.onboarded.v1", partner.id]["who"] == "you"
    assert [each["position"] for each in happened] == sorted((each["position"] for each in happened), reverse=True)
    of_key = await listed(workspace, partner, "/history", keyId=key, type="key.suspended")
    assert [(each["resource"], each["data"]["reason"]) for each in of_key] == [(key, "because")]
    page = (await get(workspace, partner, "/history", limit=2)).json()
    rest = (await get(workspace, partner, "/history", limit=200, cursor=page["nextCursor"])).json()
    assert [*page["data"], *rest["data"]] == happened
    assert await listed(workspace, partner, "/history", keyId=other.keys["dev"].id) == []
    problem(await get(workspace, partner, "/history", type="nonsense"), 400, "invalid-request")


async def test_what_happens_to_the_offer_is_no_partners_history(workspace: Tenant) -> None:
    partner = await join(workspace)
    headers = bearer(workspace.owner_key) | {"If-Match": "*"}
    path = f"/api/v1/integrations/{workspace.integration_id}"
    await workspace.api.patch(path, json={"description": "hush"}, headers=headers)
    head = await workspace.services.journal.head()
    happened = await listed(workspace, partner, "/history", minPosition=head, limit=200)
    assert {each["type"].split(".")[0] for each in happened} <= {"partner", "link", "key", "session", "access"}


async def test_without_its_session_the_portal_is_closed_to_every_key_and_to_ended_sessions(workspace: Tenant) -> None:
    partner = await join(workspace)
    asked = [
        ("GET", "", None),
        ("GET", "/topics?environment=dev", None),
        ("GET", "/events/stream?environment=dev", None),
        ("GET", "/usage", None),
        ("GET", "/dead-letters", None),
        ("GET", "/history", None),
        ("POST", "/events/test", {"environment": "dev", "keyId": partner.keys["dev"].id, "topic": "a"}),
        ("POST", "/dead-letters/redrive", {"keyId": "x", "consumer": "own", "sequence": 1}),
        ("POST", "/dead-letters/discard", {"keyId": "x", "consumer": "own", "sequence": 1}),
        ("DELETE", "/session", None),
    ]
    await workspace.api.delete(f"{PORTAL}/session", headers=partner.headers)
    workspace.api.cookies.clear()
    strangers: list[dict[str, str]] = [
        {},
        partner.headers,
        bearer(workspace.owner_key) | {"Origin": ORIGIN},
        partner.keys["dev"].headers,
        partner._replace(cookie="kfs_no").headers,
    ]
    for method, path, body in asked:
        for headers in strangers:
            answer = await workspace.api.request(method, f"{PORTAL}{path}", json=body, headers=headers)
            problem(answer, 401, "unauthenticated")
