"""The console's keys in a real browser: found among many, changed together and one by one, and not by an auditor."""

import asyncio
import csv
import io
import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import pytest_asyncio

from examples.system import System

from .chromium import Browser, Page
from .console import account_key, asked_before_leaving, filled, signed_in
from .portal import faults, needs_chromium, secrets_on, workspace

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]
MANY = 120


async def issue(client: httpx.AsyncClient, name: str, **wanted: object) -> dict[str, Any]:
    answer = await client.post("/api/v1/keys", json={"kind": "account", "role": "viewer", "name": name, **wanted})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()["data"]
    return key


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def many(system: System) -> System:
    """A workspace with many keys in it, all tagged `ci`."""
    async with workspace(system) as client:
        for some in range(0, MANY, 20):
            await asyncio.gather(*[issue(client, f"pipeline {n:03}", tags=["ci"]) for n in range(some, some + 20)])
        await _listed(client, MANY + 2)
    return system


async def _listed(client: httpx.AsyncClient, count: int) -> None:
    """Returns when the list of keys has so many."""
    for _ in range(200):
        answers = [(await client.get("/api/v1/keys", params={"limit": 200})).json()["data"]]
        if len(answers[0]) >= count:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"no {count} keys")


async def names(page: Page) -> list[str]:
    return list(
        await page.evaluate("[...document.querySelectorAll('#list td:nth-child(2)')].map((each) => each.innerText)")
    )


async def chosen(page: Page, selector: str, value: str) -> None:
    await page.evaluate(
        f"""(() => {{
            const menu = document.querySelector({json.dumps(selector)});
            menu.value = {json.dumps(value)};
            menu.dispatchEvent(new Event("change", {{bubbles: true}}));
        }})()"""
    )


NOTING = """(() => {
    window.noted = [];
    const place = document.querySelector("#how-far");
    new MutationObserver(() => place.textContent && noted.push(place.textContent)).observe(place, {childList: true});
})()"""


async def verdict(system: System, secret: str) -> Any:
    async with workspace(system) as client:
        return (await client.post("/api/v1/keys/verify", json={"key": secret})).json()["data"]


async def test_keys_are_sorted_paged_and_filtered_and_a_filter_is_saved_by_name(many: System, page: Page) -> None:
    await signed_in(page, many, path="/console/keys?tag=ci")
    position = "document.querySelector('#position').textContent"
    await page.until(f"{position} === '1 to 50 of 120'")
    await page.click("th a[href*='sort=name']")
    await page.until("document.querySelector('th[aria-sort=ascending]')?.textContent.trim() === 'Name'")
    assert (await names(page))[:2] == ["pipeline 000", "pipeline 001"]
    for place, first in (("51 to 100 of 120", "pipeline 050"), ("101 to 120 of 120", "pipeline 100")):
        await page.click(".pager [rel=next]")
        await page.until(f"{position} === '{place}'")
        assert (await names(page))[0] == first
    await page.click(".pager [rel=prev]")
    await page.until(f"{position} === '51 to 100 of 120'")
    assert (await names(page))[0] == "pipeline 050"

    await filled(page, "#search", "LINE 11")
    await page.until(f"{position} === '1 to 10 of 10'")
    assert parse_qs(str(await page.evaluate("location.search"))[1:]) == {
        "q": ["LINE 11"],
        "tag": ["ci"],
        "sort": ["name"],
    }
    name = "<b>ones</b> & elevens"
    await page.evaluate("document.querySelector('#saved').open = true")
    await filled(page, "#saved-name", name)
    await page.click("#saved button")
    await page.open(f"{many.url}/console/keys")
    assert await page.text("#saved-list li a") == name
    await page.click("#saved-list li a")
    await page.until(f"{position} === '1 to 10 of 10'")
    await page.click("#saved-list .remove")
    assert await page.evaluate("localStorage.length") == 0

    await page.evaluate("document.activeElement.blur()")
    for _ in range(2):
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="j", text="j")
    await page.press("Enter")
    await page.until("document.querySelector('h1')?.textContent === 'pipeline 111'")


