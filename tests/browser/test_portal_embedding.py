"""The portal in a page of the integration's own site, and in pages that may not have it."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from examples.system import System

from .chromium import Browser, Page
from .portal import LOOKS, fresh_link, needs_chromium, present, violations, workspace

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]


class Site:
    """A site of somebody's, on a port of its own; `page` is what it answers."""

    page = b""

    def __init__(self, port: int) -> None:
        self.origin = f"http://localhost:{port}"

    def embedding(self, system: System) -> None:
        self.page = f"""<!doctype html><title>Somebody's app</title>
            <script src="{system.url}/static/embed.js"></script>
            <keyfold-portal src="{system.url}" integration="{system.integration_id}"></keyfold-portal>""".encode()


@pytest_asyncio.fixture(loop_scope="package")
async def site() -> AsyncIterator[Site]:
    """On localhost, where the system is on 127.0.0.1: to a browser these are two sites."""
    made: list[Site] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(made[0].page)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + made[0].page)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "localhost", 0, reuse_address=True)
    made.append(Site(server.sockets[0].getsockname()[1]))
    async with server:
        yield made[0]


async def shown_in(page: Page, system: System, section: str) -> Page:
    inside = await page.framed(f"{system.url}/portal/embed/")
    await inside.shown(section)
    return inside


async def accessible(inside: Page) -> None:
    """The portal within the frame, in each appearance, as its switch sets it."""
    assert await violations(inside) == []
    for theme in ("light", "dark"):
        await inside.evaluate(f"void (document.documentElement.dataset.theme = {json.dumps(theme)})")
        assert await violations(inside, LOOKS) == [], theme


async def test_a_partner_onboards_within_the_integrations_own_site(
    system: System, site: Site, browser: Browser
) -> None:
    await present(system, origins=[site.origin])
    site.embedding(system)
    page = await browser.page()
    await page.open(site.origin)
    await page.evaluate(
        "window.heard = []; for (const what of ['linkneeded', 'opened', 'firstevent', 'closed'])"
        " document.querySelector('keyfold-portal').addEventListener(what, () => heard.push(what))"
    )
    link = await system.invite(appName="Order sync")
    await page.evaluate(f"document.querySelector('keyfold-portal').link = {json.dumps(link)}")
    inside = await shown_in(page, system, "invitation")
    token = link.partition("#")[2]
    assert token not in str(await page.evaluate("document.documentElement.outerHTML"))
    await accessible(inside)

    await inside.evaluate("document.querySelector('#redeem').click()")
    await inside.shown("keys")
    await inside.evaluate("document.querySelector('#stored').click()")
    await inside.shown("first")
    await inside.evaluate("document.querySelector('#look').click()")
    await inside.shown("home")
    await page.until("heard.includes('opened')")
    await page.until("parseInt(document.querySelector('iframe').style.height) > 300")
    await accessible(inside)

    cookies = (await page.call("Network.getAllCookies"))["cookies"]
    (cookie,) = [each for each in cookies if each["name"] == "__Host-keyfold-portal"]
    assert (cookie["sameSite"], cookie["secure"], cookie["httpOnly"]) == ("None", True, True)
    assert "localhost" in json.dumps(cookie["partitionKey"])

    await page.evaluate("location.reload()")
    inside = await shown_in(page, system, "home")  # the visit lives on, within this site
    partner_id = str(await inside.evaluate("document.querySelector('#home .id').textContent"))
    back = await fresh_link(system, partner_id)
    await _another_site_speaks_to_the_open_visit(system, site, browser, page, back)

    await page.call("Page.bringToFront")  # dialogs of a page that nobody sees don't end
    await inside.evaluate("document.querySelector('#out').click()")
    await inside.evaluate("document.querySelector('dialog button[type=submit]').click()")
    await inside.shown("end")
    await page.evaluate(f"document.querySelector('keyfold-portal').link = {json.dumps(back)}")
    await inside.shown("home")


async def _another_site_speaks_to_the_open_visit(
    system: System, site: Site, browser: Browser, page: Page, link: str
) -> None:
    """It opens the site that may embed, which it can, and has all of its frames to speak to."""
    embedding, site.page = site.page, b"<!doctype html><title>A hostile page</title>"
    hostile = await browser.page(beside=page)
    await hostile.open(site.origin.replace("localhost", "127.0.0.1"))
    site.page = embedding
    await hostile.evaluate(f"void (window.victim = window.open({json.dumps(site.origin)}))")
    tab = await hostile.opened(site.origin)
    inside = await shown_in(tab, system, "home")
    asked = len(inside.requests)
    token = link.partition("#")[2]
    to_the_portal = ({"keyfold": "hello", "token": token}, {"keyfold": "link", "token": token}, {"keyfold": "link"})
    to_the_site = ({"keyfold": "redeemed"}, {"keyfold": "closed"}, {"keyfold": "height", "height": 19_999})
    for said in to_the_portal:
        await hostile.evaluate(f"victim.frames[0].postMessage({json.dumps(said)}, '*')")
    for own in to_the_site:
        await hostile.evaluate(f"victim.postMessage({json.dumps(own)}, '*')")
    await asyncio.sleep(0.5)
    assert await inside.evaluate("document.querySelector('main > section').id") == "home"
    assert inside.requests[asked:] == []
    assert await tab.evaluate("document.querySelector('iframe').style.height") != "19999px"


