"""Lists: every page without gap or duplicate, filters, status by the clock, and one's own writes read back."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from .tenant import Clock, Tenant, bearer, position_of, problem

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


async def pages(workspace: Tenant, path: str, **params: Any) -> list[list[Any]]:
    """All pages of a list, each checked to be as long as it says."""
    found, cursor = [], None
    while True:
        answer = await workspace.get(path, **params, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["data"])
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return found


async def ids(workspace: Tenant, path: str, **params: Any) -> list[str]:
    return [each["id"] for page in await pages(workspace, path, **params) for each in page]


async def head(workspace: Tenant) -> int:
    return await workspace.services.journal.head()


async def test_120_partners_come_in_pages_without_gap_or_duplicate_newest_first(workspace: Tenant) -> None:
    answers = []
    for ten in range(0, 120, 10):
        asked = (workspace.ask_to_invite({"appName": f"App {n}"}) for n in range(ten, ten + 10))
        answers += await asyncio.gather(*asked)
    invited = {answer.json()["data"]["id"] for answer in answers}
    at = max(position_of(answer) for answer in answers)
    for limit, sizes in [(50, [50, 50, 20]), (40, [40, 40, 40]), (200, [120]), (7, [7] * 17 + [1])]:
        found = await pages(workspace, "/api/v1/partners", limit=limit, minPosition=at)
        assert [len(page) for page in found] == sizes
        listed = [each["id"] for page in found for each in page]
        assert listed == sorted(invited, reverse=True)
    assert len((await workspace.get("/api/v1/partners", minPosition=at)).json()["data"]) == 50


async def test_pages_stay_true_while_new_partners_come(workspace: Tenant) -> None:
    old = [(await workspace.invite())[0] for _ in range(6)]
    first = await workspace.get("/api/v1/partners", limit=3, minPosition=await head(workspace))
    await workspace.invite()
    at = await head(workspace)
    rest = await workspace.get("/api/v1/partners", limit=3, cursor=first.json()["nextCursor"], minPosition=at)
    listed = [each["id"] for answer in (first, rest) for each in answer.json()["data"]]
    assert listed == sorted(old, reverse=True)
    assert rest.json()["nextCursor"] is None


async def test_every_write_says_its_position_and_a_list_from_there_includes_it(workspace: Tenant) -> None:
    for _ in range(5):
        answer = await workspace.ask_to_invite()
        partner_id, at = answer.json()["data"]["id"], position_of(answer)
        assert partner_id in await ids(workspace, "/api/v1/partners", minPosition=at)
        left = await workspace.delete(f"/api/v1/partners/{partner_id}")
        listed = await ids(workspace, "/api/v1/partners", status="offboarded", minPosition=position_of(left))
        assert partner_id in listed
    made = await workspace.post("/api/v1/integrations", {"name": "x"})
    assert made.json()["data"]["id"] in await ids(workspace, "/api/v1/integrations", minPosition=position_of(made))
    key = await workspace.post("/api/v1/keys", {"kind": "account", "name": "x", "role": "viewer"})
    assert key.json()["data"]["id"] in await ids(workspace, "/api/v1/keys", minPosition=position_of(key))
    path = f"/api/v1/keys/{key.json()['data']['id']}/revoke"
    revoked = await workspace.post(path, {"reason": "x"})
    for projection in ("/api/v1/keys", "/api/v1/audit/events"):
        answer = await workspace.get(projection, minPosition=position_of(revoked))
        assert "revoked" in answer.text


async def test_a_list_that_cant_include_the_position_in_time_says_so(workspace: Tenant) -> None:
    answer = await workspace.get("/api/v1/partners", minPosition=await head(workspace) + 1_000_000)
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_thing_is_the_same_in_a_list_and_alone(workspace: Tenant) -> None:
    await workspace.onboard()
    at = await head(workspace)
    for path in ("integrations", "partners", "links", "keys"):
        listed = (await workspace.get(f"/api/v1/{path}", minPosition=at)).json()["data"]
        assert listed
        for each in listed:
            alone = (await workspace.get(f"/api/v1/{path}/{each['id']}")).json()["data"]
            used = {"lastUsedAt": each["lastUsedAt"]} if "lastUsedAt" in each else {}  # may be written just between
            assert alone | used == each


async def test_keys_are_found_by_every_filter_alone_and_together(workspace: Tenant) -> None:
    first, first_keys = await workspace.onboard()
    other = await workspace.integration()
    workspace.integration_key = await workspace.key_of_integration(other)
    second, second_keys = await workspace.onboard()
    at = await head(workspace)

    async def found(**filters: str) -> set[str]:
        return {*await ids(workspace, "/api/v1/keys", minPosition=at, **filters)}

    of_first, of_second = ({key["id"] for key in keys.values()} for keys in (first_keys, second_keys))
    everything = await found()
    assert await found(partnerId=first) == of_first
    assert await found(partnerId=second) == of_second
    assert await found(kind="service") == of_first | of_second
    assert len(await found(kind="account")) == 1
    assert len(await found(kind="integration")) == 2
    assert await found(kind="service", integrationId=other) == of_second
    assert await found(environment="prod") == {first_keys["prod"]["id"], second_keys["prod"]["id"]}
    assert await found(environment="prod", partnerId=first) == {first_keys["prod"]["id"]}
    assert await found(kind="account", environment="prod") == set()
    assert everything == of_first | of_second | await found(kind="account") | await found(kind="integration")


async def test_partners_and_links_are_found_by_status_integration_and_partner(workspace: Tenant) -> None:
    invited, _ = await workspace.invite()
    onboarded, _ = await workspace.onboard()
    gone, _ = await workspace.invite()
    await workspace.delete(f"/api/v1/partners/{gone}")
    at = await head(workspace)
    for status, partner_id in [("invited", invited), ("onboarded", onboarded), ("offboarded", gone)]:
        assert await ids(workspace, "/api/v1/partners", status=status, minPosition=at) == [partner_id]
    for status, partner_id in [("open", invited), ("redeemed", onboarded), ("withdrawn", gone)]:
        (link,) = (await workspace.get("/api/v1/links", status=status, minPosition=at)).json()["data"]
        assert (link["partnerId"], link["status"]) == (partner_id, status)
        assert await ids(workspace, "/api/v1/links", partnerId=partner_id, minPosition=at) == [link["id"]]
    for path in ("partners", "links"):
        mine = await ids(workspace, f"/api/v1/{path}", integrationId=workspace.integration_id, minPosition=at)
        assert len(mine) == 3
        assert await ids(workspace, f"/api/v1/{path}", integrationId="int_other", minPosition=at) == []


async def test_the_status_of_keys_in_lists_follows_the_clock(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    begins, ends = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    wanted = {"kind": "account", "name": "x", "role": "viewer"}
    times = {"notBefore": begins.isoformat(), "expiresAt": ends.isoformat()}
    timed = (await workspace.post("/api/v1/keys", wanted | times)).json()["data"]["id"]
    dead = (await workspace.post("/api/v1/keys", wanted | times)).json()["data"]["id"]
    await workspace.post(f"/api/v1/keys/{dead}/revoke", {"reason": "x"})
    at = await head(workspace)
    for moment, status in [
        (NOON, "pending"),
        (begins - timedelta(microseconds=1), "pending"),
        (begins, "active"),
        (ends - timedelta(microseconds=1), "active"),
        (ends, "expired"),
    ]:
        clock.set(moment)
        for asked in ("pending", "active", "expired", "revoked"):
            listed = (await workspace.get("/api/v1/keys", status=asked, minPosition=at)).json()["data"]
            assert {each["status"] for each in listed} <= {asked}
            assert (timed in [each["id"] for each in listed]) is (asked == status), (moment, asked)
            assert (dead in [each["id"] for each in listed]) is (asked == "revoked")


async def test_the_status_of_links_in_lists_follows_the_clock(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    await workspace.invite()
    at = await head(workspace)
    for moment, status in [
        (NOON + timedelta(minutes=30, microseconds=-1), "open"),
        (NOON + timedelta(minutes=30), "expired"),
    ]:
        clock.set(moment)
        for asked in ("open", "expired", "redeemed", "withdrawn"):
            listed = (await workspace.get("/api/v1/links", status=asked, minPosition=at)).json()["data"]
            assert [each["status"] for each in listed] == [asked] * (asked == status), (moment, asked)


@pytest.mark.parametrize("path", ["partners", "links", "integrations"])
async def test_an_integration_key_lists_its_own_integration_alone(workspace: Tenant, path: str) -> None:
    await workspace.invite()
    other = await workspace.integration()
    key = await workspace.key_of_integration(other)
    answer = await workspace.api.get(f"/api/v1/{path}?minPosition={await head(workspace)}", headers=bearer(key))
    assert [each["id"] for each in answer.json()["data"]] == ([other] if path == "integrations" else [])
