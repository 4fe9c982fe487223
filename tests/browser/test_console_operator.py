"""The console by clicks: an operator's whole journey, lists by keyboard, and what an auditor can't press."""

import json
from typing import Any

import httpx
import pytest

from examples.system import System

from .chromium import Browser, Page
from .console import account_key, asked_before_leaving, filled, sign_in_link, signed_in
from .portal import faults, needs_chromium, redeemed, workspace
from .test_portal import HOSTILE

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]

SAID = """(...seconds) => seconds.map((each) => {
    const time = document.createElement("time");
    time.dataset.relative = "";
    time.dateTime = new Date(Date.now() + each * 1000 + 100).toISOString();
    document.body.append(time);
    document.dispatchEvent(new Event("keyfold:brought"));
    time.remove();
    return time.textContent;
})"""
"""What is said of moments so many seconds from now."""
MIDDLES = """(selector) => [...document.querySelectorAll(selector)].map((each) => {
    const place = each.getBoundingClientRect();
    return Math.round((place.top + place.bottom) / 2);
})"""
"""How far down the middle of each is."""


async def use(system: System, key: str) -> None:
    """Somebody asks whether the key may be used, as a gateway does."""
    async with workspace(system) as client:
        answer = await client.post("/api/v1/keys/verify", json={"key": key})
    assert answer.json()["data"]["valid"], answer.text


async def position(system: System) -> int:
    """Of the newest fact that isn't about somebody reading or signing in."""
    async with workspace(system) as client:
        found = await client.get("/api/v1/audit/events", params={"type": "integration.,partner.,link.,key."})
    return int(found.json()["data"][0]["position"])


async def went(page: Page, selector: str, there: str) -> None:
    """Clicks what leads to another page, and waits until it is there."""
    await page.click(selector)
    await page.until(f"document.readyState === 'complete' && !!document.querySelector({json.dumps(there)})")


async def test_from_a_new_integration_to_a_partner_that_is_live_and_gone(
    system: System, browser: Browser, page: Page
) -> None:
    await page.may_use_clipboard()
    await page.open(await sign_in_link(system))
    await page.until("!document.querySelector('#by-link').hidden")
    await went(page, "#use-link", "#sign-out")
    await went(page, "nav.pages a[href='/console/integrations']", "#new")
    await went(page, "#new", "#rule")

    # the preview says what a partner would get, and nothing is written
    before = await position(system)
    await filled(page, "#field-name", "Meridian <b>Orders</b>")
    await filled(page, "#dev-send", "app/order/*")
    await page.until("document.querySelector('#preview').innerText.includes('app/order/*')")
    await page.click("[name=environments][value=stage]")
    await page.until("document.querySelectorAll('#preview .cards > li').length === 2")
    await filled(page, "#dev-send", "app//order")
    await page.until("document.querySelector('#preview .warning')?.innerText.includes('dev, May send to')")
    assert await page.evaluate("document.querySelector('#dev-send').ariaInvalid") == "true"
    assert "fault-dev.send" in await page.evaluate(
        "document.querySelector('#dev-send').getAttribute('aria-describedby')"
    )
    assert await faults(page) == []
    await asked_before_leaving(page)
    assert await position(system) == before
    await filled(page, "#dev-send", "app/order/*")
    await page.until("!document.querySelector('#rule [aria-invalid], #rule .fault')")
    await filled(page, "#field-link", "2h")
    await page.until("document.querySelectorAll('#preview .cards > li').length === 2")
    await went(page, "#save", "#edit")
    assert await page.text("h1") == "Meridian <b>Orders</b>"
    assert "2 hours" in await page.text("main")

    await topic_with_schema(page)

    # a change, from the version that was seen
    integration = str(await page.evaluate("location.pathname"))
    await went(page, "#edit", "#rule")
    await page.evaluate("document.querySelector('#prod-lifetimeSeconds').closest('details').open = true")
    await filled(page, "#prod-lifetimeSeconds", "30d")
    await page.until("document.querySelector('#changed')?.innerText.includes('what partners get')")
    assert "30 days" in await page.text("#preview")
    other = await browser.page(beside=page)
    await other.open(f"{system.url}{integration}/rule")
    await went(page, "#save", "#edit")
    await filled(other, "#field-name", "Lost update")
    await other.click("#save")
    await other.until("!!document.querySelector('#stale [data-change=\"prod.lifetimeSeconds\"] ins')")
    assert await other.evaluate("document.querySelector('#prod-lifetimeSeconds').value") == "30d"
    assert await other.evaluate("document.querySelector('#field-name').value") == "Lost update"
    assert await faults(other) == []

    link = await invited(page)
    partners = await browser.page()
    secrets = await redeemed(partners, link)
    assert len(secrets) == 2
    await use(system, secrets[0])
    await went(page, "#invited a[href^='/console/partners/']", ".journey")
    partner = str(await page.evaluate("location.pathname"))
    await staged(page, "validating")
    await use(system, secrets[1])
    await staged(page, "live in prod")
    assert await page.evaluate("document.querySelectorAll('main table a[href^=\"/console/keys/\"]').length") == 2

    await links_and_end(page, secrets)
    async with workspace(system) as client:
        said = await client.post("/api/v1/keys/verify", json={"key": secrets[1]})
        assert said.json()["data"]["code"] == "revoked"
        facts = await client.get("/api/v1/audit/events", params={"type": "partner.offboarded.v1"})
    (gone,) = facts.json()["data"]
    key_id = f"key_{system.account_key.split('_')[2]}"
    assert (gone["data"]["reason"], gone["actor"]["id"], gone["actor"]["kind"]) == ("Contract ended", key_id, "key")
    assert partner.endswith(gone["data"]["partnerId"])


