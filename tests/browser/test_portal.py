"""The portal by clicks in a real browser, on a real system: the way in, the first event, and life at home."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import nats
import pytest

from examples.system import System

from .chromium import Browser, Page, wait_until
from .portal import (
    at_home,
    describe_topics,
    faults,
    fresh_link,
    is_wider_than_the_window,
    needs_chromium,
    present,
    redeemed,
    secrets_on,
    section,
    settled,
    workspace,
)
from .speed import soon

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]
FIRST_PAGE = 100_000
"""Bytes that the first page has over the wire at the most."""
HOSTILE = {
    "markup": "<img src=x onerror=alert(1)><b>bold</b> & {place} </script>",
    "right to left": "\u202e\u0645\u0632\u0627\u0645\u0646\u0629\u202c שלום",
    "left open": "שלום \u202e عربي \u202e RTL",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 Örder",
    "long": "W" * 256,
}
TURNING = {chr(each) for each in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
STRAIGHT = """[...document.querySelectorAll(".key h3 bdi")].map(({firstChild: text}) => {
    const of = (at) => {
        const range = document.createRange();
        range.setStart(text, at);
        range.setEnd(text, at + 1);
        return range.getBoundingClientRect().left;
    };
    return of(text.length - 3) < of(text.length - 2) && of(text.length - 2) < of(text.length - 1);
})"""
"""Of each key's name: whether its last letters, the environment's, are read from left to right."""


async def sent(system: System, key: str, *bodies: dict[str, Any]) -> None:
    """What a partner's own program does: nats-py, the key as its token, and a request."""
    client = await nats.connect(system.nats_url, token=key)
    for body in bodies:
        answer = await client.request("events.app.order.created", json.dumps(body).encode(), timeout=10)
        assert b'"seq"' in answer.data, answer.data
    await client.close()


async def test_from_the_link_to_the_first_event_of_ones_own_code(system: System, page: Page) -> None:
    await page.may_use_clipboard()
    link = await system.invite(appName="Order sync", appDescription="Sends orders.")
    dev, *_ = await redeemed(page, link)
    await page.click("#stored")
    await settled(page)
    await page.until("document.querySelector('.watch .state')?.textContent === 'connected'")
    assert await secrets_on(page) == []
    assert "Waiting for your code" in await page.text(".verdict")

    await page.click("#test")
    await page.until("document.querySelectorAll('.live details').length === 1")
    assert "test" in await page.text(".live")
    assert not await page.evaluate("!!document.querySelector('.verdict.good')")

    await page.click("#copy")
    await page.until("document.querySelector('#said').textContent.startsWith('Copied')")
    program = await page.evaluate("navigator.clipboard.readText()")
    assert (dev in program, system.nats_url in program) == (True, True)
    # the program as it was copied, run as it stands
    await asyncio.to_thread(exec, compile(program, "snippet", "exec"), {})
    await page.until("!!document.querySelector('.verdict.good')")
    assert "your code's event has arrived, over NATS" in await page.text(".verdict")

    await page.click("#look")
    await page.shown("home")
    assert await page.evaluate("location.pathname + location.hash") == "/portal"


async def test_each_snippet_of_http_and_the_command_line_has_ones_own_values(system: System, page: Page) -> None:
    await page.may_use_clipboard()
    dev, stage, _ = await redeemed(page, await system.invite(appName="Order sync"))
    await page.click("#stored")
    await settled(page)
    await page.until("document.querySelector('.snippet').textContent.includes('nats')")
    for language, subject in (("javascript", "events.app"), ("curl", "topic=app/"), ("cli", "nats request events.app")):
        await page.click(f"[data-value={language}]")
        assert await secrets_on(page) == []
        await page.click("#copy")
        await page.until(f"navigator.clipboard.readText().then((text) => text.includes({json.dumps(dev)}))")
        program = await page.evaluate("navigator.clipboard.readText()")
        assert subject in program
    await page.click("[data-value=curl]")
    await page.click("[data-value=stage]")
    await page.click("#copy")
    await page.until(f"navigator.clipboard.readText().then((text) => text.includes({json.dumps(stage)}))")
    command = await page.evaluate("navigator.clipboard.readText()")
    running = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert b'"sequence"' in (await running.communicate())[0]
    await page.until("!!document.querySelector('.verdict.good')")