async def test_a_site_that_the_integration_doesnt_name_gets_no_portal(
    system: System, site: Site, browser: Browser
) -> None:
    await present(system, origins=["https://app.example.com"])
    site.embedding(system)
    page = await browser.page()
    link = await system.invite(appName="Order sync")
    await page.open(site.origin)
    await page.evaluate(
        f"(() => {{ const portal = document.querySelector('keyfold-portal'); portal.link = {json.dumps(link)};"
        " portal.addEventListener('keyfold-error', (event) => { window.wrong = event.detail; }); })()"
    )
    for path in ("/onboard", "/portal", "/docs"):
        await page.evaluate(
            f"(() => {{ const frame = document.createElement('iframe'); frame.src = {json.dumps(system.url + path)};"
            " document.body.append(frame); })()"
        )

    for path in ("/portal/embed/", "/onboard", "/portal", "/docs"):
        inside = await page.framed(system.url + path)
        await inside.until("location.href.startsWith('chrome-error:')")
    await page.until("!!window.wrong")  # the element can only know it by the silence
    assert await page.evaluate("wrong.code") == "unanswered"
    assert site.origin in await page.evaluate("wrong.message")
    assert "can't be shown here" in await page.text("keyfold-portal [role=alert]")
    assert await page.evaluate("document.querySelector('keyfold-portal iframe').getClientRects().length") == 0
    async with httpx.AsyncClient(base_url=system.url) as client:
        token = link.partition("#")[2]
        assert (await client.post("/api/v1/onboarding/preview", json={"token": token})).status_code == 200


async def test_hostile_messages_do_nothing(system: System, site: Site, browser: Browser) -> None:
    await present(system, origins=["https://app.example.com"])
    link = await system.invite(appName="Order sync")
    token = link.partition("#")[2]
    site.page = b"<!doctype html><title>A hostile page</title>"
    page = await browser.page()
    await page.open(site.origin)
    said = [
        {"keyfold": "hello", "token": token},
        {"keyfold": "link", "token": token},
        "hello",
        None,
        {"keyfold": "height", "height": "1e9"},
        {"keyfold": "link", "token": {"toString": "x"}},
    ]
    await page.evaluate(f"void (window.victim = window.open({json.dumps(system.url + '/onboard')}))")
    other = await page.opened(f"{system.url}/onboard")
    await other.shown("end")
    for each in said:
        await page.evaluate(f"victim.postMessage({json.dumps(each)}, '*')")
    # and the embedded page by itself, whose window is its own parent
    await other.open(f"{system.url}/portal/embed/{system.integration_id}")
    for each in said:
        await page.evaluate(f"victim.postMessage({json.dumps(each)}, '*')")
        await other.evaluate(f"postMessage({json.dumps(each)}, '*')")
    await asyncio.sleep(0.5)
    assert await other.evaluate("document.querySelector('#invitation, #keys, #home')") is None
    assert not [url for url in other.requests if "preview" in url or "redeem" in url]

    # nor does the element listen to anybody but its own frame
    await present(system, origins=[site.origin])
    site.embedding(system)
    await page.open(site.origin)
    await page.until("!!document.querySelector('iframe')")
    await page.evaluate(
        "window.heard = []; document.querySelector('keyfold-portal').addEventListener('opened', () => heard.push(1))"
    )
    before = await page.evaluate("document.querySelector('iframe').style.height")
    for own in ({"keyfold": "height", "height": 19_999}, {"keyfold": "opened"}, {"keyfold": "ready"}):
        await page.evaluate(f"postMessage({json.dumps(own)}, '*')")
    await asyncio.sleep(0.3)
    assert await page.evaluate("heard.length") == 0
    assert await page.evaluate("document.querySelector('iframe').style.height") != "19999px"
    assert before


async def test_posts_from_another_site_are_refused_with_the_session_at_hand(
    system: System, site: Site, browser: Browser
) -> None:
    page = await browser.page()
    link = await system.invite(appName="Order sync")
    await page.open(link)
    await page.shown("invitation")
    await page.click("#redeem")
    await page.shown("keys")
    await page.click("#stored")
    await page.shown("first")
    seen = json.loads(await page.evaluate("fetch('/api/v1/portal').then((answer) => answer.text())"))["data"]
    key_id = seen["keys"][0]["id"]
    site.page = b"<!doctype html><title>Another site</title>"
    await page.open(site.origin)
    for path in (f"/api/v1/keys/{key_id}/revoke", f"/api/v1/partners/{seen['partner']['id']}/links"):
        await page.evaluate(
            f"fetch({json.dumps(system.url + path)}, {{method: 'POST', credentials: 'include', mode: 'no-cors',"
            " headers: {'Content-Type': 'text/plain'}, body: '{\"reason\": \"a test\"}'}).catch(() => 0)"
        )
    await page.evaluate(
        f"(() => {{ const form = document.createElement('form'); form.method = 'post'; form.enctype = 'text/plain';"
        f" form.action = {json.dumps(f'{system.url}/api/v1/keys/{key_id}/revoke')};"
        " document.body.append(form); form.submit(); })()"
    )
    await page.until(f"location.origin === {json.dumps(system.url)}")
    async with workspace(system) as client:
        assert (await client.get(f"/api/v1/keys/{key_id}")).json()["data"]["status"] == "active"
        links = (await client.get("/api/v1/links", params={"partnerId": seen["partner"]["id"]})).json()["data"]
    assert len(links) == 1