async def test_many_keys_are_changed_as_the_dry_run_has_shown_and_never_others(many: System, page: Page) -> None:
    await signed_in(page, many, path="/console/keys?q=pipeline+1")
    await page.click("a[href^='/console/keys/bulk?']")
    await page.until("document.querySelector('#matched')?.textContent === '20 keys match.'")
    await chosen(page, "[name=do]", "suspend")
    await page.click("#try")
    await page.until("document.querySelector('#fault-reason')?.textContent.includes('reason')")
    assert await page.text("#matched") == "20 keys match."
    await filled(page, "[name=reason]", "spring <b>cleaning</b>")
    count = "document.querySelector('[data-count=changed]')?.textContent"
    await page.click("#try")
    await page.until(f"{count} === '20'")
    assert await faults(page) == []

    async with workspace(many) as client:

        async def suspended() -> list[Any]:
            found = await client.get("/api/v1/keys", params={"status": "suspended", "limit": 200})
            return list(found.json()["data"])

        assert await suspended() == []
        await issue(client, "pipeline 1x")  # meanwhile another one matches, which nobody has looked at
        await page.click("#confirm")
        await page.until(f"{count} === '21'")
        assert "Nothing was done" in await page.text("main")
        assert await suspended() == []
        await page.evaluate(NOTING)
        await page.click("#confirm")
        await page.until("!!document.querySelector('h2[data-step=done]')")
        assert await page.evaluate(count) == "21"
        # how far it was, on the same page
        assert await page.evaluate("[window.noted[0], window.noted.at(-1)]") == [
            "Looked at 0 of 21, nothing changed so far.",
            "Done with 21 of 21.",
        ]
        found = await suspended()
        assert len(found) == 21
        assert {each["suspendedReason"] for each in found} == {"spring <b>cleaning</b>"}
    await page.click("a[href*='correlationId=']")
    await page.until("document.querySelectorAll('#list tbody tr').length === 21")

    await page.open(f"{many.url}/console/keys?status=suspended")
    assert await page.evaluate("document.querySelector('button[form=bulk]').disabled"), "nothing is ticked"
    for n in (1, 2):
        await page.click(f"tbody tr:nth-child({n}) [name=id]")
    await page.click("button[form=bulk]")
    await page.until("document.querySelector('#matched')?.textContent === '2 keys match.'")
    await chosen(page, "[name=do]", "reinstate")
    await page.click("#try")
    await page.until(f"{count} === '2'")
    await page.click("#confirm")
    await page.until("!!document.querySelector('h2[data-step=done]')")
    async with workspace(many) as client:
        assert len((await client.get("/api/v1/keys?status=suspended&limit=200")).json()["data"]) == 19


async def test_the_new_secrets_of_many_keys_are_kept_as_a_file_before_anybody_leaves(many: System, page: Page) -> None:
    await page.may_use_clipboard()
    async with workspace(many) as client:
        names = ['=cmd|"/c calc"', "Bäckerei, " + "x" * 240]
        keys = [await issue(client, name, tags=["rotated"]) for name in names]
        while len((await client.get("/api/v1/keys", params={"tag": "rotated"})).json()["data"]) < 2:
            await asyncio.sleep(0.05)
    await signed_in(page, many, path="/console/keys/bulk?tag=rotated")
    await chosen(page, "[name=do]", "rotate")
    await page.click("#try")
    await page.until("!!document.querySelector('#confirm')")
    await page.click("#confirm")
    await page.until("!!document.querySelector('h2[data-step=done]')")
    secrets = sorted({*await secrets_on(page)})
    assert len(secrets) == 2
    assert await faults(page) == []
    tables = "[...document.querySelectorAll('#main .scroll')]"
    cut = f"{tables}.filter((each) => each.scrollWidth > each.clientWidth).length"
    assert await page.evaluate(cut) == 0, "at 1440 pixels"
    await asked_before_leaving(page)
    files = await page.evaluate(
        """(async () => {
            const made = [];
            URL.createObjectURL = (blob) => (made.push(blob.text()), "blob:none");
            HTMLAnchorElement.prototype.click = () => {};
            for (const kind of ["json", "csv"]) {
                document.querySelector(`[data-save=${kind}]`).dispatchEvent(new Event("click", {bubbles: true}));
            }
            return Promise.all(made);
        })()"""
    )
    kept = json.loads(files[0])
    assert {(each["replaces"], each["name"]) for each in kept} == {(each["id"], each["name"]) for each in keys}
    assert sorted(each["secret"] for each in kept) == secrets
    rows = [*csv.DictReader(io.StringIO(files[1]))]
    assert sorted(each["secret"] for each in rows) == secrets
    assert {each["name"] for each in rows} == {f"'{names[0]}", names[1]}
    await page.click("#copy-all")
    await page.until("document.querySelector('#said').textContent === 'Copied.'")
    assert all([each in await page.evaluate("navigator.clipboard.readText()") for each in secrets])
    await page.open(f"{many.url}/console/keys?tag=rotated&sort=used")
    assert page.dialogs == []