async def test_secrets_stay_nowhere_once_the_page_is_left(system: System, page: Page) -> None:
    link = await system.invite(appName="Order sync")
    keys = await redeemed(page, link)
    await page.click("#stored")
    await settled(page)
    await page.open(f"{system.url}/docs")
    await page.evaluate("history.back()")
    await page.shown("home")  # the visit is open: what Back shows is the portal, never the keys
    assert await secrets_on(page) == []

    kept = await page.evaluate(
        """(async () => {
            const names = await caches.keys();
            return JSON.stringify([names, Object.entries(localStorage), Object.entries(sessionStorage),
                document.cookie, history.state, await indexedDB.databases(), window.name]);
        })()"""
    )
    assert kept == '[[],[],[],"",null,[],""]'
    past = (await page.call("Page.getNavigationHistory"))["entries"]
    everything = " ".join([each["url"] + each["title"] for each in past] + page.requests[1:])
    token = link.partition("#")[2]
    assert [secret for secret in (*keys, token) if secret in everything] == []


async def test_back_to_the_page_that_showed_the_keys_shows_none(system: System, page: Page) -> None:
    await redeemed(page, await system.invite(appName="Order sync"))
    leaving = asyncio.create_task(page.call("Page.navigate", url=f"{system.url}/docs"))
    assert await page.answer_dialog(accept=True) == "beforeunload"
    await leaving
    await page.until("location.pathname === '/docs' && document.readyState === 'complete'")
    await page.evaluate("history.back()")
    await page.shown("home")
    assert await secrets_on(page) == []


async def test_a_link_that_scanners_looked_at_still_redeems(system: System, browser: Browser, page: Page) -> None:
    link = await system.invite(appName="Order sync")
    address, _, token = link.partition("#")
    async with httpx.AsyncClient(base_url=system.url) as client:
        looks = [client.request(method, address) for method in ("GET", "HEAD") * 25]
        assert {answer.status_code for answer in await asyncio.gather(*looks)} == {200}
        for _ in range(5):
            assert (await client.post("/api/v1/onboarding/preview", json={"token": token})).status_code == 200
    scanner = await browser.page()
    await scanner.open(link)  # one that runs scripts, and clicks nothing
    await scanner.shown("invitation")
    eager = await browser.page()
    await eager.call("Page.setBypassCSP", enabled=True)  # our own pages allow no such script: it stands for another's
    await eager.open(f"{system.url}/docs")
    before = len(eager.requests)
    await eager.evaluate(
        f"""(() => {{
            const [ahead, rules] = [document.createElement("link"), document.createElement("script")];
            Object.assign(ahead, {{rel: "prefetch", href: {json.dumps(link)}}});
            rules.type = "speculationrules";
            rules.text = JSON.stringify({{prerender: [{{urls: [{json.dumps(link)}], eagerness: "immediate"}}]}});
            document.head.append(ahead, rules);
        }})()"""
    )

    async def fetched_ahead() -> bool:  # to be rendered, too, though never while it is watched by a test
        return [url.partition("#")[0] for url in eager.requests[before:]].count(address) == 2

    await wait_until(fetched_ahead, "both")
    assert len(await redeemed(page, link)) == 3


async def test_a_second_tab_gets_a_way_on(system: System, browser: Browser, page: Page) -> None:
    link = await system.invite(appName="Order sync")
    await redeemed(page, link)
    other = await browser.page(beside=page)
    await other.open(link)
    await other.shown("end")
    assert "go on in the tab where you did it" in await other.text("#end")
    await other.click("#look")
    await other.shown("home")
    assert await secrets_on(other) == []


