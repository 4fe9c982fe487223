"""The page of an onboarding link, by clicks in a real browser, on a real system."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.system import System
from keyfold.domain.integration import COLOR
from keyfold.domain.tokens import mint

from .chromium import Browser, Page, wait_until
from .portal import needs_chromium, redeemed, secrets_on, settled

pytestmark = pytest.mark.asyncio(loop_scope="package")
MARKUP = "<img src=x onerror=alert(1)><b>bold</b> & Söhne"


async def verdict(system: System, secret: str) -> Any:
    headers = {"Authorization": f"Bearer {system.account_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as client:
        return (await client.post("/api/v1/keys/verify", json={"key": secret})).json()["data"]


@needs_chromium
async def test_a_partner_previews_redeems_and_sees_its_keys_once(system: System, page: Page) -> None:
    link = await system.invite(appName="Order sync", appDescription="Sends orders.")
    token = link.partition("#")[2]
    await page.open(link)
    await page.shown("invitation")

    assert await page.evaluate("location.href") == f"{system.url}/onboard"
    offer = await page.text("#invitation")
    assert all(said in offer for said in ("Events", "Order sync", "Sends orders.", "A key for prod", "every topic"))
    assert await secrets_on(page) == []
    accents = "['light', 'dark'].map((each) => getComputedStyle(document.body).getPropertyValue(`--accent-${each}`))"
    ours = await page.evaluate(accents)
    assert ours[0] == COLOR  # of an integration that names no color, from the first page to the last

    await page.click("#redeem")
    await page.shown("keys")
    keys = await secrets_on(page)
    assert [key.split("_")[1] for key in keys] == ["dev", "stage", "prod"]
    assert [(await verdict(system, key))["valid"] for key in keys] == [True, True, True]

    await page.click("#stored")
    await settled(page)
    assert await secrets_on(page) == []
    await page.click("#look")
    await page.shown("home")
    await page.until("document.querySelectorAll('.key').length === 3")
    assert (await page.text("#home")).count("active") == 3
    assert await page.evaluate(accents) == ours
    assert not [url for url in page.requests[1:] if token in url]
    assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@needs_chromium
async def test_a_used_link_says_so_to_whoever_opens_it_again(system: System, browser: Browser, page: Page) -> None:
    link = await system.invite(appName="Order sync")
    await redeemed(page, link)
    somebody_else = await browser.page()
    await somebody_else.open(link)
    await somebody_else.shown("end")
    said = await somebody_else.text("#end")
    assert "This link has been used" in said
    assert "tell whoever sent you the link at once" in said
    assert await secrets_on(somebody_else) == []


@needs_chromium
async def test_the_one_who_redeemed_comes_back_to_the_states_of_its_keys(system: System, page: Page) -> None:
    link = await system.invite(appName="Order sync")
    keys = await redeemed(page, link)
    await page.click("#stored")
    key_id = f"key_{keys[0].split('_')[2]}"
    headers = {"Authorization": f"Bearer {system.account_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as client:
        await client.post(f"/api/v1/keys/{key_id}/revoke", json={"reason": "a test"})

    await page.open(f"{system.url}/onboard")
    await page.shown("home")
    await page.until("document.querySelectorAll('.key').length === 3")
    await page.click(".ended summary")
    said = await page.text("#home")
    assert "Order sync" in said
    assert key_id in said
    assert (said.count("revoked"), said.count("active")) == (1, 2)
    assert await secrets_on(page) == []


@needs_chromium
async def test_names_with_markup_show_as_text(system: System, page: Page) -> None:
    await page.open(await system.invite(appName=MARKUP, appDescription=MARKUP))
    await page.shown("invitation")
    assert (await page.text("#invitation")).count(MARKUP) == 2
    assert await page.evaluate("document.querySelectorAll('main b, main img:not(#icon)').length") == 0
    await page.click("#redeem")
    await page.shown("keys")
    await page.click("#stored")
    await settled(page)
    await page.click("#look")
    await page.shown("home")
    await page.until("document.querySelectorAll('.key').length === 3")
    assert (await page.text("#home")).count(MARKUP) == 5  # the app, its description, and the names of its keys
    assert await page.evaluate("document.querySelectorAll('main b, main img:not(#icon)').length") == 0


@needs_chromium
async def test_keys_are_copied_and_saved(system: System, page: Page, tmp_path: Path) -> None:
    await page.may_use_clipboard()
    await page.downloads_to(tmp_path)
    dev, stage, prod = await redeemed(page, await system.invite(appName="Order sync"))

    await page.click("#keys .cards > li:nth-child(3) .copy")
    await page.until("document.querySelector('#said').textContent === 'The prod key is in the clipboard.'")
    assert await page.evaluate("navigator.clipboard.readText()") == prod

    await page.click("#keys > .actions [data-save=env]")
    saved = await downloaded(tmp_path / "keyfold-keys.env")
    assert saved.splitlines()[2:] == [
        f"KEYFOLD_KEY_DEV={dev}",
        f"KEYFOLD_KEY_STAGE={stage}",
        f"KEYFOLD_KEY_PROD={prod}",
    ]
    await page.click("#keys .cards > li:nth-child(1) [data-save=json]")
    alone = json.loads(await downloaded(tmp_path / "keyfold-dev.json"))
    assert [(key["environment"], key["secret"]) for key in alone["keys"]] == [("dev", dev)]


async def downloaded(path: Path) -> str:
    async def is_there() -> bool:
        return path.exists() and path.stat().st_size > 0

    await wait_until(is_there, path.name)
    return path.read_text()


@needs_chromium
async def test_leaving_while_the_keys_are_shown_is_asked_about(system: System, page: Page) -> None:
    await redeemed(page, await system.invite(appName="Order sync"))
    leaving = asyncio.create_task(page.call("Page.navigate", url=f"{system.url}/docs"))
    assert await page.answer_dialog(accept=False) == "beforeunload"
    await leaving
    assert len(await secrets_on(page)) == 3

    await page.click("#stored")
    await page.open(f"{system.url}/docs")
    assert page.dialogs == []


@needs_chromium
async def test_a_redemption_whose_answer_was_lost_is_had_again_by_the_same_page(system: System, page: Page) -> None:
    await page.open(await system.invite(appName="Order sync"))
    await page.shown("invitation")
    # the server does it, and the answer gets lost
    await page.evaluate(
        """(() => {
            const real = window.fetch;
            window.fetch = async (...request) => {
                await real(...request);
                window.fetch = real;
                throw new TypeError();
            };
        })()"""
    )
    await page.click("#redeem")
    await page.shown("end")
    assert "No answer" in await page.text("#end")
    await page.click("#again")
    await page.shown("keys")
    assert len(await secrets_on(page)) == 3


@needs_chromium
async def test_without_a_network_the_page_says_so_and_goes_on_when_it_is_back(system: System, page: Page) -> None:
    await page.open(await system.invite(appName="Order sync"))
    await page.shown("invitation")
    await page.offline(True)
    await page.click("#redeem")
    await page.shown("end")
    assert "can't be reached" in await page.text("#end")
    await page.offline(False)
    await page.click("#again")
    await page.shown("keys")


@needs_chromium
async def test_every_dead_end_says_what_to_do(system: System, page: Page) -> None:
    withdrawn = await system.invite(appName="Order sync")
    headers = {"Authorization": f"Bearer {system.integration_key}"}
    link_id = f"lnk_{withdrawn.partition('#kfl_')[2].split('_')[0]}"
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as client:
        answer = await client.post(f"/api/v1/links/{link_id}/withdraw", json={"reason": "a test"})
        assert answer.status_code == 200, answer.text
    unknown = mint("kfl", "lnk_01h455vb4pex5vsknk084sn02q", bytes(32)).reveal
    ends = {
        withdrawn: "This link was withdrawn",
        f"{system.url}/onboard#{unknown}": "This link isn't one of ours",
        f"{system.url}/onboard#kfl_%zz": "This link isn't one of ours",
        f"{system.url}/onboard": "Open the link that you were sent",
    }
    for url, said in ends.items():
        await page.open("about:blank")
        await page.open(url)
        await page.shown("end")
        assert said in await page.text("#end")
        assert await page.evaluate("document.querySelector('#again') === null")


@needs_chromium
async def test_another_link_pasted_into_the_same_tab_is_opened(system: System, page: Page) -> None:
    await page.open(await system.invite(appName="First"))
    await page.shown("invitation")
    second = await system.invite(appName="Second")
    await page.evaluate(f"location.href = {json.dumps(second)}")
    await page.until("document.querySelector('#invitation')?.innerText.includes('Second')")
    assert await page.evaluate("location.hash") == ""


@needs_chromium
async def test_pages_fit_a_narrow_screen_and_load_nothing_from_elsewhere(system: System, page: Page) -> None:
    await page.resize(360)
    for path in ("/docs", "/docs/quickstart", "/docs/operations", "/docs/api", "/onboard"):
        await page.open(f"{system.url}{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") == 360, path
    await redeemed(page, await system.invite(appName="W" * 256, appDescription="x" * 4096))
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.click("#stored")
    assert [url for url in page.requests if not url.startswith(system.url)] == []


async def test_a_hundred_looks_at_a_link_leave_it_redeemable(system: System) -> None:
    link = await system.invite(appName="Order sync")
    address, _, token = link.partition("#")
    async with httpx.AsyncClient() as client:

        async def look(method: str) -> set[int]:
            return {(await client.request(method, address)).status_code for _ in range(25)}

        assert await asyncio.gather(*[look(method) for method in ("GET", "HEAD") * 2]) == [{200}] * 4
        redeem = await client.post(f"{system.url}/api/v1/onboarding/redeem", json={"token": token})
    assert redeem.status_code == 201
