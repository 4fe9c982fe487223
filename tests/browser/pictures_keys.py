"""What happens to keys in the console's pictures, and the pages that show it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from examples.system import System

from .chromium import Page
from .console import filled
from .portal import workspace

Look = Callable[[Page, Path, str], Awaitable[None]]


async def lived(system: System) -> tuple[str, int, str]:
    """A key with a life; the position at which it was suspended; and the event of another one's compromise."""
    link = await system.invite(appName="Harbor logistics")
    async with httpx.AsyncClient(base_url=system.url) as client:
        answer = await client.post("/api/v1/onboarding/redeem", json={"token": link.partition("#")[2]})
    other, _, key_id = (key["id"] for key in answer.json()["data"]["keys"])
    suspended = 0
    narrowed = {"tags": ["harbor", "night shift"], "options": {"send": {"topics": ["app/order/created"]}}}
    async with workspace(system) as client:
        for method, path, body in (
            ("PATCH", "", {"purpose": "Keeps the port informed of what comes in."}),
            ("POST", "/suspend", {"reason": "The laptop that held it is lost."}),
            ("POST", "/reinstate", {}),
            ("PATCH", "", narrowed),
            ("POST", "/rotate", {"overlapSeconds": 7 * 86400}),
        ):
            await asyncio.sleep(0.3)
            headers = {"If-Match": "*"} if method == "PATCH" else {}
            answer = await client.request(method, f"/api/v1/keys/{key_id}{path}", json=body, headers=headers)
            assert answer.is_success, answer.text
            if path == "/suspend":
                suspended = int(answer.headers["keyfold-position"])
        answer = await client.post(f"/api/v1/keys/{other}/compromise", json={"reason": "in a chat", "replace": True})
        asked = {"keyId": other, "type": "key.compromised", "minPosition": answer.headers["keyfold-position"]}
        event_id = (await client.get("/api/v1/audit/events", params=asked)).json()["data"][0]["id"]
    await asyncio.sleep(8)  # until a checkpoint holds all of it
    return key_id, suspended, event_id


async def tour_of_keys(system: System, page: Page, folder: Path, look: Look) -> None:
    """For somebody who is signed in."""
    key_id, suspended, event_id = await lived(system)
    for name, path in (
        ("keys", "/console/keys"),
        ("key", f"/console/keys/{key_id}"),
        ("key-then", f"/console/keys/{key_id}?asOf={suspended}"),
        ("narrow", f"/console/keys/{key_id}/narrow"),
        ("revoke", f"/console/keys/{key_id}/revoke"),
        ("holders", "/console/holders?action=send&topic=app/order/created&environment=prod"),
        ("changes", f"/console/changes?from={suspended - 1}&keyId={key_id}"),
        ("audit", "/console/audit?type=key."),
        ("event", f"/console/audit/{event_id}"),
        ("export", "/console/audit/export?type=key."),
        ("proof", "/console/proof"),
    ):
        await page.open(f"{system.url}{path}")
        if name == "proof":
            await page.click("#check-head")
            await page.until("document.querySelectorAll('#head-verdict li').length === 2")
            await page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        await look(page, folder, name)
    await page.open(f"{system.url}/console/keys/bulk?environment=stage")
    await filled(page, "[name=reason]", "The stage is being rebuilt.")
    await page.click("#try")
    await page.until("!!document.querySelector('#confirm')")
    await look(page, folder, "bulk")