async def test_a_fresh_link_leads_home_by_one_click(system: System, browser: Browser, page: Page) -> None:
    await at_home(page, await system.invite(appName="Order sync"))
    partner_id = str(await page.evaluate("document.querySelector('#home .id').textContent"))
    back = await browser.page()
    await back.open(await fresh_link(system, partner_id))
    await back.shown("return")
    await back.click("#redeem")
    await back.shown("home")
    assert "Order sync" in await back.text("h1")

    await back.click("#colleague")
    assert await faults(back) == []
    await back.click("dialog button[type=submit]")
    await back.until("!!document.querySelector('dialog .secret')")
    assert await faults(back) == []
    link = str(await back.evaluate("document.querySelector('dialog .secret').textContent"))
    colleague = await browser.page()
    await colleague.open(link)
    await colleague.shown("return")
    await back.click("dialog .actions:last-child button")

    await back.click("#out")
    await back.until("!!document.querySelector('dialog')")
    assert "has to send you a fresh link" in await back.text("dialog")
    assert await faults(back) == []
    await back.click("dialog .actions:last-child button:last-child")
    await back.until("!document.querySelector('dialog')")
    assert await back.evaluate("fetch('/api/v1/portal').then((answer) => answer.status)") == 200  # it was a question
    await back.click("#out")
    await back.click("dialog button[type=submit]")
    await back.shown("end")
    assert "signed out" in await back.text("#end")
    await back.open(f"{system.url}/portal")
    await back.shown("end")


async def test_a_key_is_rotated_suspended_narrowed_and_revoked_by_clicks(system: System, page: Page) -> None:
    dev, stage, prod = await at_home(page, await system.invite(appName="Order sync"))
    ids = [f"key_{key.split('_')[2]}" for key in (dev, stage, prod)]

    await page.click(f"[data-key={ids[0]}] [data-act=rotate]")
    await page.until("!!document.querySelector('dialog .picture svg')")
    assert "7 days, as the integration says" in await page.text("dialog")
    year = str(datetime.now(UTC).year)
    assert re.search(rf"for another 7 days, until \d+ \w+ {year}, \d\d:\d\d", await page.text("#old-end"))
    await _choose(page, "starts", "first-use")
    assert "first used, and for 7 days from then on" in await page.text("#old-end")
    await _choose(page, "starts", "")
    await _choose(page, "overlap", "3600")
    assert "for another 1 hour" in await page.text("#old-end")
    await page.click("dialog button[type=submit]")
    await page.until("!!document.querySelector('dialog .secret')")
    (successor,) = await secrets_on(page)
    assert re.search(rf"works until in 1 hour \(\d+ \w+ {year}, \d\d:\d\d:\d\d \w+", await page.text("dialog"))
    assert await faults(page) == []
    await page.click("dialog button[type=submit]")
    await page.until("!document.querySelector('dialog') && document.querySelectorAll('.key').length === 4")
    assert await secrets_on(page) == []
    card = await page.text(f"[data-key={ids[0]}]")
    assert "retiring" in card
    assert re.search(rf"in 1 hour \(\d+ \w+ {year}, \d\d:\d\d:\d\d", card)
    assert [(await verdict(system, key))["valid"] for key in (dev, successor)] == [True, True]

    await _do(page, ids[1], "suspend", "a test")
    await page.until(f"document.querySelector('[data-key={ids[1]}] .state').textContent === 'suspended'")
    assert (await verdict(system, stage))["code"] == "suspended"
    await page.click(f"[data-key={ids[1]}] [data-act=reinstate]")
    await page.until(f"document.querySelector('[data-key={ids[1]}] .state').textContent === 'active'")
    assert (await verdict(system, stage))["valid"]

    await page.click(f"[data-key={ids[1]}] [data-act=narrow]")
    await page.until("!!document.querySelector('dialog textarea[name=send-topics]')")
    area = "document.querySelector('dialog textarea[name=send-topics]')"
    await page.evaluate(f"{area}.value = 'app/order/created\\nnot a//topic!'")
    await page.click("dialog button[type=submit]")
    await page.until(f"{area}.getAttribute('aria-invalid') === 'true'")
    said = f"{area}.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent)"
    hint, fault = await page.evaluate(said)
    assert "narrower ones" in hint
    assert fault.startswith("Line 2: ")
    assert "/options" not in await page.text("dialog")
    assert "Look at: Send: topics" in await page.text("dialog [role=alert]")
    place = f"(() => {{ const {{top, bottom}} = {area}.parentElement.getBoundingClientRect();"
    assert await page.evaluate(f"{place} return top >= 0 && bottom <= innerHeight; }})()")
    assert await page.evaluate(f"document.activeElement === {area}")
    assert await faults(page) == []
    await page.evaluate(f"{area}.value = 'app/order/created'")
    await page.click("dialog button[type=submit]")
    await page.until(f"document.querySelector('[data-key={ids[1]}] .rules').textContent.includes('app/order/created')")

    await _do(page, ids[2], "revoke", "a test")
    await page.until(f"document.querySelector('[data-key={ids[2]}] .state').textContent === 'revoked'")
    assert not (await verdict(system, prod))["valid"]

    await section(page, "history")
    said = await page.text(".history")
    happened = (
        "A key was rotated",
        "A key was suspended",
        "A key was reinstated",
        "A key was changed",
        "A key was revoked",
    )
    assert [each for each in happened if each not in said] == []
    revoked = await page.text("[data-type='key.revoked'] .line")
    assert [each for each in ("prod", "Order sync prod") if each not in revoked] == []


