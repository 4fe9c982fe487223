"""How soon pages can be used, beside the least that this browser needs here for any page."""

import asyncio
import json
from statistics import median

from .chromium import Browser, Page

TURNS = 3
QUIET = 1.0
"""Seconds in which a browser ends what opening a tab, and closing the last one, still gives it to do."""
READY = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
"""The page is there and its scripts have run: whatever is pressed answers."""


async def soon(browser: Browser, origin: str, address: str, ready: str = READY, beside: Page | None = None) -> str:
    """Milliseconds from the start to what `ready` says, of this page and of one without anything: medians, for people.

    In a browser that is warm, in new tabs: with an empty cache, unless `beside` one that has visited already.
    """
    pages: dict[str, list[float]] = {f"{origin}/health/live": [], address: []}
    first = beside or await browser.page()
    for _ in range(TURNS):
        for url, turns in pages.items():
            if beside is None:
                await first.call("Network.clearBrowserCache")
            turns.append(await _once(first, browser, origin, url, ready if url == address else READY))
    least, found = (median(turns) for turns in pages.values())
    return f"{found:.0f} ms (an empty page {least:.0f} ms)"


async def _once(first: Page, browser: Browser, origin: str, url: str, ready: str) -> float:
    page = await browser.page(beside=first)
    await page.open(f"{origin}/static/keyfold.svg")
    for domain in ("Network", "Log", "Runtime"):  # to be watched costs as much again
        await page.call(f"{domain}.disable")
    await asyncio.sleep(QUIET)
    await page.call("Page.navigate", url=url)
    await page.until(f"location.href.startsWith({json.dumps(url.partition('#')[0])}) && {ready} > 0")
    found = await page.evaluate(ready)
    await page.call("Page.close")
    return float(found)
