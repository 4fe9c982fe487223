"""Takes the pictures of the portal that the handbook shows: `python -m browser.pictures [folder]`, from `tests`."""

import asyncio
import sys
import tempfile
from pathlib import Path

import nats

from conftest import prepare
from examples.system import System, hosted
from keyfold.cli.embedded import Postgres

from .chromium import Browser, Page, browsing
from .portal import ICON, describe_topics, fresh_link, present, section

PICTURES = Path(__file__).parents[2] / "src/keyfold/docs/pictures"
WIDTHS = (360, 768, 1440)
SMALL = (("light", "light", 1440, 900, 0.5), ("dark", "dark", 1440, 900, 0.5), ("phone", "light", 360, 720, 1.0))
"""Name, appearance, width, height and scale of those in the handbook."""
_RULE = {"send": {"topics": ["app/order/*"]}, "receive": {"topics": ["app/fulfillment/**"]}}
SECTIONS = ("keys", "topics", "events", "usage", "letters", "history")


async def look(page: Page, folder: Path, name: str) -> None:
    """The page as it is: for the handbook, or to be looked at, whole, at each width, light and dark."""
    await page.evaluate("scrollTo(0, 0); document.activeElement?.blur()")
    if folder == PICTURES:
        for kind, scheme, width, height, scale in SMALL:
            await _set(page, scheme, width, height)
            part = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
            await page.screenshot(folder / f"portal-{name}-{kind}.png", **part)
        return
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            await _set(page, scheme, width, 900)
            await page.screenshot(folder / f"portal-{name}-{scheme}-{width}.png")


async def _set(page: Page, scheme: str, width: int, height: int) -> None:
    await page.prefer(scheme)
    await page.resize(width, height)
    await asyncio.sleep(0.2)


async def tour(system: System, browser: Browser, folder: Path) -> None:
    await present(
        system,
        name="Meridian Orders",
        description="Orders as they are created and fulfilled.",
        color="#b44509",
        icon=ICON,
        environments={
            "dev": {"permitted": ["send", "receive"], "options": _RULE},
            "stage": {"policy": {"lifetimeSeconds": 180 * 86400}},
            "prod": {
                "permitted": ["send", "receive"],
                "options": _RULE,
                "policy": {"lifetimeSeconds": 90 * 86400},
            },
        },
    )
    await describe_topics(system)
    page = await browser.page()
    await page.resize(1440)
    await page.open(await system.invite(appName="Order sync", appDescription="Keeps our warehouse informed."))
    await page.shown("invitation")
    await look(page, folder, "welcome")
    await page.click("#redeem")
    await page.shown("keys")
    key = str(await page.evaluate("document.querySelector('.secret').textContent"))
    await look(page, folder, "keys")
    await page.click("#stored")
    await page.shown("first")
    await page.until("document.querySelector('#first code').textContent.includes('nats')")
    await page.click("#test")
    await page.until("document.querySelectorAll('.live details').length === 1")
    client = await nats.connect(system.nats_url, token=key)
    await client.request("events.app.order.created", b'{"orderId": "o_4711", "total": 12.5}', timeout=10)
    await page.until("!!document.querySelector('.verdict.good')")
    await look(page, folder, "first")
    for each in range(40):
        await client.request("events.app.order.created", b'{"orderId": "o_%d"}' % each, timeout=10)
        await client.request("events.app.order.created", b'{"total": -1}', timeout=10)
    await client.close()
    await asyncio.sleep(3)
    await page.click("#look")
    await page.shown("home")
    partner_id = await page.evaluate("document.querySelector('#home .id').textContent")
    for name in SECTIONS:
        await section(page, name)
        await asyncio.sleep(1)
        if name == "topics":
            await page.click(".entry summary")
        await look(page, folder, name + "-home" if name == "keys" else name)
    await section(page, "keys")
    await page.click("[data-act=rotate]")
    await page.until("!!document.querySelector('dialog .picture svg')")
    await look(page, folder, "rotate")
    used = await fresh_link(system, str(partner_id))
    again = await browser.page()
    await again.open(used)
    await again.shown("return")
    await look(again, folder, "return")
    await again.open(f"{system.url}/onboard#kfl_nothing")
    await again.shown("end")
    await look(again, folder, "end")


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="keyfold-") as temporary:
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