async def topic_with_schema(page: Page) -> None:
    """Adds a topic to the integration's empty catalogue, and a schema with the verdict on it; and leads back."""
    await went(page, "#new-topic", "form#topic")
    await filled(page, "#field-name", "app/order/created")
    await filled(page, "#field-examples", '[{"orderId": "o_1"}]')
    await filled(page, "#field-schema", '{"type": "object"}')
    await went(page, "#save", "#schema")
    await went(page, "#schema", "#new-schema")
    await filled(page, "#field-schema", '{"type": "object", "required": ["id"]}')
    await page.until("!!document.querySelector('[data-compatible=no] ~ [data-valid=no]')")
    await page.click("#save")
    await page.until("document.querySelector('#verdict [role=alert]')?.innerText.includes('At /required')")
    await filled(page, "#field-schema", '{"type": "object", "description": "An order"}')
    await page.until("!!document.querySelector('[data-compatible=yes] ~ [data-valid=yes]')")
    await went(page, "#save", "[data-version='2']")
    await went(page, ".crumbs li:last-child a", "#new-topic")


async def invited(page: Page) -> str:
    """Invites a partner from an integration's page, and copies its link."""
    await went(page, "#invite", "#invitation")
    await filled(page, "#field-appName", "Warehouse")
    await went(page, "#make", "#invited")
    await page.click("#copy-link")
    await page.until("document.querySelector('#said').textContent === 'Copied.'")
    link = str(await page.evaluate("navigator.clipboard.readText()"))
    assert "/onboard#kfl_" in link
    assert await faults(page) == []
    return link


async def staged(page: Page, stage: str) -> None:
    """Waits until the partner's page says how far it has come; what is observed is some seconds old."""
    for _ in range(40):
        if await page.text(".journey [aria-current] span") == stage:
            return
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 250))")
        await page.open(str(await page.evaluate("location.href")))
    raise AssertionError(f"{stage}: {await page.text('.journey')}")