async def _choose(page: Page, name: str, value: str) -> None:
    await page.evaluate(
        f"(() => {{ const menu = document.querySelector('dialog [name={name}]'); menu.value = {json.dumps(value)};"
        " menu.dispatchEvent(new Event('change')); })()"
    )


async def _do(page: Page, key_id: str, act: str, reason: str) -> None:
    await page.click(f"[data-key={key_id}] [data-act={act}]")
    await page.until("!!document.querySelector('dialog [name=reason]')")
    await page.evaluate(f"document.querySelector('dialog [name=reason]').value = {json.dumps(reason)}")
    await page.click("dialog button[type=submit]")
    await page.until("!document.querySelector('dialog')")


async def verdict(system: System, secret: str) -> Any:
    async with workspace(system) as client:
        return (await client.post("/api/v1/keys/verify", json={"key": secret})).json()["data"]


async def test_topics_live_events_usage_and_dead_letters_show_what_there_is(system: System, page: Page) -> None:
    own = await system.anew()
    await describe_topics(own)
    await page.call("Emulation.setLocaleOverride", locale="de_DE")
    dev, stage, _ = await at_home(page, await own.invite(appName="Order sync"))
    assert await page.evaluate("new Intl.NumberFormat().format(1.5)") == "1,5"
    assert "Visit ends in 12 hours" in await page.text("#home")  # one language, whatever the browser's is
    await sent(own, dev, *({"orderId": f"o_{n}"} for n in range(3)))

    await section(page, "topics")
    assert (await page.text(".list")).count("app/") == 2
    await page.click("[data-topic='app/order/created'] summary")
    assert '"orderId"' in await page.text("[data-topic='app/order/created']")
    await page.click("[data-topic='app/order/created'] .actions button")
    await page.until("!!document.querySelector('dialog textarea')")
    assert await faults(page) == []
    await page.click("dialog button[type=submit]")
    await page.until("document.querySelector('#said').textContent.startsWith('Stored as evt_')")

    await section(page, "events")
    await page.until("document.querySelectorAll('.live details').length === 4")
    await sent(own, dev, {"orderId": "o_live"})
    await page.until("document.querySelectorAll('.live details').length === 5")
    assert "o_live" in str(await page.evaluate("document.querySelector('.live li').textContent"))
    assert "sent by you" in await page.text(".live li")
    assert "what they may receive" in await page.text("#body > .quiet")
    await _filter(page, "not a//topic!")
    await page.until("document.querySelector('[name=topics]').getAttribute('aria-invalid') === 'true'")
    assert "no topic patterns" in await page.text(".toolbar .fault")
    assert "stopped" in await page.text(".actions .state")
    assert await faults(page) == []
    await _filter(page, "app/return/*,app/nothing/**")
    await page.until("document.querySelector('.actions .state').textContent === 'connected'")
    assert "No event matches the filter" in await page.text(".live .empty")
    assert await page.evaluate("!document.querySelector('.fault')")
    await page.evaluate("location.reload()")
    await page.until("document.querySelector('[name=topics]')?.value === 'app/return/*,app/nothing/**'")
    await page.until("!!document.querySelector('.live .empty')")
    await page.click("#unfilter")
    await page.until("document.querySelectorAll('.live details').length === 5")
    assert await page.evaluate("document.querySelector('[name=topics]').value") == ""
    await page.click("[data-value=stage]")
    await page.until("!!document.querySelector('.live .empty')")
    assert "environment=stage" in await page.evaluate("location.hash")
    await sent(own, stage, {"orderId": "o_stage"})

    async with httpx.AsyncClient(base_url=own.url, headers={"Authorization": f"Bearer {dev}"}) as client:
        pulled = (await client.post("/api/v1/consumers/own/pull", json={"batch": 3, "waitSeconds": 10})).json()["data"]
        body = {"tokens": [each["token"] for each in pulled], "reason": "can't be read"}
        answer = await client.post("/api/v1/consumers/own/terminate", json=body)
        assert answer.status_code == 200, answer.text
    await eventually(page, "usage", "document.querySelector('.tiles dd')?.textContent === '6'")
    assert await page.evaluate("document.querySelectorAll('.chart canvas').length") == 1
    rows = "[...document.querySelectorAll('#body table:last-of-type')].at(-1).innerText"
    assert [each for each in ("Order sync dev", "Order sync stage") if each not in str(await page.evaluate(rows))] == []
    times = await page.evaluate(
        "[...document.querySelectorAll('td > .number')].map((each) => getComputedStyle(each.parentElement).textAlign)"
    )
    assert {*times} == {"right"}

    await eventually(page, "letters", "document.querySelectorAll('[data-letter]').length === 3")
    card = await page.text("[data-letter]")
    assert [each for each in ("can't be read", pulled[0]["event"]["id"][:8]) if each not in card] == []
    assert await faults(page) == []
    await page.click("[data-letter] [data-act=discard]")
    await page.until("!!document.querySelector('dialog')")
    assert await faults(page) == []
    await page.evaluate("document.querySelector('dialog').close()")
    await page.click("[data-letter] [data-act=redrive]")
    await page.until("document.querySelectorAll('[data-letter]').length === 2")
    assert await page.evaluate("document.querySelector('#redrive').disabled")
    await page.click("#all-letters")
    await page.click("#redrive")
    await page.until("!!document.querySelector('dialog')")
    await page.evaluate(  # meanwhile another tab discards one of them
        """(async () => {
            const path = "/api/v1/portal/dead-letters", headers = {"Content-Type": "application/json"};
            const [{keyId, consumer, deadLetter}] = (await (await fetch(path)).json()).data;
            const body = JSON.stringify({keyId, consumer, sequence: deadLetter.sequence});
            await fetch(`${path}/discard`, {method: "POST", headers, body});
        })()"""
    )
    await page.click("dialog button[type=submit]")
    await page.until("document.querySelector('dialog')?.textContent.includes('1 of 2 are on their way again')")
    assert await page.evaluate("document.querySelectorAll('dialog li').length") == 1
    assert await faults(page) == []
    await page.click("dialog .actions:last-child button")
    await page.until("!!document.querySelector('#body .empty')")


