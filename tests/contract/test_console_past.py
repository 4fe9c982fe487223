"""The console wound back: lists and pages as they were at a moment, with nothing to press on them."""

import re
from datetime import timedelta
from typing import Any

import httpx

from keyfold.domain.permissions import Conditions

from .keys import changed, issue
from .tenant import Clock, Tenant, position_of
from .test_console import entered, told

POSTED = re.compile(r'<form[^>]*method="post"[^>]*action="([^"]*)"')


def shown(answer: httpx.Response) -> list[str]:
    """The names in the first cells of a list that lead somewhere."""
    body = answer.text[answer.text.index('id="list"') :]
    return re.findall(r'<td>[^<]*(?:<svg.*?</svg>)?\s*<a href="/console/[^"]+"><bdi[^>]*>([^<]*)</bdi>', body)


def is_of_the_past(answer: httpx.Response, position: int) -> None:
    """It says so, leads back, and has nothing to press."""
    assert answer.status_code == 200, answer.text
    assert f"position {position:,} of the log. Nothing can be changed here." in told(answer)
    assert "Back to now" in told(answer)
    assert POSTED.findall(answer.text) == ["/console/sign-out"]
    main = answer.text[answer.text.index('<main id="main"') :]
    assert re.findall(r'<a class="button main"', main) == []
    assert re.findall(r'href="[^"]*/(?:rule|invite|narrow|revoke|topics/new)"', main) == []


async def test_lists_and_pages_are_as_they_were_at_any_moment_and_nothing_can_be_pressed(workspace: Tenant) -> None:
    api, integration = workspace.api, f"/console/integrations/{workspace.integration_id}"
    of = f"/api/v1/integrations/{workspace.integration_id}"
    described = await workspace.post(f"{of}/topics", {"name": "app/order/created", "description": "An <b>order</b>"})
    founded = position_of(described)
    invited = await workspace.ask_to_invite({"appName": "Warehouse"})
    partner_id = invited.json()["data"]["id"]
    token = str(invited.json()["data"]["url"]).partition("#")[2]
    redeemed = await workspace.redeem(token)
    await workspace.delete(f"/api/v1/topics/{described.json()['data']['id']}")
    await changed(workspace, of, {"name": "Emporium"})
    gone = await workspace.delete(f"/api/v1/partners/{partner_id}")
    before, onboarded, after = position_of(invited), position_of(redeemed), position_of(gone)
    await workspace.services.lists.include("current", after)
    await entered(workspace)

    async def get(path: str, **query: Any) -> httpx.Response:
        return await api.get(path if path.startswith("/") else f"/console/{path}", params=query)

    assert shown(await get("integrations")) == ["Emporium"]
    for at, names in ((founded, ["Shop"]), (after, ["Emporium"])):
        answer = await get("integrations", asOf=at)
        is_of_the_past(answer, at)
        assert shown(answer) == names
    assert shown(await get("integrations", asOf=founded, q="sho")) == ["Shop"]
    assert shown(await get("integrations", asOf=after, q="sho")) == []
    page = await get(integration, asOf=onboarded)
    is_of_the_past(page, onboarded)
    assert ("Shop" in told(page), "app/order/created" in page.text, "<b>" in page.text) == (True, True, False)
    assert f"partners?integrationId={workspace.integration_id}&amp;asOf={onboarded}" in page.text.replace(
        "&asOf", "&amp;asOf"
    )
    now = await get(integration)
    assert ("Emporium" in told(now), "app/order/created" in now.text) == (True, False)

    for at, stage in ((before, "invited"), (onboarded, "onboarded"), (after, "offboarded")):
        answer = await get("partners", asOf=at, q="ware", integrationId=workspace.integration_id)
        is_of_the_past(answer, at)
        assert shown(answer) == ["Warehouse"]
        assert f"stage-{stage}" in answer.text
        assert shown(await get("partners", asOf=at, stage=stage)) == ["Warehouse"]
        page = await get(f"partners/{partner_id}", asOf=at)
        is_of_the_past(page, at)
        assert f"stage-{stage}" in page.text
        assert len(set(re.findall(r'"/console/keys/(key_\w+)\?asOf=', page.text))) == (0 if at == before else 3)
    assert shown(await get("partners", asOf=founded)) == []
    assert "There were none at that moment" in told(await get("partners", asOf=founded))
    as_of = (await workspace.get("/api/v1/keys", asOf=onboarded, partnerId=partner_id)).json()["data"]
    page = await get(f"partners/{partner_id}", asOf=onboarded)
    assert [each["id"] in page.text for each in as_of] == [True] * 3
    is_of_the_past(await get("keys", asOf=onboarded), onboarded)

    for path, query, status in (
        (f"partners/{partner_id}", {"asOf": founded}, 404),
        ("partners", {"asOf": "yesterday"}, 400),
        ("integrations", {"asOf": "2999-01-01T00:00:00Z"}, 422),
        (integration, {"asOf": "99999999"}, 422),
        ("partners", {"asOf": onboarded, "stage": "live"}, 400),
        ("partners", {"asOf": onboarded, "after": "nothing"}, 400),
        ("partners", {"asOf": " "}, 200),
    ):
        assert (await get(path, **query)).status_code == status, (path, query)


