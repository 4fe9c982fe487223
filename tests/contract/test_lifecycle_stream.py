"""Following lifecycle events: live and replayed, one's own and nobody else's, until the key ends."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.web.services import Services

from .streaming import Event, reading
from .tenant import Clock, Tenant, bearer, position_of, problem

PATH = "/api/v1/lifecycle/stream"


async def replayed(tenant: Tenant, key: str, **query: Any) -> list[Event]:
    """All that there is, as the key is shown it."""
    async with reading(tenant.services, PATH, bearer(key), after=0, live="false", **query) as stream:
        return await stream.replayed()


async def trail(tenant: Tenant, key: str) -> list[Any]:
    """The audit trail, oldest first, as the key is shown it."""
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        params: dict[str, Any] = {"order": "asc", "limit": 200, **cursor}
        answer = (await tenant.api.get("/api/v1/audit/events", params=params, headers=bearer(key))).json()
        found += answer["data"]
        if answer["nextCursor"] is None:
            return found
        cursor = {"cursor": answer["nextCursor"]}


async def test_a_replay_is_the_audit_trail_as_cloud_events(workspace: Tenant) -> None:
    await workspace.onboard()
    events = await replayed(workspace, workspace.owner_key)
    entries = await trail(workspace, workspace.owner_key)
    assert [int(each.id) for each in events] == [entry["position"] for entry in entries]
    for event, entry in zip(events, entries, strict=True):
        record = event.data["data"]
        assert event.data == {
            "specversion": "1.0",
            "id": entry["id"],
            "source": f"/workspaces/{workspace.id}",
            "type": f"keyfold.{entry['type']}",
            "subject": entry["stream"],
            "time": entry["time"],
            "datacontenttype": "application/json",
            "data": record,
        }
        assert record["id"] == entry["id"]
        sealed = {*entry["data"]} - {*record["data"]}  # the trail opens it
        assert sealed <= {*EVENT_TYPES[entry["type"]].personal}
        assert record["data"] == {name: entry["data"][name] for name in entry["data"] if name not in sealed}


async def test_what_happens_is_told_as_it_happens_and_nothing_from_before(
    workspace: Tenant, services: Services
) -> None:
    await workspace.onboard()
    async with reading(services, PATH, bearer(workspace.owner_key)) as stream:
        await stream.until(0)
        assert stream.headers["content-type"].startswith("text/event-stream")
        await asyncio.sleep(0.1)
        partner_id, _ = await workspace.onboard()
        events = await stream.until(5)
        assert events[0].data["type"] == "keyfold.partner.invited.v1"
        assert events[0].data["subject"] == partner_id


async def test_a_client_that_comes_back_again_and_again_misses_nothing_and_gets_nothing_twice(
    workspace: Tenant, services: Services
) -> None:
    at = {"after": await services.journal.head()}
    writing = asyncio.create_task(onboard_many(workspace, 8))
    seen: list[Event] = []
    header: dict[str, str] = {}
    while not (writing.done() and seen and seen[-1].id == str(await services.journal.head())):
        async with reading(services, PATH, bearer(workspace.owner_key) | header, **at) as stream:
            seen += await stream.until(1)
        header = {"Last-Event-ID": seen[-1].id}
    expected = [
        each["position"] for each in await trail(workspace, workspace.owner_key) if each["position"] > at["after"]
    ]
    assert [int(each.id) for each in seen] == expected


async def onboard_many(workspace: Tenant, count: int) -> None:
    for _ in range(count):
        await workspace.onboard()


async def test_another_workspace_is_told_nothing(workspace: Tenant, neighbour: Tenant, services: Services) -> None:
    async with reading(services, PATH, bearer(neighbour.owner_key)) as theirs:
        await theirs.until(0)
        await workspace.onboard()
        made = await neighbour.post("/api/v1/integrations", {"name": "theirs"})
        (event,) = await theirs.until(1)
        assert event.id == made.headers["Keyfold-Position"]
    for tenant in (workspace, neighbour):
        sources = {each.data["source"] for each in await replayed(tenant, tenant.owner_key)}
        assert sources == {f"/workspaces/{tenant.id}"}


@pytest.mark.parametrize("narrowed_to", ["partners", "environments", "integrations"])
async def test_a_narrowed_key_is_told_what_the_audit_trail_shows_it(workspace: Tenant, narrowed_to: str) -> None:
    partner_id, _ = await workspace.onboard()
    other = await workspace.integration()
    await workspace.onboard()
    conditions = {"partners": [partner_id], "environments": ["stage"], "integrations": [other]}
    wanted = {"kind": "account", "name": "x", "role": "auditor", "conditions": {narrowed_to: conditions[narrowed_to]}}
    issued = await workspace.post("/api/v1/keys", wanted)
    key = issued.json()["data"]["secret"]
    at = position_of(issued)
    params: dict[str, Any] = {"minPosition": at, "limit": 200, "order": "asc"}
    shown = (await workspace.api.get("/api/v1/audit/events", params=params, headers=bearer(key))).json()["data"]
    events = await replayed(workspace, key)
    assert [int(each.id) for each in events] == [each["position"] for each in shown]
    assert 0 < len(events) < len(await trail(workspace, workspace.owner_key))


async def test_no_secret_is_in_the_stream(workspace: Tenant, services: Services) -> None:
    async with reading(services, PATH, bearer(workspace.owner_key)) as stream:
        await stream.until(0)
        _, token = await workspace.invite()
        redeemed = (await workspace.redeem(token)).json()["data"]["keys"]
        await stream.until(6)
        for secret in (token, workspace.owner_key, *[key["secret"] for key in redeemed]):
            assert secret[-40:-6].encode() not in stream.body


async def test_the_stream_ends_with_its_key(workspace: Tenant, services: Services) -> None:
    issued = (await workspace.post("/api/v1/keys", {"kind": "account", "name": "x", "role": "auditor"})).json()["data"]
    async with reading(services, PATH, bearer(issued["secret"])) as stream:
        await stream.until(0)
        await asyncio.sleep(0.6)
        assert not stream.ended.is_set()
        await workspace.post(f"/api/v1/keys/{issued['id']}/revoke", {"reason": "test"})
        await stream.end()


async def test_the_stream_ends_when_its_key_expires(workspace: Tenant, services: Services, clock: Clock) -> None:
    end = clock() + timedelta(hours=1)
    wanted = {"kind": "account", "name": "x", "role": "auditor", "expiresAt": end.isoformat()}
    key = (await workspace.post("/api/v1/keys", wanted)).json()["data"]["secret"]
    async with reading(services, PATH, bearer(key)) as stream:
        await stream.until(0)
        clock.set(end)
        await stream.end()


async def test_the_stream_ends_when_its_key_is_narrowed_or_may_not_read_any_more(
    workspace: Tenant, services: Services
) -> None:
    role = (await workspace.post("/api/v1/roles", {"name": "reader", "permissions": ["audit:read"]})).json()["data"][
        "id"
    ]
    wanted = {"kind": "account", "name": "x", "role": role}
    one, two = [(await workspace.post("/api/v1/keys", wanted)).json()["data"] for _ in range(2)]
    async with (
        reading(services, PATH, bearer(one["secret"])) as first,
        reading(services, PATH, bearer(two["secret"])) as second,
    ):
        await first.until(0)
        await second.until(0)
        narrower = {"conditions": {"environments": ["dev"]}}
        changed = await workspace.api.patch(
            f"/api/v1/keys/{one['id']}", json=narrower, headers=bearer(workspace.owner_key) | {"If-Match": "*"}
        )
        assert changed.status_code == 200, changed.text
        await first.end()
        assert not second.ended.is_set()
        await workspace.api.patch(
            f"/api/v1/roles/{role}",
            json={"permissions": ["keys:read"]},
            headers=bearer(workspace.owner_key) | {"If-Match": "*"},
        )
        await second.end()


async def test_a_reader_that_leaves_leaves_nothing_behind(workspace: Tenant, services: Services) -> None:
    before = len(asyncio.all_tasks())
    async with reading(services, PATH, bearer(workspace.owner_key)) as stream:
        await stream.until(0)
        assert len(asyncio.all_tasks()) > before
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) <= before


@pytest.mark.parametrize("position", ["-1", "x", "9" * 30, "1.5"])
async def test_what_is_no_position_is_refused(workspace: Tenant, position: str) -> None:
    problem(await workspace.get(PATH, after=position, live="false"), 400, "invalid-request")
    headers = bearer(workspace.owner_key) | {"Last-Event-ID": position}
    problem(await workspace.api.get(PATH, headers=headers), 400, "invalid-request")


async def test_a_position_that_nothing_has_been_at_is_refused(workspace: Tenant, services: Services) -> None:
    """Waiting there would pass over what comes until then."""
    ahead = await services.journal.head() + 1000
    said = problem(await workspace.get(PATH, after=ahead, live="false"), 400, "invalid-request")
    assert said["errors"][0]["pointer"] == "?after"
    headers = bearer(workspace.owner_key) | {"Last-Event-ID": str(ahead)}
    said = problem(await workspace.api.get(PATH, headers=headers), 400, "invalid-request")
    assert said["errors"][0]["pointer"] == "Last-Event-ID"


async def test_only_who_may_read_the_audit_trail_may_follow(workspace: Tenant) -> None:
    problem(await workspace.api.get(PATH, headers=bearer(await workspace.key("viewer"))), 403, "permission-missing")
    problem(await workspace.api.get(PATH, headers=bearer(workspace.integration_key)), 403, "permission-missing")
    workspace.api.cookies.clear()
    problem(await workspace.api.get(PATH), 401, "unauthenticated")