async def _filter(page: Page, topics: str) -> None:
    await page.evaluate(
        f"(() => {{ const field = document.querySelector('[name=topics]'); field.value = {json.dumps(topics)};"
        " field.dispatchEvent(new Event('change')); })()"
    )


async def eventually(page: Page, name: str, expression: str) -> None:
    """Opens the section until what is counted a little later is there."""
    for _ in range(60):
        await section(page, name)
        if await page.evaluate(expression):
            return
        await asyncio.sleep(0.25)
    pytest.fail(f"{expression}: {await page.text('#body')}")


async def test_without_a_network_home_says_so_and_goes_on_by_itself(system: System, page: Page) -> None:
    await at_home(page, await system.invite(appName="Order sync"))
    await page.offline(True)
    await page.click(".tabs a[href='#history']")
    await page.until("!document.querySelector('#offline').hidden")
    await page.offline(False)
    await page.until("document.querySelector('#offline').hidden && !!document.querySelector('.history li')")


async def test_a_visit_that_is_ended_elsewhere_ends_here_at_once(system: System, page: Page) -> None:
    await at_home(page, await system.invite(appName="Order sync"))
    partner_id = str(await page.evaluate("document.querySelector('#home .id').textContent"))
    await section(page, "events")
    async with workspace(system) as client:
        answer = await client.delete(f"/api/v1/partners/{partner_id}")
        assert answer.status_code == 200, answer.text
    await page.shown("end")
    assert "Your visit has ended" in await page.text("#end")


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_names_show_as_text_and_break_no_layout(system: System, page: Page, kind: str) -> None:
    name, own = HOSTILE[kind], await system.anew()
    await present(own, name=name, description=name)
    await page.resize(360)
    await page.open(await own.invite(appName=name, appDescription=name))
    await page.shown("invitation")
    places = [("#house", 1), ("#invitation", 4)]
    for step, following in (("#redeem", "keys"), ("#stored", "first"), ("#look", "home")):
        for place, times in places:
            assert str(await page.evaluate(f"document.querySelector('{place}').textContent")).count(name) >= times, (
                place
            )
        assert await page.evaluate("document.querySelectorAll('main b, main img, main script').length") == 0
        assert not await is_wider_than_the_window(page), following
        await page.click(step)
        await (settled(page) if following == "first" else page.shown(following))
        places = [("#house", 1)]
    for each in ("keys", "topics", "events", "usage", "letters", "history"):
        await section(page, each)
        assert not await is_wider_than_the_window(page), each
    assert str(await page.evaluate("document.querySelector('h1').textContent")) == name
    # what turns the direction of text shows in JSON as JSON has it, and what follows an app's name is read as it is
    data = str(await page.evaluate("[...document.querySelectorAll('.json')].map((each) => each.textContent).join()"))
    assert [each for each in TURNING if each in data] == []
    assert "\\u202e" in data or not TURNING.intersection(name)
    await section(page, "keys")
    assert await page.evaluate(STRAIGHT) == [True, True, True]