async def links_and_end(page: Page, secrets: list[str]) -> None:
    """A fresh link, withdrawn; and the end of the partnership."""
    await went(page, "#fresh-link", "#once")
    assert "/onboard#kfl_" in await page.text("#once")
    assert [each for each in secrets if each in await page.text("body")] == []
    assert await faults(page) == []
    await asked_before_leaving(page)
    await page.click("#copy-link")
    await page.until("document.querySelector('#said').textContent === 'Copied.'")
    await went(page, "form[action$='/withdraw'] button", ".journey")
    await page.until("!document.querySelector('#once') && document.body.innerText.includes('withdrawn')")
    await page.click("#end summary")
    await filled(page, "#field-reason", "Contract ended")
    await page.click("#offboard")
    await page.until("document.querySelector('.head .state')?.innerText === 'offboarded'")
    assert not await page.evaluate("!!document.querySelector('#fresh-link, #offboard')")


async def test_a_list_is_searched_sorted_paged_and_walked_by_keyboard(system: System, page: Page) -> None:
    system = await system.anew()
    async with httpx.AsyncClient(base_url=system.url) as client:
        for n in range(120):
            headers = {"Authorization": f"Bearer {system.integration_key}"}
            await client.post("/api/v1/external/partner", json={"appName": f"App {n:03}"}, headers=headers)
    await signed_in(page, system, path="/console/partners")
    assert await page.text("#position") == "1 to 50 of 120"
    await page.evaluate("void (window.stayed = true)")
    await page.type_text("n")
    await shows(page, "51 to 100 of 120", "App 069")
    await page.click(".pager a[rel=next]")
    await shows(page, "101 to 120 of 120", "App 019")
    await page.type_text("p")
    await shows(page, "51 to 100 of 120", "App 069")
    await page.click("th a[href*='sort=name']")
    await shows(page, "1 to 50 of 120", "App 000")
    assert await page.evaluate("document.querySelector('th[aria-sort]').innerText") == "App"
    await page.type_text("/")
    assert await page.evaluate("document.activeElement.id") == "search"
    await page.type_text("11")
    await shows(page, "1 to 11 of 11", "App 011")
    assert await page.evaluate("document.activeElement.id") == "search"
    assert await page.evaluate("window.stayed") is True, "only the list was swapped in"
    where = await page.evaluate("location.pathname + location.search")
    assert where == "/console/partners?q=11&sort=name"

    again = str(await page.evaluate("document.querySelector('#list').innerText"))
    await page.open(f"{system.url}{where}")
    assert await page.text("#list") == again
    await page.type_text("j")
    await page.type_text("j")
    assert await page.evaluate("document.activeElement.innerText") == "App 110"
    await page.type_text("k")
    await page.press("Enter")
    await page.until("!!document.querySelector('.journey')")
    assert await page.text("h1") == "App 011"
    await page.evaluate("history.back()")
    # what the browser has kept is asked for anew
    again = "['reload', 'back_forward'].includes(performance.getEntriesByType('navigation')[0].type)"
    await page.until(f"{again} && document.readyState === 'complete'")
    assert await page.text("#position") == "1 to 11 of 11"
    # wound back, with what can be pressed gone; and to now again
    assert await page.evaluate("!!document.querySelector('#invite')")
    await filled(page, "#field-asOf", "1")
    await page.evaluate("document.querySelector('#filters').requestSubmit()")
    await page.until("!!document.querySelector('#list-head .past') && !document.querySelector('#list tbody')")
    assert not await page.evaluate("!!document.querySelector('#invite')")
    await went(page, ".past a", "#invite")
    assert await page.text("#position") == "1 to 11 of 11"
    await page.type_text("?")
    assert await page.evaluate("document.querySelector('#help').open")
    assert await faults(page) == []
    await page.press("Escape")
    assert not await page.evaluate("document.querySelector('#help').open")
    # a single row isn't a span, and what is said of a moment by the scripts is what the server says
    await filled(page, "#search", "110")
    await shows(page, "1 of 1", "App 110")
    assert await page.evaluate(f"({SAID})(-3599, 604799, -59, -61)") == [
        "1 hour ago",
        "in 1 week",
        "now",
        "1 minute ago",
    ]


async def shows(page: Page, place: str, first: str) -> None:
    await page.until(
        f"document.querySelector('#position')?.innerText === {json.dumps(place)}"
        f" && document.querySelector('#list tbody a').innerText === {json.dumps(first)}"
    )


