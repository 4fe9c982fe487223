"""From the link to the keys: preview, one redemption and no second, the ways in which a link ends, the portal."""

import asyncio
from datetime import datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from keyfold.domain.aggregates import KEY, PARTNER
from keyfold.domain.integration import COLOR

from .tenant import Clock, Tenant, bearer, position_of, problem

MOMENT = timedelta(microseconds=1)
PREVIEW = "/api/v1/onboarding/preview"
COOKIE = "__Host-keyfold-portal"


async def link_of(workspace: Tenant, partner_id: str) -> str:
    partner = (await workspace.services.journal.load(PARTNER, partner_id)).state
    assert partner is not None
    return partner.links[0]


async def preview(workspace: Tenant, token: str) -> httpx.Response:
    return await workspace.api.post(PREVIEW, json={"token": token})


async def test_a_preview_shows_who_invites_to_what_and_until_when(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite({"appName": "Orders", "appDescription": "Syncs"})
    answer = await preview(workspace, token)
    data = answer.json()["data"]
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert (data["partnerId"], data["appName"], data["appDescription"]) == (partner_id, "Orders", "Syncs")
    assert data["integration"]["id"] == workspace.integration_id
    assert data["integration"]["presentation"] == {"description": "", "color": COLOR, "icon": None}
    assert data["expiresAt"] > datetime.now().astimezone().isoformat()[:4]


async def test_previews_and_visits_of_the_page_spend_nothing(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    before = await workspace.services.journal.head()
    for _ in range(25):
        assert (await preview(workspace, token)).status_code == 200
        for method in ("GET", "HEAD"):
            assert (await workspace.api.request(method, "/onboard")).status_code == 200
            problem(await workspace.api.request("GET", PREVIEW), 405, "method-not-allowed")
    assert await workspace.services.journal.head() == before
    assert (await workspace.redeem(token)).status_code == 201


async def test_a_redemption_gives_a_key_for_each_environment_that_works_at_once(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite()
    answer = await workspace.redeem(token)
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert {*data} == {"purpose", "partner", "keys", "natsUrl"}
    assert data["purpose"] == "onboarding"
    assert (data["partner"]["id"], data["partner"]["status"]) == (partner_id, "onboarded")
    assert data["natsUrl"] == workspace.services.settings.public_nats_url
    assert [key["environment"] for key in data["keys"]] == ["dev", "stage", "prod"]
    for key in data["keys"]:
        assert key["secret"].startswith(f"kf_{key['environment']}_{key['id'].partition('_')[2]}_")
        assert (await workspace.verdict(key["secret"]))["valid"] is True


async def test_a_hundred_at_once_redeem_a_link_once(workspace: Tenant, other_process: httpx.AsyncClient) -> None:
    partner_id, token = await workspace.invite()
    clients = [workspace.api, other_process] * 50
    answers = await asyncio.gather(
        *(client.post("/api/v1/onboarding/redeem", json={"token": token}) for client in clients)
    )
    won = [answer for answer in answers if answer.status_code == 201]
    lost = [answer for answer in answers if answer.status_code != 201]
    assert (len(won), len(lost)) == (1, 99)
    for answer in lost:
        problem(answer, 410, "link-used")
    issued = sorted(key["id"] for key in won[0].json()["data"]["keys"])
    listed = await workspace.get("/api/v1/keys", partnerId=partner_id, minPosition=position_of(won[0]))
    assert sorted(key["id"] for key in listed.json()["data"]) == issued
    trail = await workspace.get(
        "/api/v1/audit/events", partnerId=partner_id, order="asc", minPosition=position_of(won[0])
    )
    assert sorted(event["type"] for event in trail.json()["data"]) == sorted(
        ["partner.invited.v1", "link.issued.v1", "link.redeemed.v1", "partner.onboarded.v1", "session.opened.v1"]
        + ["key.issued.v1"] * 3
    )


async def test_a_used_link_stays_used(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite()
    await workspace.redeem(token)
    problem(await workspace.redeem(token), 410, "link-used")
    problem(await preview(workspace, token), 410, "link-used")
    withdrawal = await workspace.post(f"/api/v1/links/{await link_of(workspace, partner_id)}/withdraw", {"reason": "x"})
    problem(withdrawal, 410, "link-used")


async def test_a_link_expires_at_the_very_instant(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    _, token = await workspace.invite()
    clock.advance(timedelta(minutes=30) - MOMENT)
    assert (await preview(workspace, token)).status_code == 200
    clock.advance(MOMENT)
    problem(await preview(workspace, token), 410, "link-expired")
    problem(await workspace.redeem(token), 410, "link-expired")
    clock.advance(-MOMENT)
    assert (await workspace.redeem(token)).status_code == 201


async def test_a_withdrawn_link_is_over_and_withdrawing_it_again_changes_nothing(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite()
    path = f"/api/v1/links/{await link_of(workspace, partner_id)}/withdraw"
    first = await workspace.post(path, {"reason": "wrong address"})
    assert (first.status_code, first.json()["data"]["status"]) == (200, "withdrawn")
    again = await workspace.post(path, {"reason": "again"})
    assert again.json() == first.json()
    assert await workspace.services.journal.head() == position_of(first) == position_of(again)
    problem(await workspace.redeem(token), 410, "link-withdrawn")
    problem(await preview(workspace, token), 410, "link-withdrawn")


async def test_what_is_no_link_is_unknown(workspace: Tenant, neighbour: Tenant) -> None:
    _, token = await workspace.invite()
    _, other = await neighbour.invite()
    stitched = token[:31] + other[31:]
    for text in ("kfl_", "x" * 256, token[:-1] + ("a" if token[-1] != "a" else "b"), stitched, workspace.owner_key):
        problem(await workspace.redeem(text), 404, "link-unknown")
        problem(await preview(workspace, text), 404, "link-unknown")


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": "x" * 257}, {"token": None}, {"token": "kfl_", "id": 1}])
async def test_a_request_without_a_proper_token_is_refused(workspace: Tenant, body: Any) -> None:
    for path in (PREVIEW, "/api/v1/onboarding/redeem"):
        problem(await workspace.api.post(path, json=body), 400, "invalid-request")


async def test_the_portal_knows_a_partner_by_the_cookie_of_its_redemption(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite()
    redeemed = await workspace.redeem(token)
    cookie: Any = SimpleCookie(redeemed.headers["set-cookie"])[COOKIE]
    assert (cookie["path"], cookie["httponly"], cookie["secure"], cookie["samesite"]) == ("/", True, True, "Lax")
    assert (cookie["max-age"], cookie["domain"]) == ("43200", "")
    portal = await workspace.api.get("/api/v1/portal", headers={"Cookie": f"{COOKIE}={cookie.value}"})
    assert portal.status_code == 200
    assert portal.headers["cache-control"] == "no-store"
    assert portal.json()["data"]["partner"]["id"] == partner_id
    assert {key["id"] for key in portal.json()["data"]["keys"]} == {
        key["id"] for key in redeemed.json()["data"]["keys"]
    }
    assert "secret" not in portal.text


async def test_the_portal_closes_after_twelve_hours_to_the_instant(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    await workspace.onboard()
    clock.advance(timedelta(hours=12) - MOMENT)
    assert (await workspace.api.get("/api/v1/portal")).status_code == 200
    clock.advance(MOMENT)
    problem(await workspace.api.get("/api/v1/portal"), 401, "unauthenticated")


async def test_the_portal_is_closed_to_strangers_and_to_partners_that_left(workspace: Tenant) -> None:
    problem(await workspace.api.get("/api/v1/portal"), 401, "unauthenticated")
    partner_id, keys = await workspace.onboard()
    session = workspace.api.cookies[COOKIE]
    workspace.api.cookies.clear()
    for wrong in (session[:-1], keys["prod"]["secret"], "x", ""):
        answer = await workspace.api.get("/api/v1/portal", headers={"Cookie": f"{COOKIE}={wrong}"})
        problem(answer, 401, "unauthenticated")
    await workspace.delete(f"/api/v1/partners/{partner_id}")
    answer = await workspace.api.get("/api/v1/portal", headers={"Cookie": f"{COOKIE}={session}"})
    problem(answer, 401, "unauthenticated")


async def test_offboarding_kills_every_key_and_the_open_link_in_one_transaction(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    wanted = {"kind": "service", "name": "one more", "environment": "dev", "partnerId": partner_id}
    more = (await workspace.post("/api/v1/keys", wanted)).json()["data"]
    before = await workspace.services.journal.head()
    gone = await workspace.delete(f"/api/v1/partners/{partner_id}", reason="contract ended")
    every = [*keys.values(), more]
    assert (gone.status_code, gone.json()["data"]["status"]) == (200, "offboarded")
    assert sorted(gone.json()["data"]["revokedKeys"]) == sorted(key["id"] for key in every)
    assert position_of(gone) == before + 1 + len(every)
    assert {(await workspace.verdict(key["secret"]))["code"] for key in every} == {"revoked"}
    problem(await workspace.post("/api/v1/keys", wanted), 409, "partner-offboarded")
    again = await workspace.delete(f"/api/v1/partners/{partner_id}")
    assert (again.status_code, again.json()["data"]["revokedKeys"]) == (200, [])


async def test_offboarding_an_invited_partner_withdraws_its_link(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite()
    assert (await workspace.delete(f"/api/v1/partners/{partner_id}")).status_code == 200
    problem(await workspace.redeem(token), 410, "link-withdrawn")
    link = await workspace.get(f"/api/v1/links/{await link_of(workspace, partner_id)}")
    assert link.json()["data"]["status"] == "withdrawn"


async def test_no_key_survives_a_race_of_redemption_issue_and_offboarding(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    outcomes = set()
    for turn in range(12):
        partner_id, token = await workspace.invite()
        path, headers = f"/api/v1/partners/{partner_id}", bearer(workspace.owner_key)
        wanted = {"kind": "service", "name": "late", "environment": "dev", "partnerId": partner_id}
        racers = {
            "redeem": workspace.redeem(token),
            "offboard": other_process.delete(path, headers=headers),
            "issue": workspace.post("/api/v1/keys", wanted),
        }
        names = [*racers][turn % 3 :] + [*racers][: turn % 3]
        answers = dict(zip(names, await asyncio.gather(*(racers[name] for name in names)), strict=True))
        redeemed, offboarded, issued = (answers[name] for name in racers)
        assert offboarded.status_code == 200
        if redeemed.status_code != 201:
            problem(redeemed, 410, "link-withdrawn")
        if issued.status_code != 201:
            problem(issued, 409, "partner-offboarded")
        outcomes.add((redeemed.status_code, issued.status_code))
        partner = (await workspace.services.journal.load(PARTNER, partner_id)).state
        assert partner is not None
        assert len(partner.keys) == 3 * (redeemed.status_code == 201) + (issued.status_code == 201)
        for key_id in partner.keys:
            key = (await workspace.services.journal.load(KEY, key_id)).state
            assert key is not None
            assert key.status == "revoked"
    assert len(outcomes) > 1, "there was no race"