async def test_no_page_has_an_accessibility_violation_in_light_or_dark(system: System, page: Page) -> None:
    own = await system.anew()
    await present(own, name="Meridian", color="#f5e663")  # a color that nobody could read as it is
    await describe_topics(own)

    async def demand(where: str) -> None:
        assert await faults(page) == [], where

    link = await own.invite(appName="Order sync", appDescription="Sends orders.")
    await page.open(link)
    await page.shown("invitation")
    await demand("welcome")
    await page.click("#redeem")
    await page.shown("keys")
    await demand("keys")
    (dev, *_) = await secrets_on(page)
    await page.click("#stored")
    await settled(page)
    await sent(own, dev, {"orderId": "o_1"})
    await page.until("!!document.querySelector('.verdict.good')")
    await demand("first")
    await page.click("#look")
    await page.shown("home")
    partner_id = str(await page.evaluate("document.querySelector('#home .id').textContent"))
    for name in ("keys", "topics", "events", "usage", "letters", "history"):
        await section(page, name)
        await demand(name)
    await section(page, "keys")
    for act in ("rotate", "suspend", "narrow", "revoke"):
        await page.click(f"[data-act={act}]")
        await page.until("!!document.querySelector('dialog')")
        await demand(act)
        await page.evaluate("document.querySelector('dialog').close()")
    await page.open(await fresh_link(own, partner_id))
    await page.shown("return")
    await demand("return")
    await page.open("about:blank")
    await page.open(link)
    await page.shown("end")
    await demand("end")


