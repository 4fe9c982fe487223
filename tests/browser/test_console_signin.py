"""The console's door in a real browser: a key, a link whose token no server sees before its click, and forged posts."""

import json
from collections.abc import Callable

import pytest

from examples.system import System

from .chromium import Browser, Page
from .console import account_key, filled, sign_in_link, signed_in
from .portal import faults, needs_chromium, workspace
from .speed import soon

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]
FIRST_PAGE = 100_000
"""Bytes that the first page has over the wire at the most."""


async def test_a_key_signs_in_and_is_nowhere_afterwards(
    system: System, browser: Browser, page: Page, record_property: Callable[[str, object], None]
) -> None:
    await page.open(f"{system.url}/console/partners?stage=invited")
    await page.until("location.pathname === '/console/sign-in'")
    assert page.received < FIRST_PAGE
    received = page.received
    assert await faults(page) == []
    await filled(page, "#field-key", "kf_acc_nothing")
    await page.click("#enter")
    await page.until("document.querySelector('.warning.bad')?.innerText.includes('not valid')")
    assert await page.evaluate("document.querySelector('#field-key').value") == ""
    await filled(page, "#field-key", system.account_key)
    await page.click("#enter")
    await page.until("!!document.querySelector('#sign-out')")
    assert await page.evaluate("location.pathname + location.search") == "/console/partners?stage=invited"

    kept = await page.evaluate(
        "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, history.state])"
    )
    past = (await page.call("Page.getNavigationHistory"))["entries"]
    everything = " ".join([kept, *page.requests, *(each["url"] for each in past), await outer(page)])
    assert system.account_key[-49:] not in everything
    assert "kfc_" not in everything

    key = f"/console/keys/key_{system.account_key.split('_')[2]}"
    paths = {"sign-in": ("/console/sign-in", None), "overview": ("/console", page), "a key": (key, page)}
    times = [
        f"{name} {await soon(browser, system.url, system.url + path, beside=beside)}"
        for name, (path, beside) in paths.items()
    ]
    record_property("measured", f"console's first page: {received} bytes, interactive: {', '.join(times)}")

    await page.click("#sign-out")
    await page.until("location.pathname === '/console/sign-in'")
    await page.evaluate("history.back()")
    await page.until("location.search.includes('next=') && !!document.querySelector('#by-key')")
    assert "Partners" not in await page.text("body")


async def outer(page: Page) -> str:
    return str(await page.evaluate("document.documentElement.outerHTML"))


async def test_a_sign_in_link_is_spent_by_one_click_and_not_by_looking(
    system: System, browser: Browser, page: Page
) -> None:
    link = await sign_in_link(system)
    token = link.partition("#")[2]
    scanner = await browser.page()
    for _ in range(3):
        await scanner.open(link)
        await scanner.until("!document.querySelector('#by-link').hidden")
    await page.open(link)
    await page.until("!document.querySelector('#by-link').hidden")
    assert await page.evaluate("location.href") == f"{system.url}/console/sign-in"
    assert await faults(page) == []
    await page.click("#use-link")
    await page.until("!!document.querySelector('#sign-out')")
    assert await page.evaluate("location.pathname") == "/console"
    past = (await page.call("Page.getNavigationHistory"))["entries"]
    assert [each["url"] for each in past if token in each["url"]] == []
    sent = [each for each in page.requests[1:] if token in each]
    assert sent == []

    await scanner.click("#use-link")
    await scanner.until("document.querySelector('.warning.bad')?.innerText.includes('has been used')")
    # one that comes into a tab that is open
    await page.open(f"{system.url}/console/sign-in")
    fresh = await sign_in_link(system)
    await page.evaluate(f"void (location.hash = {json.dumps(fresh.partition('#')[2])})")
    await page.until("!document.querySelector('#by-link').hidden && location.hash === ''")


async def test_a_key_that_is_revoked_is_signed_out_at_its_next_click(system: System, page: Page) -> None:
    key_id, key = await account_key(system, "viewer")
    await signed_in(page, system, key, "/console/partners")
    async with workspace(system) as client:
        await client.post(f"/api/v1/keys/{key_id}/revoke", json={"reason": "left"})
    # by a part of the page, which is asked for behind the scenes
    await filled(page, "#search", "Order")
    await page.until("location.pathname === '/console/sign-in'")
    assert await page.evaluate("new URLSearchParams(location.search).get('next')") == "/console/partners"


async def test_a_page_of_another_site_can_neither_post_nor_frame(system: System, browser: Browser, page: Page) -> None:
    await signed_in(page, system)
    before = await head(system)
    # the same machine by another name is another site to a browser
    elsewhere = system.url.replace("127.0.0.1", "localhost")
    forger = await browser.page(beside=page)
    await forger.open(f"{elsewhere}/docs")
    for path, fields in (
        (f"/console/integrations/{system.integration_id}/invite", {"appName": "forged"}),
        ("/console/sign-out", {}),
    ):
        await forger.open(f"{elsewhere}/docs")
        # what the policy of our own pages would refuse to send, a page of somebody else's would
        await forger.call("Page.setBypassCSP", enabled=True)
        await forger.open(f"{elsewhere}/docs")
        await forger.evaluate(
            f"""(() => {{
                const form = document.createElement("form");
                form.method = "post";
                form.action = {json.dumps(system.url + path)};
                for (const [name, value] of Object.entries({json.dumps(fields)})) {{
                    const field = document.createElement("input");
                    [field.name, field.value] = [name, value];
                    form.append(field);
                }}
                document.body.append(form);
                form.submit();
            }})()"""
        )
        await forger.until("location.pathname.startsWith('/console')")
        await forger.until("document.body.innerText.includes('another site')")
    await page.open(f"{system.url}/console")
    assert await page.evaluate("!!document.querySelector('#sign-out')")
    assert await head(system) == before
    await forger.open(f"{elsewhere}/docs")
    framed = await forger.evaluate(
        f"""new Promise((resolve) => {{
            const frame = document.createElement("iframe");
            frame.onload = () => resolve(frame.contentDocument === null);
            frame.src = {json.dumps(system.url + "/console")};
            document.body.append(frame);
        }})"""
    )
    assert framed
    assert await shown_frames(forger) == []


async def head(system: System) -> int:
    """How many facts there are of a kind that a forged form could have made."""
    async with workspace(system) as client:
        found = await client.get("/api/v1/audit/events", params={"type": "partner.invited.v1,console.closed.v1"})
    return len(found.json()["data"])


async def shown_frames(page: Page) -> list[str]:
    """What shows in frames: an address that may not be framed gives a page of the browser's own."""
    tree = (await page.call("Page.getFrameTree"))["frameTree"]
    return [each["frame"]["url"] for each in tree.get("childFrames", []) if each["frame"]["url"].endswith("/console")]
