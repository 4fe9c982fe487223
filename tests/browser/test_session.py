"""The portal's session in a real browser, over plain http on this machine as `keyfold up` serves it."""

import json
from typing import Any

import pytest

from examples.system import System

from .chromium import PATH, Browser, Page

pytestmark = [
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(not PATH.exists(), reason=f"THE SESSION IS NOT TESTED IN A BROWSER: there is no {PATH}"),
]


async def ask(page: Page, method: str, path: str, body: Any = None) -> list[Any]:
    """Status and code of the answer that a script of the page gets."""
    given: dict[str, Any] = {"method": method, "credentials": "same-origin"}
    if body is not None:
        given |= {"headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
    asked = f"fetch({json.dumps(path)}, {json.dumps(given)})"
    return list(await page.evaluate(f"{asked}.then(async (a) => [a.status, (await a.json()).code ?? null])"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("embedded", [False, True])
async def test_a_session_is_opened_used_and_left(system: System, browser: Browser, host: str, embedded: bool) -> None:
    token = (await system.invite(appName="Orders")).partition("#")[2]
    page = await browser.page()
    await page.open(f"{system.url.replace('127.0.0.1', host)}/onboard")
    body = {"token": token, "embedded": embedded}
    assert await ask(page, "POST", "/api/v1/onboarding/redeem", body) == [201, None]
    assert await page.evaluate("document.cookie") == ""
    assert await ask(page, "GET", "/api/v1/portal") == [200, None]
    home = "fetch('/api/v1/portal').then((a) => a.json()).then((a) => a.data.partner.id)"
    link = f"/api/v1/partners/{await page.evaluate(home)}/links"
    assert await ask(page, "POST", link, {}) == [201, None]
    assert await ask(page, "DELETE", "/api/v1/portal/session") == [200, None]
    assert await ask(page, "GET", "/api/v1/portal") == [401, "unauthenticated"]
    cookies = (await page.call("Network.getAllCookies"))["cookies"]
    assert [each["name"] for each in cookies if each["name"].startswith("__Host-")] == []
