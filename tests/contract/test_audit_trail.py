"""The trail for those who search it: by everything, from cause to effect, followed, exported, and who saw what."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from integration.support import LIMIT
from keyfold.app.schedules import Schedules
from keyfold.app.work import Cause
from keyfold.domain.permissions import Conditions
from keyfold.domain.record import Actor
from keyfold.store import feed
from keyfold.web.services import Services

from .streaming import reading
from .tenant import Clock, Tenant, bearer, pointers, position_of, problem

EVENTS, EXPORT, STREAM = "/api/v1/audit/events", "/api/v1/audit/export", "/api/v1/audit/stream"


async def trail(tenant: Tenant, key: str | None = None, **filters: Any) -> list[Any]:
    params = {"minPosition": await tenant.services.journal.head(), "order": "asc", "limit": 200, **filters}
    answer = await tenant.api.get(EVENTS, params=params, headers=bearer(key or tenant.owner_key))
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["data"]
    return found


async def exported(tenant: Tenant, key: str | None = None, **query: Any) -> tuple[int, list[bytes]]:
    """The position up to which it goes, and the lines."""
    answer = await tenant.api.get(EXPORT, params=query, headers=bearer(key or tenant.owner_key))
    assert answer.status_code == 200, answer.text
    assert not answer.content or answer.content.endswith(b"\n")
    return position_of(answer), answer.content.splitlines()


async def written(services: Services) -> None:
    await services.attempts.flush()
    await services.readings.flush()


def types(events: list[Any]) -> list[str]:
    return [each["type"] for each in events]


async def test_events_are_found_by_everything_that_people_search_by(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    link_id = (await trail(workspace, type="link.issued.v1"))[0]["stream"]
    await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", {"reason": "leaked"}, X_Request_Id="find-me")
    found = {
        "resourceId": (link_id, ["link.issued.v1", "link.redeemed.v1"]),
        "environment": ("dev", ["key.issued.v1", "key.revoked.v1"]),
        "correlationId": ("find-me", ["key.revoked.v1"]),
        "actorKind": (
            "portal",
            ["link.redeemed.v1", "partner.onboarded.v1", *["key.issued.v1"] * 3, "session.opened.v1"],
        ),
        "type": ("key.revoked,link.issued.v1", ["link.issued.v1", "key.revoked.v1"]),
    }
    for name, (value, expected) in found.items():
        assert types(await trail(workspace, **{name: value})) == expected, name
    assert {each.partition(".")[0] for each in types(await trail(workspace, type="key.,link."))} == {"key", "link"}
    of_partner = await trail(workspace, resourceId=partner_id)
    assert types(of_partner) == ["partner.invited.v1", "partner.onboarded.v1"]
    upto = of_partner[0]["position"]
    assert types(await trail(workspace, until=upto, partnerId=partner_id)) == ["partner.invited.v1"]


async def test_events_are_found_by_address_and_by_network(workspace: Tenant) -> None:
    await workspace.invite()
    mine = await trail(workspace, address="192.0.2.7")
    assert types(mine) == ["partner.invited.v1", "link.issued.v1"]
    for network in ("192.0.2.0/24", "0.0.0.0/0", "::ffff:192.0.2.7", "192.0.2.7/32"):
        assert await trail(workspace, address=network) == mine, network
    for network in ("192.0.2.8", "192.0.3.0/24", "::/0"):
        assert await trail(workspace, address=network) == [], network


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("address", "unknown"),
        ("address", "192.0.2.7/24"),
        ("type", "key.revokd.v1"),
        ("type", "key.,"),
        ("type", ",".join(["key."] * 51)),
        ("until", "tomorrow"),
        ("until", "2026-03-01T12:00:00"),
        ("actorKind", "robot"),
        ("environment", "production"),
        ("resourceId", "a\nb"),
        ("afterPosition", "-1"),
        ("keyId", "prt_01h455vb4pex5vsknk084sn02q"),
        ("partnerId", "key_01h455vb4pex5vsknk084sn02q"),
        ("partnerId", ""),
        ("integrationId", "int_nobody"),
        ("resourceId", "evt_01h455vb4pex5vsknk084sn02q"),
        ("causationId", "req_1"),
        ("actorId", ""),
        ("correlationId", ""),
        ("beforePosition", "1"),
        ("partnerID", "prt_01h455vb4pex5vsknk084sn02q"),
        ("asof", "12"),
        ("asOf", "12"),
    ],
)
async def test_what_nothing_can_match_is_refused_and_named(workspace: Tenant, name: str, value: str) -> None:
    for path in (EVENTS, EXPORT, STREAM):
        assert pointers(await workspace.get(path, **{name: value})) == [f"?{name}"], path


async def test_a_span_that_ends_before_it_begins_is_refused(workspace: Tenant) -> None:
    said = await workspace.get(EVENTS, since="2026-03-02T00:00:00Z", until="2026-03-01T00:00:00Z")
    assert pointers(said) == ["?until"]
    assert pointers(await workspace.get(EVENTS, afterPosition=10, beforePosition=11)) == ["?beforePosition"]
    assert pointers(await workspace.get(EVENTS, afterPosition=10, until=10)) == ["?until"]


async def test_a_zone_whose_plus_was_not_escaped_is_told_how_it_is_written(workspace: Tenant) -> None:
    for path in (f"{EVENTS}?since", f"{EVENTS}?until", "/api/v1/audit/changes?from", "/api/v1/keys?asOf"):
        answer = await workspace.api.get(f"{path}=2026-03-01T12:00:00+01:00", headers=bearer(workspace.owner_key))
        assert "%2B" in problem(answer, 400, "invalid-request")["errors"][0]["detail"], path


async def test_a_parameter_that_wouldnt_be_heeded_is_refused_and_those_that_are_named(workspace: Tenant) -> None:
    get, headers = workspace.api.get, bearer(workspace.owner_key)
    for path in ("/api/v1/keys?as_of=5", "/api/v1/keys/self?asof=5", "/api/v1/audit/export?limit=5"):
        said = problem(await get(path, headers=headers), 400, "invalid-request")
        (error,) = said["errors"]
        assert error["pointer"] == f"?{path.partition('?')[2].partition('=')[0]}"
        assert ("asOf" in error["detail"]) == ("keys" in path)
    said = problem(await get("/api/v1/keys?asOf=1&asOf=2", headers=headers), 400, "invalid-request")
    assert [each["pointer"] for each in said["errors"]] == ["?asOf"]
    answer = await workspace.api.post("/api/v1/keys/verify?x=1", json={"key": workspace.owner_key}, headers=headers)
    assert pointers(answer) == ["?x"]
    assert (await get("/api/v1/keys?asOf=1", headers=bearer("kf_acc_nobody"))).status_code == 401


async def test_an_event_is_shown_with_what_caused_it_and_all_that_it_caused(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    parent = keys["prod"]["id"]
    child = (await workspace.post(f"/api/v1/keys/{parent}/delegate", {})).json()["data"]["id"]
    grandchild = (await workspace.post(f"/api/v1/keys/{child}/delegate", {})).json()["data"]["id"]
    await workspace.delete(f"/api/v1/partners/{partner_id}", reason="over")
    (left,) = await trail(workspace, type="partner.offboarded")
    shown = (await workspace.get(f"{EVENTS}/{left['id']}")).json()["data"]
    assert {each["stream"] for each in shown["effects"]} == {each["id"] for each in keys.values()} | {child, grandchild}
    assert shown["causes"] == []
    assert not shown["hasMoreEffects"]
    assert [each["position"] for each in shown["effects"]] == sorted(each["position"] for each in shown["effects"])
    assert await trail(workspace, causationId=left["id"]) == shown["effects"]
    issued = (await trail(workspace, keyId=grandchild, type="key.issued"))[0]
    causes = (await workspace.get(f"{EVENTS}/{issued['id']}")).json()["data"]["causes"]
    assert [(each["type"], each["stream"]) for each in causes] == [("key.delegated.v1", child)]


async def test_what_one_fact_makes_happen_names_it(workspace: Tenant, clock: Clock, services: Services) -> None:
    _, keys = await workspace.onboard()
    await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/rotate", {"overlapStarts": "first-use"})
    await workspace.post(f"/api/v1/keys/{keys['prod']['id']}/compromise", {"reason": "found", "replace": True})
    successor = (await trail(workspace, keyId=keys["dev"]["id"], type="key.rotated"))[0]["data"]["successorId"]
    cause = services.office.new_id("req")
    await services.rotation.note_first_use(_system(cause), successor)
    every = {each["id"]: each for each in await trail(workspace)}
    pairs = {(every[each["causationId"]]["type"], each["type"]) for each in every.values() if each["causationId"]}
    assert pairs == {
        ("workspace.created.v1", "integration.created.v1"),
        ("workspace.created.v1", "key.issued.v1"),
        ("key.issued.v1", "workspace.owner-added.v1"),
        ("partner.invited.v1", "link.issued.v1"),
        ("link.redeemed.v1", "partner.onboarded.v1"),
        ("link.redeemed.v1", "key.issued.v1"),
        ("link.redeemed.v1", "session.opened.v1"),
        ("key.rotated.v1", "partner.key-added.v1"),
        ("key.rotated.v1", "key.issued.v1"),
        ("key.compromised.v1", "partner.key-added.v1"),
        ("key.compromised.v1", "key.issued.v1"),
        ("key.first-used.v1", "key.retiring.v1"),
    }
    assert all(
        every[each["causationId"]]["position"] < each["position"] for each in every.values() if each["causationId"]
    )


def _system(correlation_id: str) -> Any:
    return Cause(Actor(kind="system", id="first-use"), correlation_id)


async def test_what_time_brings_names_what_set_the_time(workspace: Tenant, clock: Clock, services: Services) -> None:
    end = clock() + timedelta(hours=1)
    wanted = {"kind": "account", "name": "x", "role": "viewer", "expiresAt": end.isoformat()}
    key = (await workspace.post("/api/v1/keys", wanted)).json()["data"]["id"]
    clock.set(end + timedelta(seconds=1))
    await Schedules(services.office).write_due(key)
    clock.run()
    issued, expired = await trail(workspace, keyId=key)
    assert (expired["type"], expired["causationId"]) == ("key.expired.v1", issued["id"])


async def test_a_narrowed_key_sees_of_a_chain_what_it_sees_of_the_trail(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    narrowed = await workspace.key("auditor", conditions=_only(partner_id))
    (redeemed,) = await trail(workspace, type="link.redeemed")
    shown = await workspace.api.get(f"{EVENTS}/{redeemed['id']}", headers=bearer(narrowed))
    assert len(shown.json()["data"]["effects"]) == 5
    (founded,) = await trail(workspace, type="workspace.created")
    problem(await workspace.api.get(f"{EVENTS}/{founded['id']}", headers=bearer(narrowed)), 404, "not-found")
    other, _ = await workspace.onboard()
    problem(await workspace.api.get(f"{EXPORT}?partnerId={other}", headers=bearer(narrowed)), 404, "not-found")
    _, lines = await exported(workspace, narrowed)
    assert {json.loads(each)["data"]["partnerId"] for each in lines} == {partner_id}


def _only(partner_id: str) -> Any:
    return Conditions(partners=(partner_id,))


async def test_an_export_of_everything_is_the_log_byte_by_byte_and_nobody_elses(
    workspace: Tenant, neighbour: Tenant, services: Services
) -> None:
    await workspace.onboard()
    await neighbour.onboard()
    at, lines = await exported(workspace, format="records")
    rows = await services.postgres.fetch(
        "SELECT position, record FROM keyfold.log WHERE workspace_id = $1 AND position <= $2 ORDER BY 1",
        workspace.id,
        at,
    )
    assert lines == [b'{"position":%d,"record":%s}' % (row["position"], row["record"].encode()) for row in rows]
    assert len(lines) > 10


async def test_an_export_that_is_resumed_at_any_cut_has_no_gap_and_nothing_twice(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 3)
    await workspace.onboard()
    at, whole = await exported(workspace, format="records", until=await workspace.services.journal.head())
    for cut in range(len(whole)):
        after = json.loads(whole[cut])["position"]
        assert (await exported(workspace, format="records", after=after, until=at))[1] == whole[cut + 1 :]
    assert (await exported(workspace, after=at, until=at)) == (at, [])


async def test_an_export_has_the_same_filters_in_every_format(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    expected = await trail(workspace, partnerId=partner_id, type="key.,partner.")
    wanted = {"partnerId": partner_id, "type": "key.,partner."}
    _, lines = await exported(workspace, **wanted)
    assert [json.loads(each) for each in lines] == expected
    _, ocsf = await exported(workspace, format="ocsf", **wanted)
    assert [json.loads(each)["metadata"]["uid"] for each in ocsf] == [each["id"] for each in expected]
    _, ecs = await exported(workspace, format="ecs", **wanted)
    assert [json.loads(each)["event"]["sequence"] for each in ecs] == [each["position"] for each in expected]
    assert pointers(await workspace.get(EXPORT, format="csv")) == ["?format"]
    ahead = await workspace.services.journal.head() + 1000
    assert pointers(await workspace.get(EXPORT, after=ahead)) == ["?after"]


async def test_an_export_reads_no_more_than_its_reader_takes(
    workspace: Tenant, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 2)
    for _ in range(5):
        await workspace.invite()
    read: list[int] = []
    original = services.lists.trail

    async def counted(*given: Any, **more: Any) -> Any:
        rows = await original(*given, **more)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(services.lists, "trail", counted)
    async with reading(services, EXPORT, bearer(workspace.owner_key), format="records") as stream:
        stream.pause()
        await asyncio.sleep(0.3)
        assert sum(read) <= 4  # what is on its way, and the page that waits behind it
        stream.resume()
        async with asyncio.timeout(LIMIT):
            await stream.ended.wait()
    assert len(stream.body.splitlines()) == sum(read) > 10


async def test_an_export_whose_key_ends_is_left_without_an_end_and_what_went_out_is_written_down(
    workspace: Tenant, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE", 2)
    wanted = {"kind": "account", "name": "x", "role": "auditor"}
    issued = (await workspace.post("/api/v1/keys", wanted)).json()["data"]
    async with reading(services, EXPORT, bearer(issued["secret"]), format="records") as stream:
        stream.pause()
        await asyncio.sleep(0.1)
        await workspace.post(f"/api/v1/keys/{issued['id']}/revoke", {"reason": "test"})
        await asyncio.sleep(1)
    assert not stream.ended.is_set()
    begun, ended = await trail(workspace, actorId=issued["id"])
    assert (begun["type"], ended["type"]) == ("audit.export-begun.v1", "audit.exported.v1")
    assert (ended["data"]["isComplete"], ended["causationId"]) == (False, begun["id"])
    assert ended["data"]["count"] in (2, 4)


@pytest.mark.parametrize("left", ["amid it", "while its end was being written down"])
async def test_an_export_whose_reader_leaves_is_written_down_to_its_end(
    workspace: Tenant, services: Services, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """The second is what whoever takes one line and goes does, such as `keyfold audit prove`."""
    await workspace.invite()
    ending, gone, end = asyncio.Event(), asyncio.Event(), services.exports.end

    async def slow(*given: Any, **more: Any) -> None:
        ending.set()
        await gone.wait()
        await end(*given, **more)

    if left == "amid it":
        monkeypatch.setattr(feed, "PAGE", 2)
    else:
        monkeypatch.setattr(services.exports, "end", slow)
    async with reading(services, EXPORT, bearer(workspace.owner_key), format="records") as stream:
        if left == "amid it":
            stream.pause()
            await asyncio.sleep(0.1)
        else:
            await ending.wait()
            asyncio.get_running_loop().call_later(0.2, gone.set)
    begun, ended = await trail(workspace, type="audit.export-begun,audit.exported")
    assert ended["causationId"] == begun["id"]
    assert ended["data"]["isComplete"] == (left != "amid it")


async def test_who_exported_what_is_written_down_and_makes_no_more_of_itself(workspace: Tenant) -> None:
    auditor = await workspace.key("auditor")
    at, lines = await exported(workspace, auditor, format="ecs", type="key.", address="0.0.0.0/0")
    assert lines == []  # operators have no address
    assert await trail(workspace, type="audit.") == []
    at, lines = await exported(workspace, auditor, format="ecs", type="key.")
    begun, ended = await trail(workspace, type="audit.")
    common = {"format": "ecs", "after": 0, "until": at, "workspaceId": workspace.id}
    assert begun["data"].items() >= common.items()
    assert ended["data"].items() >= {**common, "count": len(lines), "isComplete": True}.items()
    assert ended["data"]["filters"]["types"].startswith("key.issued.v1,")
    assert ended["data"]["last"] == json.loads(lines[-1])["event"]["sequence"]
    for _ in range(3):  # somebody who asks again and again for what is new
        at, _ = await exported(workspace, auditor, after=at)
    assert types(await trail(workspace, type="audit.")) == ["audit.export-begun.v1", "audit.exported.v1"]


async def test_an_address_that_was_searched_for_is_not_kept(workspace: Tenant, services: Services) -> None:
    await workspace.invite()
    await exported(workspace, address="192.0.2.7")
    (begun,) = await trail(workspace, type="audit.export-begun")
    assert begun["data"]["filters"] == {"address": "not kept"}


async def test_who_read_the_trail_is_written_down_once_and_then_as_a_number(
    workspace: Tenant, services: Services, clock: Clock
) -> None:
    auditor = await workspace.key("auditor")
    who = (await workspace.verdict(auditor))["keyId"]

    async def read(times: int) -> int:
        """How many got an answer: a busy machine says 503 to some."""
        asked = [workspace.api.get(EVENTS, headers=bearer(auditor)) for _ in range(times)]
        return sum(answer.status_code == 200 for answer in await asyncio.gather(*asked))

    assert await read(1) == 1
    await written(services)
    times = await read(25)
    for _ in range(3):
        await written(services)
    first = await trail(workspace, type="audit.read", actorId=who)
    assert [(each["data"]["what"], each["data"]["count"]) for each in first] == [("events", 1)]
    assert first[0]["actor"] == {"kind": "key", "id": who, "address": "192.0.2.7"}
    clock.set(clock() + timedelta(minutes=11))
    await written(services)
    await written(services)
    clock.run()
    counts = [each["data"]["count"] for each in await trail(workspace, type="audit.read", actorId=who)]
    assert counts == [1, times]
    assert times > 10


async def test_who_looked_at_changes_and_holders_is_written_down_as_in_the_console(
    workspace: Tenant, services: Services
) -> None:
    await workspace.get("/api/v1/audit/changes", **{"from": 0})
    await workspace.get("/api/v1/audit/holders", action="send")
    await workspace.get("/api/v1/audit/changes")  # is refused
    await written(services)
    found = await trail(workspace, type="audit.read")
    assert sorted((each["data"]["what"], each["data"]["count"]) for each in found) == [("changes", 1), ("holders", 1)]


async def test_a_stream_that_shows_its_own_reading_shows_it_once(workspace: Tenant, services: Services) -> None:
    async with reading(services, STREAM, bearer(workspace.owner_key), type="audit.") as stream:
        await stream.until(0)
        for _ in range(5):
            await written(services)
            await asyncio.sleep(0.05)
        events = await stream.until(1)
        await asyncio.sleep(0.3)
        assert [(each.data["type"], each.data["data"]["what"]) for each in stream.events] == [
            ("audit.read.v1", "stream")
        ]
        assert events[0].id == str(events[0].data["position"])


async def test_the_trail_is_followed_by_filter_from_where_it_was_left(workspace: Tenant, services: Services) -> None:
    partner_id, keys = await workspace.onboard()
    query = {"partnerId": partner_id, "type": "key."}
    async with reading(services, STREAM, bearer(workspace.owner_key), after=0, **query) as stream:
        before = await stream.until(3)
        await workspace.onboard()
        await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", {"reason": "x"})
        revoked = (await stream.until(4))[3]
    assert [each.data for each in [*before, revoked]] == await trail(workspace, **query)
    headers = bearer(workspace.owner_key) | {"Last-Event-ID": before[1].id}
    async with reading(services, STREAM, headers, live="false", **query) as stream:
        assert [each.id for each in await stream.replayed()] == [before[2].id, revoked.id]


async def test_who_verifies_secrets_is_written_down(workspace: Tenant, services: Services) -> None:
    gate = await workspace.key("key-manager")
    _, keys = await workspace.onboard()
    for _ in range(4):
        body = {"key": keys["dev"]["secret"]}
        assert (await workspace.api.post("/api/v1/keys/verify", json=body, headers=bearer(gate))).status_code == 200
    await written(services)
    found = await trail(workspace, type="audit.read")
    assert [(each["data"]["what"], each["data"]["count"]) for each in found] == [("verification", 4)]


async def test_refused_attempts_by_known_keys_are_kept_with_why(workspace: Tenant, services: Services) -> None:
    partner_id, keys = await workspace.onboard()
    other, _ = await workspace.onboard()
    dead, viewer = keys["dev"], await workspace.key("viewer")
    narrowed = await workspace.key("viewer", conditions=_only(partner_id))
    await workspace.post(f"/api/v1/keys/{dead['id']}/revoke", {"reason": "x"})

    async def hammer(path: str, key: str) -> httpx.Response:
        answers = [await workspace.api.get(path, headers=bearer(key)) for _ in range(3)]
        return answers[-1]

    problem(await hammer("/api/v1/keys/self", dead["secret"]), 401, "unauthenticated")
    problem(await hammer(EVENTS, viewer), 403, "permission-missing")
    problem(await hammer(f"/api/v1/partners/{other}", narrowed), 404, "not-found")
    problem(await hammer("/api/v1/partners/prt_01h455vb4pex5vsknk084sn02q", narrowed), 404, "not-found")
    assert (await workspace.verdict(dead["secret"], address="198.51.100.9"))["code"] == "revoked"
    assert (await workspace.verdict("kf_prod_nothing"))["code"] == "unknown-key"
    await written(services)
    found = [each["data"] for each in await trail(workspace, type="access.refused")]
    assert sorted((each["code"], each["count"], each["road"]) for each in found) == [
        ("outside-conditions", 3, "http"),
        ("permission-missing", 3, "http"),
        ("revoked", 4, "http"),
    ]
    (revoked,) = [each for each in found if each["code"] == "revoked"]
    assert (revoked["keyId"], revoked["partnerId"], revoked["address"]) == (dead["id"], partner_id, "198.51.100.9")


async def test_what_is_asked_of_another_workspace_leaves_no_trace_that_it_is_there(
    workspace: Tenant, neighbour: Tenant, services: Services
) -> None:
    theirs, _ = await neighbour.onboard()
    problem(await workspace.get(f"/api/v1/partners/{theirs}"), 404, "not-found")
    await written(services)
    assert await trail(workspace, type="access.refused") == []
