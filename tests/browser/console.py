"""What an operator does in the tests of the console."""

import json

import httpx

from examples.system import System

from .chromium import Page
from .portal import workspace

SIGN_IN = "/console/sign-in"


async def signed_in(page: Page, system: System, key: str | None = None, path: str = "/console") -> None:
    """Signs in with an account key, an owner's where none is given, on the way to a page."""
    await page.open(f"{system.url}{path}")
    await page.until("!!document.querySelector('#by-key')")
    await filled(page, "#field-key", key or system.account_key)
    await page.click("#enter")
    await page.until("!!document.querySelector('#sign-out')")
    await page.until("document.readyState === 'complete'")


async def filled(page: Page, selector: str, text: str) -> None:
    """Puts a text into a field, as somebody who pastes it."""
    await page.evaluate(
        f"""(() => {{
            const field = document.querySelector({json.dumps(selector)});
            field.focus();
            field.value = {json.dumps(text)};
            field.dispatchEvent(new Event("input", {{bubbles: true}}));
        }})()"""
    )


async def sign_in_link(system: System, key: str | None = None) -> str:
    """A one-time link, made with an account key."""
    headers = {"Authorization": f"Bearer {key or system.account_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as client:
        answer = await client.post("/api/v1/console/links", json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["url"])


async def account_key(system: System, role: str, **wanted: object) -> tuple[str, str]:
    """A new account key with a role: its id and its secret."""
    async with workspace(system) as client:
        answer = await client.post("/api/v1/keys", json={"kind": "account", "name": role, "role": role, **wanted})
    assert answer.status_code == 201, answer.text
    data = answer.json()["data"]
    return str(data["id"]), str(data["secret"])


async def asked_before_leaving(page: Page) -> None:
    """Somebody who is about to lose something is asked, and stays."""
    await page.evaluate("void setTimeout(() => location.assign('/console/health'), 0)")
    assert await page.answer_dialog(accept=False) == "beforeunload"
