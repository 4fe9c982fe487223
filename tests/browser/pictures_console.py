"""Takes the pictures of the console: `python -m browser.pictures_console [folder]`, from `tests`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from conftest import prepare
from examples.system import System, hosted
from keyfold.cli.embedded import Postgres

from .chromium import Browser, Page, browsing
from .console import account_key, filled, signed_in
from .pictures import PICTURES, SMALL, WIDTHS
from .pictures_keys import tour_of_keys
from .portal import describe_topics, present, workspace

_RULE = {"send": {"topics": ["app/order/*"]}, "receive": {"topics": ["app/fulfillment/**"]}}
UNASKED = "addEventListener('beforeunload', (event) => event.stopImmediatePropagation())"
"""Leaves pages without a word that would ask first."""
APPS = ("Order sync", "Warehouse Nord", "Ledger", "Parcel tracker", "Shop front", "Returns desk", "Price feed")


async def look(page: Page, folder: Path, name: str) -> None:
    """The page as it is: for the handbook, or to be looked at, whole, at each width, light and dark."""
    await page.evaluate("document.activeElement?.blur()")
    kinds: list[Any] = [(*each[:4], {"scale": each[4]}) for each in SMALL]
    if folder != PICTURES:
        kinds = [(f"{scheme}-{width}", scheme, width, 900, {}) for scheme in ("light", "dark") for width in WIDTHS]
    for kind, scheme, width, height, scaled in kinds:
        await page.prefer(scheme)
        await page.resize(width, height)
        await asyncio.sleep(0.2)
        clip = {"x": 0, "y": 0, "width": width, "height": height, **scaled} if scaled else {}
        await page.screenshot(folder / f"console-{name}-{kind}.png", **clip)


async def peopled(system: System) -> str:
    """Partners in every stage; the address of the page of one that is live."""
    await present(
        system,
        name="Meridian Orders",
        description="Orders as they are created and fulfilled.",
        color="#b44509",
        environments={
            "dev": {"permitted": ["send", "receive"], "options": _RULE},
            "stage": {"policy": {"lifetimeSeconds": 180 * 86400}},
            "prod": {
                "options": _RULE,
                "policy": {"lifetimeSeconds": 20 * 86400, "rate": {"requests": 600, "seconds": 60}},
            },
        },
    )
    await describe_topics(system)
    live = ""
    async with workspace(system) as client:
        for n, name in enumerate(APPS * 9):
            link = await system.invite(appName=f"{name} {n // len(APPS) + 1}", appDescription="Sends what it has.")
            if n % 5 == 0:
                continue
            keys, partner_id = await _redeemed(system, link)
            for used in ("dev", "prod")[: n % 3]:
                await client.post("/api/v1/keys/verify", json={"key": keys[used]})
            if n % 3 == 2:
                live = f"/console/partners/{partner_id}"
            if n % 16 == 6:
                await client.delete(f"/api/v1/partners/{partner_id}")
    await asyncio.sleep(3)
    return live


async def _redeemed(system: System, link: str) -> tuple[dict[str, str], str]:
    async with httpx.AsyncClient(base_url=system.url) as client:
        answer = await client.post("/api/v1/onboarding/redeem", json={"token": link.partition("#")[2]})
    data = answer.json()["data"]
    return {each["environment"]: each["secret"] for each in data["keys"]}, str(data["partner"]["id"])


async def tour(system: System, browser: Browser, folder: Path) -> None:
    live = await peopled(system)
    page = await browser.page()
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=UNASKED)
    await page.open(f"{system.url}/console/sign-in")
    await look(page, folder, "signin")
    await signed_in(page, system)
    at = f"/console/integrations/{system.integration_id}"
    async with workspace(system) as client:
        found = await client.get(f"/api/v1/integrations/{system.integration_id}/topics", params={"limit": 1})
    topic = f"/console/topics/{found.json()['data'][0]['id']}"
    for name, path in (
        ("overview", "/console"),
        ("overview-then", "/console?asOf=100"),
        ("integrations", "/console/integrations"),
        ("integration", at),
        ("rule", f"{at}/rule"),
        ("invite", f"{at}/invite"),
        ("topic", topic),
        ("schema", f"{topic}/schema"),
        ("partners", "/console/partners"),
        ("partner", live),
        ("health", "/console/health"),
    ):
        await page.open(f"{system.url}{path}")
        await look(page, folder, name)
    await overtaken(system, page, at)
    await look(page, folder, "rule-stale")
    key_id, _ = await account_key(system, "admin")
    await page.open(f"{system.url}/console/keys/{key_id}/narrow")
    await filled(page, "#key-integrations", system.integration_id)
    await page.until("!!document.querySelector('#moves')")
    await look(page, folder, "narrow-account")
    await tour_of_keys(system, page, folder, look)


async def overtaken(system: System, page: Page, at: str) -> None:
    """Somebody else has changed the rule while it was edited here."""
    await page.open(f"{system.url}{at}/rule")
    async with workspace(system) as client:
        dev = {"options": {"send": {"topics": ["app/order/*", "app/invoice/*"]}}}
        terms = {"linkLifetimeSeconds": 7200, "environments": {"dev": dev}}
        await client.patch(f"/api/v1/integrations/{system.integration_id}", json=terms, headers={"If-Match": "*"})
    await filled(page, "#dev-send", "app/**")
    await page.click("#save")
    await page.until("!!document.querySelector('#stale')")


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="keyfold-", ignore_cleanup_errors=True) as temporary:
        server = Postgres(Path(temporary) / "postgres", durable=False)
        await server.start()
        try:
            await asyncio.to_thread(prepare, server)
            async with hosted(server, Path(temporary)) as system, browsing(Path(temporary) / "profile") as browser:
                await tour(system, browser, folder)
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if sys.argv[1:] else PICTURES))
