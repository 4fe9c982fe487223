"""The audit trail: who, what, on what, when, from where, by which request."""

from datetime import datetime, timedelta
from typing import Any

from .tenant import PARTNER, Clock, Tenant, bearer, position_of, problem

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


async def trail(workspace: Tenant, **filters: Any) -> list[Any]:
    """What the audit trail has for these filters, in the order in which it happened."""
    head = await workspace.services.journal.head()
    answer = await workspace.get("/api/v1/audit/events", minPosition=head, order="asc", limit=200, **filters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["nextCursor"] is None
    found: list[Any] = answer.json()["data"]
    return found


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


async def identity(workspace: Tenant, secret: str) -> str:
    return str((await workspace.verdict(secret))["keyId"])


async def test_an_event_shows_who_did_what_from_where_and_by_which_request(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    body = {"appName": "Orders", "metadata": {"crmId": "42"}}
    answer = await workspace.ask_to_invite(body, X_Request_Id="trace-me")
    invited, issued = await trail(workspace, correlationId="trace-me")
    partner_id = answer.json()["data"]["id"]
    assert (invited["type"], invited["stream"], invited["version"]) == ("partner.invited.v1", partner_id, 1)
    assert issued["type"] == "link.issued.v1"
    actor = await identity(workspace, workspace.integration_key)
    for event in (invited, issued):
        assert event["actor"] == {"kind": "key", "id": actor, "address": "192.0.2.7"}
        assert event["correlationId"] == answer.headers["x-request-id"] == "trace-me"
        assert event["time"] == "2026-03-01T12:00:00Z"
        assert event["id"].startswith("evt_")
    assert [invited["position"], issued["position"]] == [position_of(answer) - 1, position_of(answer)]
    assert (invited["data"]["appName"], invited["data"]["metadata"]) == ("Orders", {"crmId": "42"})
    assert invited["data"]["workspaceId"] == workspace.id


async def test_the_story_of_a_partner_is_told_in_order(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", {"reason": "leaked"})
    await workspace.delete(f"/api/v1/partners/{partner_id}", reason="contract ended")
    story = await trail(workspace, partnerId=partner_id)
    assert types(story)[:2] == ["partner.invited.v1", "link.issued.v1"]
    assert sorted(types(story)[2:8]) == sorted(
        ["key.issued.v1"] * 3 + ["link.redeemed.v1", "partner.onboarded.v1", "session.opened.v1"]
    )
    assert types(story)[8:] == ["key.revoked.v1", "partner.offboarded.v1", "key.revoked.v1", "key.revoked.v1"]
    assert [event["position"] for event in story] == sorted(event["position"] for event in story)
    assert {event["actor"]["kind"] for event in story[2:8]} == {"portal"}
    reasons = [event["data"]["reason"] for event in story[8:]]
    assert reasons == ["leaked", "contract ended", *["partner offboarded: contract ended"] * 2]


async def test_events_are_found_by_key_type_integration_and_actor(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", {"reason": "leaked"})
    owner = await identity(workspace, workspace.owner_key)
    inviter = await identity(workspace, workspace.integration_key)
    assert types(await trail(workspace, keyId=keys["dev"]["id"])) == ["key.issued.v1", "key.revoked.v1"]
    assert types(await trail(workspace, type="key.revoked.v1")) == ["key.revoked.v1"]
    assert types(await trail(workspace, actorId=owner)) == ["key.revoked.v1"]
    assert types(await trail(workspace, actorId=inviter)) == ["partner.invited.v1", "link.issued.v1"]
    assert types(await trail(workspace, actorId=inviter, partnerId=partner_id, type="link.issued.v1")) == [
        "link.issued.v1"
    ]
    of_integration = await trail(workspace, integrationId=workspace.integration_id)
    assert types(of_integration)[0] == "integration.created.v1"
    assert len(of_integration) == 11
    assert await trail(workspace, integrationId=await workspace.integration(), type="key.issued.v1") == []


async def test_time_is_a_half_open_window(workspace: Tenant, clock: Clock) -> None:
    moments = [NOON + timedelta(hours=hours) for hours in range(4)]
    partners = []
    for moment in moments:
        clock.set(moment)
        partners.append((await workspace.invite())[0])
    window = {"since": moments[1].isoformat(), "until": moments[3].isoformat(), "type": "partner.invited.v1"}
    assert [event["stream"] for event in await trail(workspace, **window)] == partners[1:3]
    east = {"since": "2026-03-01T22:00:00+09:00", "until": "2026-03-01T13:00:00.000001Z", "type": "partner.invited.v1"}
    assert [event["stream"] for event in await trail(workspace, **east)] == partners[1:2]


async def test_positions_are_an_open_window(workspace: Tenant) -> None:
    answers = [await workspace.ask_to_invite() for _ in range(3)]
    first, _, last = (position_of(answer) for answer in answers)
    between = await trail(workspace, afterPosition=first, beforePosition=last)
    assert [event["position"] for event in between] == [*range(first + 1, last)]


async def test_pages_go_either_way_without_gap_or_duplicate(workspace: Tenant) -> None:
    for _ in range(12):
        await workspace.invite()
    every = [event["position"] for event in await trail(workspace)]
    for order, expected in [("asc", every), ("desc", every[::-1])]:
        found: list[int] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = await workspace.get("/api/v1/audit/events", order=order, limit=7, **cursor)
            found += [event["position"] for event in answer.json()["data"]]
            if answer.json()["nextCursor"] is None:
                break
            cursor = {"cursor": answer.json()["nextCursor"]}
        assert found == expected


async def test_an_operator_is_shown_as_one_without_an_address(workspace: Tenant) -> None:
    created = (await trail(workspace))[0]
    assert created["type"] == "workspace.created.v1"
    assert created["actor"] == {"kind": "operator", "id": "test"}


async def test_what_was_refused_is_not_in_the_trail(workspace: Tenant) -> None:
    before = types(await trail(workspace))
    await workspace.ask_to_invite({"unknown": 1})
    await workspace.api.post(PARTNER, json={})
    await workspace.redeem("kfl_nothing")
    assert types(await trail(workspace)) == before


async def test_an_auditor_reads_it_and_a_viewer_doesnt(workspace: Tenant) -> None:
    statuses: dict[str, int] = {"auditor": 200, "viewer": 403}
    for role, status in statuses.items():
        headers = bearer(await workspace.key(role))
        assert (await workspace.api.get("/api/v1/audit/events", headers=headers)).status_code == status
    answer = await workspace.api.get("/api/v1/audit/events", headers=bearer(workspace.integration_key))
    assert "audit:read" in problem(answer, 403, "permission-missing")["detail"]
