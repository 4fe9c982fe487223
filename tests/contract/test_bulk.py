"""One action on many keys: each decided by itself, all in the course of one request, and never beyond the caller."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from keyfold.app import bulk as app_bulk
from keyfold.app.keys import NewKey
from keyfold.app.ports import Write
from keyfold.domain.permissions import Conditions
from keyfold.domain.role import RoleTerms
from keyfold.web.services import Services
from keyfold.web.v1 import bulk as web_bulk

from .tenant import Clock, Tenant, app_of, bearer, pointers, position_of, problem

BULK = "/api/v1/keys/bulk"
NDJSON = "application/x-ndjson"
NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


async def made(workspace: Tenant, count: int, tag: str = "t", **wanted: Any) -> list[str]:
    """So many account keys with a tag."""
    new = NewKey(**{"kind": "account", "name": "one of many", "role": "viewer", "tags": (tag,)} | wanted)
    answers = await asyncio.gather(*[workspace.services.keys.issue(workspace.caller, new) for _ in range(count)])
    return [answer.view.id for answer in answers]


async def ask(workspace: Tenant, action: str, secret: str = "", **wanted: Any) -> httpx.Response:
    """With `headers`, and a filter of the tag `t` unless one is given."""
    headers = bearer(secret or workspace.owner_key) | wanted.pop("headers", {})
    body = {"action": action, "filter": {"tag": "t"}} | wanted
    if action in ("revoke", "suspend"):
        body.setdefault("reason", "tidied up")
    return await workspace.api.post(BULK, json=body, headers=headers)


async def done(workspace: Tenant, action: str, secret: str = "", **wanted: Any) -> Any:
    answer = await ask(workspace, action, secret, **wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["data"]


def outcomes(data: Any) -> dict[str, str]:
    """By key id; of those that were refused, the code."""
    return {each["id"]: each.get("code", each["outcome"]) for each in data["keys"]}


def counts(data: Any) -> tuple[int, int, int, int]:
    return data["matched"], data["done"], data["unchanged"], data["refused"]


async def status(workspace: Tenant, key_id: str) -> str:
    return str((await workspace.get(f"/api/v1/keys/{key_id}")).json()["data"]["status"])


async def trail(workspace: Tenant, correlation_id: str) -> list[Any]:
    """Every event of one request."""
    found: list[Any] = []
    params: dict[str, Any] = {"limit": 200, "minPosition": await workspace.services.journal.head()}
    while True:
        answer = await workspace.get("/api/v1/audit/events", correlationId=correlation_id, **params)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        if answer.json()["nextCursor"] is None:
            return found
        params["cursor"] = answer.json()["nextCursor"]


async def test_a_thousand_keys_are_revoked_in_one_call_with_one_correlation_id(
    workspace: Tenant, record_property: Callable[[str, object], None]
) -> None:
    ids = await made(workspace, 1000)
    started = time.perf_counter()
    answer = await ask(workspace, "revoke", headers={"X-Request-Id": f"tidy-{workspace.id}"})
    took = time.perf_counter() - started
    record_property("measured", f"a thousand keys revoked in one call in {took:.1f} s")
    data = answer.json()["data"]
    assert counts(data) == (1000, 1000, 0, 0)
    assert outcomes(data) == dict.fromkeys(ids, "done")
    assert data["correlationId"] == answer.headers["x-request-id"] == f"tidy-{workspace.id}"
    assert position_of(answer) == await workspace.services.journal.head()
    events = await trail(workspace, data["correlationId"])
    assert {(each["type"], each["data"]["reason"]) for each in events} == {("key.revoked.v1", "tidied up")}
    assert sorted(each["stream"] for each in events) == sorted(ids)
    assert counts(await done(workspace, "revoke")) == (1000, 0, 1000, 0)


@pytest.mark.parametrize(
    ("action", "live", "paused", "dead"),
    [
        ("revoke", "would", "would", "unchanged"),
        ("suspend", "would", "unchanged", "key-ended"),
        ("reinstate", "unchanged", "would", "key-ended"),
        ("rotate", "would", "key-not-in-use", "key-ended"),
    ],
)
async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    workspace: Tenant, action: str, live: str, paused: str, dead: str
) -> None:
    ids = await made(workspace, 3)
    await workspace.services.key_life.suspend(workspace.caller, ids[1], "x")
    await workspace.services.key_life.revoke(workspace.caller, ids[2], "x")
    expected = dict(zip(ids, (live, paused, dead), strict=True))
    before = await workspace.services.journal.head()
    answer = await ask(workspace, action, dryRun=True)
    data = answer.json()["data"]
    assert outcomes(data) == expected
    assert (data["matched"], data["dryRun"], data["done"], position_of(answer)) == (3, True, 0, before)
    assert "secret" not in answer.text
    assert await workspace.services.journal.head() == before
    real = await done(workspace, action)
    assert outcomes(real) == {each: what.replace("would", "done") for each, what in expected.items()}
    assert (real["dryRun"], real["done"]) == (False, [*expected.values()].count("would"))


async def test_refusals_in_the_middle_are_reported_and_dont_stop_the_rest(workspace: Tenant) -> None:
    before = await made(workspace, 20)
    (owner,) = await made(workspace, 1, role="owner")
    after = await made(workspace, 20)
    admin = await workspace.key("admin")
    data = await done(workspace, "revoke", admin)
    assert counts(data) == (41, 40, 0, 1)
    assert outcomes(data) == dict.fromkeys(before + after, "done") | {owner: "permission-missing"}
    assert await status(workspace, owner) == "active"


async def test_the_last_owner_stays_whoever_else_goes(workspace: Tenant) -> None:
    (eldest,) = (await workspace.get("/api/v1/workspace")).json()["data"]["owners"]
    owners = [(await made(workspace, 1, role="owner"))[0] for _ in range(20)]
    data = await done(workspace, "revoke", filter={"kind": "account", "status": "active"})
    assert outcomes(data) == dict.fromkeys(owners, "done") | {eldest: "last-owner"}
    assert await status(workspace, eldest) == "active"


async def test_what_the_filter_says_must_hold_all_together(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner_id, keys = await workspace.onboard()
    await workspace.onboard()
    old = keys["dev"]["id"]
    part = await workspace.services.keys.delegate(workspace.caller, old, NewKey(name="Contractor", tags=("t",)))
    clock.set(NOON + timedelta(days=9))
    young = await workspace.services.keys.issue(
        workspace.caller, NewKey(partner_id=partner_id, environment="dev", name="young")
    )
    for wanted, expected in [
        ({"partnerId": partner_id, "environment": "dev"}, {old, part.view.id, young.view.id}),
        (
            {"integrationId": workspace.integration_id, "partnerId": partner_id, "environment": "prod"},
            {keys["prod"]["id"]},
        ),
        ({"parentId": old, "tag": "t"}, {part.view.id}),
        ({"q": "cONTRACT"}, {part.view.id}),
        ({"partnerId": partner_id, "issuedBefore": "2026-03-05T00:00:00Z", "environment": "dev"}, {old, part.view.id}),
        ({"partnerId": partner_id, "idleDays": 5, "environment": "dev"}, {old, part.view.id}),
        ({"kind": "service", "environment": "dev", "q": "young", "status": "active"}, {young.view.id}),
        ({"partnerId": partner_id, "status": "suspended"}, set()),
    ]:
        data = await done(workspace, "suspend", filter=wanted, dryRun=True)
        assert {*outcomes(data)} == expected, wanted
        assert data["matched"] == len(expected)


async def test_a_bulk_right_after_a_write_misses_nothing(workspace: Tenant) -> None:
    for n in range(5):
        (fresh,) = await made(workspace, 1, tag=f"t{n}")
        assert outcomes(await done(workspace, "suspend", filter={"tag": f"t{n}"})) == {fresh: "done"}
        data = await done(workspace, "reinstate", filter={"tag": f"t{n}", "status": "suspended"})
        assert outcomes(data) == {fresh: "done"}


async def test_a_rotation_issues_a_successor_of_each_with_its_secret(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    wanted = {"partnerId": partner_id, "environment": "prod"}
    data = await done(workspace, "rotate", filter=wanted, overlapSeconds=60, overlapStarts="first-use")
    (one,) = data["keys"]
    assert (one["id"], one["outcome"], one["name"]) == (keys["prod"]["id"], "done", keys["prod"]["name"])
    assert one["successor"]["predecessor"]["id"] == keys["prod"]["id"]
    assert (await workspace.verdict(one["successor"]["secret"]))["valid"]
    assert await status(workspace, keys["prod"]["id"]) == "retiring"
    again = await done(workspace, "rotate", filter=wanted)
    assert outcomes(again) == {keys["prod"]["id"]: "already-rotated", one["successor"]["id"]: "done"}


async def test_many_keys_of_one_partner_and_a_family_are_done_without_conflicts(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    for n in range(15):
        new = NewKey(partner_id=partner_id, environment="dev", name=f"{n}")
        made_key = await workspace.services.keys.issue(workspace.caller, new)
        await workspace.services.keys.delegate(workspace.caller, keys["dev"]["id"], NewKey(name=f"part {n}"))
        await workspace.services.keys.delegate(workspace.caller, made_key.view.id, NewKey(name=f"own part {n}"))
    wanted = {"partnerId": partner_id, "status": "active"}
    assert counts(await done(workspace, "rotate", filter=wanted, overlapSeconds=0)) == (48, 48, 0, 0)
    assert counts(await done(workspace, "suspend", filter=wanted)) == (48, 48, 0, 0)
    revoked = await done(workspace, "revoke", filter={"partnerId": partner_id, "status": "suspended"})
    assert (revoked["matched"], revoked["refused"]) == (48, 0)
    assert {await status(workspace, each) for each in outcomes(revoked)} == {"revoked"}


async def test_a_family_is_suspended_from_below_and_comes_back_from_above(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    parent = keys["dev"]["id"]
    for _ in range(20):
        child = await workspace.services.keys.delegate(workspace.caller, parent, NewKey())
        await workspace.services.keys.delegate(workspace.caller, child.view.id, NewKey())
    wanted = {"partnerId": partner_id, "environment": "dev"}
    assert counts(await done(workspace, "suspend", filter=wanted)) == (41, 41, 0, 0)
    assert counts(await done(workspace, "reinstate", filter=wanted)) == (41, 41, 0, 0)
    assert counts(await done(workspace, "revoke", filter=wanted)) == (41, 41, 0, 0)


async def test_an_idempotency_key_never_replays_a_bulk(workspace: Tenant) -> None:
    await made(workspace, 1)
    headers = {"Idempotency-Key": "once"}
    first = await ask(workspace, "rotate", headers=headers)
    second = await ask(workspace, "rotate", headers=headers)
    assert first.json()["data"]["matched"] == 1
    assert counts(second.json()["data"]) == (2, 1, 0, 1)
    assert "idempotency-replayed" not in second.headers


async def test_another_tenants_keys_never_match(workspace: Tenant, neighbour: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    (own,) = await made(workspace, 1)
    theirs = await made(neighbour, 3)
    their_partner, _ = await neighbour.onboard()
    assert outcomes(await done(workspace, "revoke")) == {own: "done"}
    for wanted in ({"partnerId": their_partner}, {"integrationId": neighbour.integration_id}, {"parentId": theirs[0]}):
        assert counts(await done(workspace, "revoke", filter=wanted)) == (0, 0, 0, 0)
    for key_id in theirs:
        assert await status(neighbour, key_id) == "active"
    assert partner_id != their_partner


async def test_a_narrowed_caller_reaches_its_own_alone(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    other_id, others = await workspace.onboard()
    await made(workspace, 2)
    conditions = Conditions(partners=(partner_id,), environments=("dev", "stage"))
    narrow = await workspace.key("key-manager", conditions=conditions)
    data = await done(workspace, "suspend", narrow, filter={"status": "active"})
    assert outcomes(data) == {keys["dev"]["id"]: "done", keys["stage"]["id"]: "done"}
    assert counts(await done(workspace, "revoke", narrow, filter={"kind": "account"})) == (0, 0, 0, 0)
    beyond = await ask(workspace, "revoke", narrow, filter={"partnerId": other_id})
    problem(beyond, 404, "not-found")
    assert await status(workspace, others["dev"]["id"]) == "active"


async def test_each_action_takes_its_own_permission(workspace: Tenant) -> None:
    terms = RoleTerms(name="Robot", permissions=("keys:read", "keys:rotate"))
    robot = await workspace.key((await workspace.services.roles.define(workspace.caller, terms)).view.id)
    await made(workspace, 1)
    for dry in (True, False):
        for action, permission in [("revoke", "revoke"), ("suspend", "suspend"), ("reinstate", "suspend")]:
            answer = await ask(workspace, action, robot, dryRun=dry)
            assert f"keys:{permission}," in problem(answer, 403, "permission-missing")["detail"]
    viewer = await workspace.key("viewer")
    assert "keys:rotate," in problem(await ask(workspace, "rotate", viewer), 403, "permission-missing")["detail"]
    wanted = {"filter": {"integrationId": workspace.integration_id}}
    assert counts(await done(workspace, "rotate", robot, **wanted))[0] == 1


async def test_more_than_the_most_are_refused_with_their_number(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await made(workspace, 5)
    monkeypatch.setattr(web_bulk, "MOST", 4)
    answer = await ask(workspace, "revoke")
    assert pointers(answer) == ["/filter"]
    assert "5 keys match" in answer.json()["detail"]
    assert {await status(workspace, each) for each in ids} == {"active"}
    monkeypatch.setattr(web_bulk, "MOST", 5)
    assert counts(await done(workspace, "revoke")) == (5, 5, 0, 0)


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"filter": {}}, ["/filter"]),
        ({"filter": {"partnerId": None, "q": None}}, ["/filter"]),
        ({"filter": {"q": ""}}, ["/filter/q"]),
        ({"filter": {"tag": ""}}, ["/filter/tag"]),
        ({"filter": {"role": "owner"}}, ["/filter/role"]),
        ({"filter": {"idleDays": 0}}, ["/filter/idleDays"]),
        ({"filter": {"issuedBefore": "2026-03-01T12:00:00"}}, ["/filter/issuedBefore"]),
        ({"filter": {"issuedBefore": "0001-01-01T00:00:00+14:00"}}, ["/filter/issuedBefore"]),
        ({"filter": {"partnerId": "\0"}}, ["/filter/partnerId"]),
        ({"action": "explode"}, ["/action"]),
        ({"reason": None}, ["/reason"]),
        ({"overlapSeconds": 5, "overlapStarts": "now"}, ["/overlapSeconds", "/overlapStarts"]),
        ({"action": "rotate"}, ["/reason"]),
        ({"action": "reinstate", "overlapSeconds": 5}, ["/reason", "/overlapSeconds"]),
        ({"action": "rotate", "reason": None, "overlapSeconds": -1}, ["/overlapSeconds"]),
    ],
)
async def test_what_doesnt_go_together_is_refused_by_name(workspace: Tenant, wrong: Any, at: list[str]) -> None:
    before = await workspace.services.journal.head()
    body = {"action": "revoke", "filter": {"tag": "t"}, "reason": "x"} | wrong
    assert pointers(await workspace.post(BULK, body)) == at
    assert await workspace.services.journal.head() == before


async def test_a_stream_tells_of_each_key_and_sums_up_at_its_end(workspace: Tenant) -> None:
    ids = await made(workspace, 40)
    await workspace.services.key_life.revoke(workspace.caller, ids[7], "x")
    answer = await ask(workspace, "suspend", headers={"Accept": NDJSON})
    assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON)
    assert answer.headers["cache-control"] == "no-store"
    first, *each, last = [json.loads(line) for line in answer.text.splitlines()]
    assert first == {"matched": 40, "correlationId": answer.headers["x-request-id"]}
    assert outcomes({"keys": each}) == dict.fromkeys(ids, "done") | {ids[7]: "key-ended"}
    at = await workspace.services.journal.head()
    summed = {"matched": 40, "done": 39, "unchanged": 0, "refused": 1, "dryRun": False, "position": at}
    assert last == summed | {"correlationId": first["correlationId"]}


class Caller:
    """An HTTP client that reads a stream as it comes and can hang up in the middle."""

    def __init__(self, workspace: Tenant, body: Any) -> None:
        self.lines: list[Any] = []
        self.hangs_up = asyncio.Event()
        headers = bearer(workspace.owner_key) | {"Accept": NDJSON, "Content-Type": "application/json"}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https",
            "path": BULK,
            "raw_path": BULK.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.7", 4711),
            "server": ("keyfold.test", 443),
        }
        self._sent = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        self._app = app_of(workspace.services)

    async def call(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self._sent:
            return self._sent.pop()
        await self.hangs_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.lines += [json.loads(line) for line in message.get("body", b"").splitlines()]
        if message["type"] == "http.response.body" and not message["more_body"]:
            self.hangs_up.set()


class Gate:
    """Holds every append until it is opened."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()
        self._append = services.journal.append
        monkeypatch.setattr(services.journal, "append", self._held)

    async def _held(self, write: Write) -> int:
        self.waiting += 1
        await self.opened.wait()
        return await self._append(write)

    async def holds(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.waiting < count:
                await asyncio.sleep(0.002)


async def test_when_the_client_hangs_up_what_is_under_way_finishes_and_no_more_begins(
    workspace: Tenant, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await made(workspace, 50)
    gate = Gate(services, monkeypatch)
    client = Caller(workspace, {"action": "revoke", "filter": {"tag": "t"}, "reason": "x"})
    call = asyncio.create_task(client.call())
    await gate.holds(app_bulk.AT_ONCE)
    assert [each["matched"] for each in client.lines] == [50]
    client.hangs_up.set()
    async with asyncio.timeout(10):
        await call
    gate.opened.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*app_bulk._UNDER_WAY)
    assert gate.waiting == app_bulk.AT_ONCE
    assert [await status(workspace, each) for each in ids].count("revoked") == app_bulk.AT_ONCE
    assert len(client.lines) == 1


async def test_no_more_than_sixteen_are_under_way_and_lines_come_as_they_are_done(
    workspace: Tenant, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(workspace, 40)
    gate = Gate(services, monkeypatch)
    client = Caller(workspace, {"action": "suspend", "filter": {"tag": "t"}, "reason": "x"})
    call = asyncio.create_task(client.call())
    await gate.holds(app_bulk.AT_ONCE)
    for _ in range(50):
        await asyncio.sleep(0)
    assert gate.waiting == len(app_bulk._UNDER_WAY) == app_bulk.AT_ONCE
    gate.opened.set()
    async with asyncio.timeout(10):
        await call
    assert len(client.lines) == 42
    assert client.lines[-1]["done"] == 40