async def test_a_key_is_suspended_reinstated_narrowed_rotated_and_revoked_by_clicks(
    system: System, browser: Browser, page: Page
) -> None:
    async with workspace(system) as client:
        key = await issue(client, "deployer")
    here = f"{system.url}/console/keys/{key['id']}"
    status = "document.querySelector('[data-fact=status]')?.dataset.value"
    await signed_in(page, system, path=f"/console/keys/{key['id']}")

    async def do(act: str, reason: str = "") -> None:
        await page.click(f"[data-act={act}]")
        await page.until("!!document.querySelector('#do')")
        if reason:
            await filled(page, "[name=reason]", reason)
        await page.click("#do")

    await do("suspend", "a <b>test</b>")
    await page.until(f"{status} === 'suspended'")
    assert await page.text("[data-fact=suspendedReason]") == "a <b>test</b>"
    assert (await verdict(system, key["secret"]))["code"] == "suspended"
    await do("reinstate")
    await page.until(f"{status} === 'active'")
    assert (await verdict(system, key["secret"]))["valid"]

    # narrowed, beside what changes as it is typed; and by two at once
    await page.click("[data-act=narrow]")
    await page.until("!!document.querySelector('#unmoved')")
    other = await browser.page(beside=page)
    await other.open(f"{here}/narrow")
    await filled(page, "#key-expiresAt", "tomorrow")
    await page.until("document.querySelector('#preview [role=alert]')?.innerText.includes('Expires')")
    assert await page.evaluate("document.querySelector('#key-expiresAt').ariaInvalid") == "true"
    await filled(page, "#key-expiresAt", "2040-01-01T00:00:00Z")
    await page.until("document.querySelector('[data-move=expiresAt] ins')?.innerText.includes('2040-01-01')")
    await page.click("#save")
    await page.until("document.querySelector('[data-fact=expiresAt] time')?.dateTime.startsWith('2040-01-01')")
    await filled(other, "#key-expiresAt", "2039-01-01T00:00:00Z")
    await other.click("#save")
    await other.until("!!document.querySelector('#stale')")
    assert await other.evaluate("document.querySelector('#key-expiresAt').value") == "2039-01-01T00:00:00Z"
    assert await other.text("[data-move=expiresAt] del code") == "2040-01-01T00:00:00Z"

    await page.click("[data-act=rotate]")
    await page.until("!!document.querySelector('#do')")
    await chosen(page, "[name=overlapSeconds]", "3600")
    await page.click("#do")
    await page.until("!!document.querySelector('#secret')")
    (successor,) = set(await secrets_on(page))
    assert await faults(page) == []
    assert (await verdict(system, successor))["valid"]
    assert "/rotate" not in await page.evaluate("location.pathname"), "Back needn't send the form again"
    await asked_before_leaving(page)
    await page.click("a[data-leave]")
    await page.until("!!document.querySelector('#key-head')")
    await page.open(here)
    assert await page.evaluate(status) == "retiring"
    assert await secrets_on(page) == []
    assert [each for each in page.requests if successor in each] == []

    await do("revoke", "done")
    await page.until(f"{status} === 'revoked'")
    assert not (await verdict(system, key["secret"]))["valid"]
    assert await page.evaluate("document.querySelectorAll('[data-act]').length") == 0


async def test_an_auditor_sees_keys_and_can_touch_none(system: System, browser: Browser, page: Page) -> None:
    async with workspace(system) as client:
        key = await issue(client, "left alone")
    _, auditor = await account_key(system, "auditor")
    await signed_in(page, system, auditor, "/console/keys")
    assert await page.evaluate("document.querySelectorAll('[name=id], [form=bulk]').length") == 0
    await page.open(f"{system.url}/console/keys/{key['id']}")
    assert await page.text("h1") == "left alone"
    assert await page.evaluate("document.querySelectorAll('[data-act], main form[method=post]').length") == 0
    posted = await page.evaluate(
        f"""Promise.all({json.dumps([f"/console/keys/{key['id']}/revoke", "/console/keys/bulk"])}.map((path) =>
            fetch(path, {{method: "POST", headers: {{"Content-Type": "application/x-www-form-urlencoded"}},
                body: "reason=no&do=revoke&step=do&q=left"}}).then((answer) => answer.status)))"""
    )
    assert posted == [403, 403]
    await page.open(f"{system.url}/console/keys/{key['id']}/revoke")
    assert "keys:revoke" in await page.text("main")
    assert (await verdict(system, key["secret"]))["valid"]