def figures(answer: httpx.Response) -> dict[str, int]:
    """The tiles of the overview, and that each leads to the list of what it counts."""
    found = re.findall(r'<dt>([^<]+)</dt><dd><a href="([^"]+)">([\d,]+)</a></dd>', answer.text)
    at = re.search(r'href="/console/audit\?until=(\d+)"', answer.text)
    assert [path for _, path, _ in found if ("asOf=" in path) != bool(at)] == []
    return {word: int(figure.replace(",", "")) for word, _, figure in found}


async def test_the_overview_is_as_it_was_and_leaves_out_what_nobody_knows_of_the_past(
    workspace: Tenant, clock: Clock
) -> None:
    soon = (clock() + timedelta(days=1)).isoformat()
    await issue(workspace, kind="account", name="short", role="viewer", expiresAt=soon)
    began = await workspace.services.journal.head()
    partner_id, keys = await workspace.onboard()
    onboarded = await workspace.services.journal.head()
    await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/suspend", {"reason": "test"})
    await workspace.post(f"/api/v1/keys/{keys['stage']['id']}/compromise", {"reason": "test"})
    ended = await workspace.services.journal.head()
    await workspace.delete(f"/api/v1/partners/{partner_id}")
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)
    page = workspace.api.get

    now = figures(await page("/console"))
    assert (now["invited"], now["onboarded"], now["validating"], now["offboarded"]) == (0, 0, 0, 1)
    own = now["active"]
    for at, partners, active, suspended, compromised in (
        (began, (0, 0, 0), own, 0, 0),
        (onboarded, (0, 1, 0), own + 3, 0, 0),
        (ended, (0, 1, 0), own + 1, 1, 1),
    ):
        answer = await page(f"/console?asOf={at}")
        is_of_the_past(answer, at)
        found = figures(answer)
        assert tuple(found.pop(each) for each in ("invited", "onboarded", "offboarded")) == partners
        assert (found["active"], found["suspended"], found["compromised"]) == (active, suspended, compromised), at
        assert found.keys() & {"validating", "live in prod"} == set(), "how keys were used isn't known of the past"
        assert "How keys were used in the past isn&#39;t recorded" in told(answer)
        assert 'class="calm"' not in answer.text, "nor is how the servers were"
        positions = re.findall(r'<td class="number">([\d,]+)</td>', answer.text)
        assert max(int(each.replace(",", "")) for each in positions) == at
        listed = await page(f"/console/keys?status=suspended&asOf={at}")
        assert listed.text.count('<span class="state suspended"') == suspended
    clock.advance(timedelta(days=100))
    await entered(workspace)
    assert figures(await page("/console"))["active"] == own - 1
    assert figures(await page(f"/console?asOf={ended}"))["active"] == own + 1, "judged at that moment, not today"
    for bad, status in (("yesterday", 400), ("99999999", 422), ("0", 200)):
        assert (await page(f"/console?asOf={bad}")).status_code == status
    assert "Nothing had happened by then" in told(await page("/console?asOf=0"))


async def test_the_past_shows_nobody_more_than_the_present_does(workspace: Tenant, neighbour: Tenant) -> None:
    mine, _ = await workspace.invite({"appName": "Mine"})
    await workspace.invite({"appName": "Hidden"})
    theirs, _ = await neighbour.invite({"appName": "Theirs"})
    head = await workspace.services.journal.head()
    await entered(workspace, await workspace.key("admin", conditions=Conditions(partners=(mine,))))
    answer = await workspace.api.get(f"/console/partners?asOf={head}")
    assert shown(answer) == ["Mine"]
    is_of_the_past(answer, head)
    assert (await workspace.api.get(f"/console/partners/{theirs}?asOf={head}")).status_code == 404
    assert "Theirs" not in (await workspace.api.get(f"/console/integrations?asOf={head}")).text


async def test_many_of_the_past_are_paged_and_searched(workspace: Tenant) -> None:
    for n in range(70):
        await workspace.invite({"appName": f"App {n:02}"})
    head = await workspace.services.journal.head()
    await entered(workspace)
    first = await workspace.api.get(f"/console/partners?asOf={head}")
    assert shown(first)[::49] == ["App 69", "App 20"]
    older = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert older is not None
    assert shown(await workspace.api.get(older[1].replace("&amp;", "&"))) == [f"App {n:02}" for n in range(19, -1, -1)]
    assert shown(await workspace.api.get(f"/console/partners?asOf={head}&q=APP 05")) == ["App 05"]
