"""What a partner's developer, and the workspace that invited it, do in the tests of the portal."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from examples.system import System
from keyfold.domain.tokens import KEY_PATTERN

from .chromium import PATH, Page

needs_chromium = pytest.mark.skipif(
    not PATH.exists(), reason=f"THE PAGES ARE NOT TESTED IN A BROWSER: there is no {PATH} (Debian's package chromium)"
)
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
_SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="2" fill="#b44509"/></svg>'
)
LOOKS = ("color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable")
"""Rules of axe-core that depend on colors or on the width."""
ICON = "data:image/svg+xml," + quote(_SQUARE)
ORDER = {
    "type": "object",
    "required": ["orderId"],
    "properties": {"orderId": {"type": "string"}, "total": {"type": "number", "minimum": 0}},
}


def workspace(system: System) -> httpx.AsyncClient:
    """The workspace's own client, as an owner."""
    headers = {"Authorization": f"Bearer {system.account_key}"}
    return httpx.AsyncClient(base_url=system.url, headers=headers, timeout=30)


async def present(system: System, **terms: object) -> None:
    """Changes what the system's integration says of itself."""
    async with workspace(system) as client:
        path = f"/api/v1/integrations/{system.integration_id}"
        answer = await client.patch(path, json=terms, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text


async def describe_topics(system: System) -> None:
    """Two topics with words, a schema and an example."""
    async with workspace(system) as client:
        for name, direction, said in (
            ("app/order/created", "send", "An order came in."),
            ("app/fulfillment/shipped", "receive", "A parcel is on its way."),
        ):
            words = {"name": name, "direction": direction, "description": said}
            body = {**words, "schema": ORDER, "examples": [{"orderId": "o_1", "total": 12.5}]}
            path = f"/api/v1/integrations/{system.integration_id}/topics"
            answer = await client.post(path, json=body)
            assert answer.status_code == 201, answer.text


async def fresh_link(system: System, partner_id: str) -> str:
    """A link back into the portal."""
    async with workspace(system) as client:
        answer = await client.post(f"/api/v1/partners/{partner_id}/links", json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["url"])


async def secrets_on(page: Page) -> list[str]:
    return re.findall(KEY_PATTERN, str(await page.evaluate("document.documentElement.outerHTML")))


async def redeemed(page: Page, link: str) -> list[str]:
    """The keys that the page shows once the button is pressed."""
    await page.open(link)
    await page.shown("invitation")
    await page.click("#redeem")
    await page.shown("keys")
    return await secrets_on(page)


async def settled(page: Page) -> None:
    """Waits until the page of the first event has its program and its stream, and nothing on it moves any more."""
    await page.shown("first")
    await page.until(
        "!!document.querySelector('.snippet code').textContent && !!document.querySelector('.watch .state')"
    )


async def at_home(page: Page, link: str) -> list[str]:
    """Goes all the way to the portal, and gives the keys that were shown on it."""
    keys = await redeemed(page, link)
    await page.click("#stored")
    await settled(page)
    await page.click("#look")
    await page.shown("home")
    await page.until("document.querySelectorAll('.key').length > 0")
    return keys


async def section(page: Page, name: str) -> None:
    """Goes to a section of the portal by its tab, and waits until it is there."""
    await page.click(f".tabs a[href='#{name}']")
    at = f"!!document.querySelector('#body[data-section={name}]')"
    await page.until(f"{at} && !document.querySelector('#body > progress')")


async def violations(page: Page, rules: Sequence[str] = ()) -> list[Any]:
    """What axe-core finds against WCAG 2.2 AA and its own good practice, or against some of its rules."""
    if not await page.evaluate("'axe' in window"):
        await page.call("Runtime.evaluate", expression=AXE)
    asked = {"resultTypes": ["violations"], **({"runOnly": [*rules]} if rules else {})}
    found = await page.evaluate(
        f"axe.run(document, {json.dumps(asked)}).then((all) => all.violations.map("
        "(each) => [each.id, each.nodes.map((node) => node.html + ' — ' + node.failureSummary)]))"
    )
    return list(found)


async def faults(page: Page) -> list[Any]:
    """What axe-core finds on the page as it stands, dark on a phone and light on a wide screen, and whether it is wider
    than either. Only the last is asked by all rules: to the others the page is the same."""
    found: list[Any] = []
    for scheme, width, rules in (("dark", 360, LOOKS), ("light", 1440, ())):
        await page.prefer(scheme)
        await page.resize(width)
        found += [(scheme, width, *each) for each in await violations(page, rules)]
        if await is_wider_than_the_window(page):
            found.append((width, "wider than the window"))
    return found


async def is_wider_than_the_window(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