async def test_the_whole_way_in_goes_by_keyboard(system: System, page: Page) -> None:
    await page.open(await system.invite(appName="Order sync"))
    await page.shown("invitation")
    for step, following in (("redeem", "keys"), ("stored", "first"), ("look", "home")):
        assert await page.evaluate("document.activeElement.localName") == "h1"  # a new step begins at its heading
        for _ in range(60):
            await page.press("Tab")
            if await page.evaluate("document.activeElement.id") == step:
                break
        else:
            pytest.fail(f"{step} isn't reached")
        await page.press("Enter")
        await page.shown(following)


async def test_an_integrations_color_is_corrected_until_it_can_be_read(system: System, page: Page) -> None:
    await page.open(f"{system.url}/onboard")
    together = str(await page.evaluate("document.querySelector('script[type=module]').src"))
    module = together.replace("portal.js", "color.js")
    found = await page.evaluate(
        f"""import({json.dumps(module)}).then(({{GROUNDS, contrast, readable, onTop}}) =>
            ["#ffffff", "#000000", "#ffff00", "#2f6fed", "#808080", "#ff0000"].flatMap((color) =>
                ["light", "dark"].flatMap((scheme) => {{
                    const accent = readable(color, scheme);
                    const worst = Math.min(...GROUNDS[scheme].map((ground) => contrast(accent, ground)));
                    return [worst >= 4.5, contrast(accent, onTop(accent)) >= 4.5];
                }})))"""
    )
    assert all(found)
    assert len(found) == 24
    for scheme in ("light", "dark"):  # what the module thinks that the accent stands on is what the sheet has
        await page.prefer(scheme)
        grounds = await page.evaluate(
            f"""import({json.dumps(module)}).then(({{GROUNDS}}) => {{
                const sheet = document.querySelector('.sheet, .masthead');
                const probe = document.createElement('span');
                const given = GROUNDS.{scheme}.map((ground) => (probe.style.color = ground, probe.style.color));
                return [getComputedStyle(document.querySelector('.masthead')).backgroundColor,
                    getComputedStyle(document.querySelector('.segments')).backgroundColor, ...given];
            }})"""
        )
        assert grounds[:2] == grounds[2:]


async def test_the_appearance_can_be_chosen_and_is_kept(system: System, page: Page) -> None:
    await page.prefer("light")
    await page.open(f"{system.url}/onboard")
    background = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(background)
    await page.click("#theme [data-value=dark]")
    dark = await page.evaluate(background)
    assert light != dark
    await page.open(f"{system.url}/onboard")
    await page.until("!!document.querySelector('#theme [data-value=dark][aria-pressed=true]')")
    assert await page.evaluate(background) == dark
    await page.click("#theme [data-value=auto]")
    assert await page.evaluate("[document.documentElement.dataset.theme ?? null, localStorage.length]") == [None, 0]


async def test_the_first_page_is_light_and_soon_there(
    system: System, browser: Browser, record_property: Callable[[str, object], None]
) -> None:
    page = await browser.page()
    await page.open(f"{system.url}/docs")  # the browser is warm, nothing of the portal is kept
    page.received = 0
    await page.open(await system.invite(appName="Order sync"))
    await page.shown("invitation")
    assert 10_000 < page.received < FIRST_PAGE
    link = await system.invite(appName="Order sync")
    shown = "performance.getEntriesByName('shown')[1]?.startTime"  # after what says to wait
    record_property(
        "measured",
        f"portal's first page: {page.received} bytes, interactive {await soon(browser, system.url, link)},"
        f" the invitation shown {await soon(browser, system.url, link, shown)}",
    )