async def test_hostile_names_show_as_text_and_no_page_has_a_violation(system: System, page: Page) -> None:
    system = await system.anew()
    for name in HOSTILE.values():
        await system.invite(appName=name, appDescription=name, metadata={"said": name})
    async with workspace(system) as client:
        path = f"/api/v1/integrations/{system.integration_id}"
        terms = {"name": HOSTILE["markup"], "description": HOSTILE["long"]}
        changed = await client.patch(path, json=terms, headers={"If-Match": "*"})
        assert changed.status_code == 200
        asked = {"minPosition": changed.headers["keyfold-position"]}
        partners = (await client.get("/api/v1/partners", params=asked)).json()["data"]
        given = {
            "name": "app/order/created-anew",
            "description": HOSTILE["long"],
            "schema": {"description": HOSTILE["markup"]},
        }
        topic = (await client.post(f"{path}/topics", json=given)).json()["data"]["id"]
    await signed_in(page, system)
    at = f"/console/integrations/{system.integration_id}"
    longest, *_, markup = [f"/console/partners/{each['id']}" for each in partners]
    everything = ["/console", "/console/integrations", "/console/integrations/new", at, f"{at}/rule", f"{at}/invite"]
    everything += [f"/console/topics/{topic}{more}" for more in ("", "/edit", "/schema")]
    everything += ["/console/partners", "/console/partners?asOf=1", "/console?asOf=1", longest, markup]
    everything += [f"/console/keys/key_{system.account_key.split('_')[2]}/narrow"]
    for path in (*everything, "/console/health", "/console/nothing"):
        await page.open(f"{system.url}{path}")
        assert await faults(page) == [], path
        assert await page.evaluate("document.querySelectorAll('main img, main b').length") == 0, path
    assert page.dialogs == []
    # what stands in a row is level, and what belongs together stays so
    await page.open(f"{system.url}/console/topics/{topic}")
    await page.resize(768)
    assert len({*await page.evaluate(f"({MIDDLES})('nav.pages li > *')")}) == 2
    assert len({*await page.evaluate(f"({MIDDLES})('.head .actions > *')")}) == 1
    listed = await fetched(page, "/console/partners")
    assert listed.count("<bdi") >= len(HOSTILE)
    await page.open(f"{system.url}/console/partners")
    shown = await page.evaluate(
        "[...document.querySelectorAll('#list tbody a')].map((each) => each.textContent.trim())"
    )
    assert {*shown} == {*HOSTILE.values()}


async def fetched(page: Page, path: str) -> str:
    return str(await page.evaluate(f"fetch({json.dumps(path)}).then((answer) => answer.text())"))


async def test_an_auditor_sees_everything_and_can_press_nothing(system: System, page: Page) -> None:
    _, key = await account_key(system, "auditor")
    await signed_in(page, system, key)
    partner = await partner_of(system)
    at = f"/console/integrations/{system.integration_id}"
    for path in ("/console", "/console/integrations", at, "/console/partners", partner, "/console/health"):
        await page.open(f"{system.url}{path}")
        assert await page.evaluate("!!document.querySelector('#sign-out') && !!document.querySelector('h1')"), path
        pressable = "[...document.querySelectorAll('main form[method=post], main a.button.main')].map((e) => e.id)"
        assert await page.evaluate(pressable) == [], path
    before = await position(system)
    for path in (f"{at}/rule", f"{at}/invite", f"{partner}/offboard", f"{partner}/link", "/console/integrations/new"):
        asked = f"fetch({json.dumps(path)}, {{method: 'POST', body: new URLSearchParams({{reason: 'x'}})}})"
        assert await page.evaluate(f"{asked}.then((answer) => answer.status)") == 403, path
    await page.open(f"{system.url}{at}/rule")
    assert "needs the permission integrations:change" in await page.text("main")
    assert await position(system) == before


async def partner_of(system: System) -> str:
    await system.invite(appName="Seen")
    async with workspace(system) as client:
        found: Any = (await client.get("/api/v1/partners")).json()["data"]
    return f"/console/partners/{found[0]['id']}"
