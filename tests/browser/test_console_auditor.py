"""What an auditor does in the console, in a real browser: any moment of a key, the trail, what changed, the proof."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.system import System
from keyfold_client.audit.merkle import Frontier, consistency_proof, leaf_hash, node_hash
from keyfold_client.audit.notes import (
    COSIGNATURE,
    ED25519,
    NoteError,
    Verifier,
    cosigned,
    open_note,
    parse_note,
    signature_line,
)
from keyfold_client.audit.proofs import Proof

from .chromium import Browser, Page
from .console import account_key, signed_in
from .portal import faults, needs_chromium, workspace
from .test_portal import HOSTILE

pytestmark = [pytest.mark.asyncio(loop_scope="package"), needs_chromium]


class Story(NamedTuple):
    """A partner's key to which much has happened, and the auditor's own key."""

    system: System
    key_id: str
    positions: dict[str, int]
    auditor: str


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def story(system: System) -> Story:
    link = await system.invite(appName="Warehouse")
    async with httpx.AsyncClient(base_url=system.url) as client:
        answer = await client.post("/api/v1/onboarding/redeem", json={"token": link.partition("#")[2]})
    key_id = next(key["id"] for key in answer.json()["data"]["keys"] if key["environment"] == "prod")
    positions: dict[str, int] = {}
    async with workspace(system) as client:

        async def do(name: str, method: str, path: str, body: Any) -> None:
            await asyncio.sleep(0.05)  # so that there is time in between
            answer = await client.request(
                method,
                f"/api/v1/keys/{key_id}{path}",
                json=body,
                headers={"If-Match": "*"} if method == "PATCH" else {},
            )
            assert answer.is_success, answer.text
            positions[name] = int(answer.headers["keyfold-position"])

        narrowed = {"permitted": ["send"], "options": {"send": {"topics": ["app/order/*"]}}}
        await do(
            "named", "PATCH", "", {"name": "The <b>warehouse</b>", "purpose": "Keeps it informed.", "tags": ["ci"]}
        )
        await do("suspended", "POST", "/suspend", {"reason": "The laptop & the <i>bag</i>"})
        await do("reinstated", "POST", "/reinstate", {})
        await do("narrowed", "PATCH", "", narrowed)
        await do("rotated", "POST", "/rotate", {"overlapSeconds": 3600})
        await do("revoked", "POST", "/revoke", {"reason": "over"})
    _, auditor = await account_key(system, "auditor")
    return Story(system, key_id, positions, auditor)


SHOWN = """(() => {
    const fact = (name) => document.querySelector(`[data-fact="${name}"]`);
    const when = (name) => fact(name)?.querySelector("time")?.dateTime ?? null;
    return {
        name: fact("name").textContent,
        status: fact("status").dataset.value,
        purpose: fact("purpose")?.textContent ?? null,
        tags: [...(fact("tags")?.querySelectorAll("bdi") ?? [])].map((each) => each.textContent),
        permitted: [...document.querySelectorAll("[data-fact^=topics-]")].map((each) => each.dataset.fact.slice(7)),
        topics: [...document.querySelectorAll("[data-fact=topics-send] code")].map((each) => each.textContent),
        successorId: fact("successorId")?.querySelector("a").title ?? null,
        retiresAt: when("retiresAt"), suspendedAt: when("suspendedAt"), revokedAt: when("revokedAt"),
        suspendedReason: fact("suspendedReason")?.textContent ?? null,
        revokedReason: fact("revokedReason")?.textContent ?? null,
    };
})()"""
TIMES = ("retiresAt", "suspendedAt", "revokedAt")


def told(key: dict[str, Any]) -> dict[str, Any]:
    """The same of a key as the API gives it."""
    same = ("name", "status", "purpose", "tags", "permitted", "successorId", *TIMES, "suspendedReason", "revokedReason")
    topics = key["options"].get("send", {}).get("topics", []) if key["options"] else []
    return {**{name: key[name] for name in same}, "topics": topics}


def comparable(shown: dict[str, Any]) -> dict[str, Any]:
    return shown | {name: shown[name] and shown[name].replace("+00:00", "Z") for name in TIMES}


def listed(selector: str) -> str:
    """The ids that the rows of the list lead to."""
    return f"[...document.querySelectorAll('#list tbody {selector}')].map((link) => link.pathname.split('/').pop())"


async def slid(page: Page, value: int) -> str:
    """Puts the slider there, waits until the page has followed, and gives the moment in its address."""
    await page.evaluate(
        f"""(() => {{
            const range = document.querySelector("#moment");
            window.before = document.querySelector("#key-head");
            range.value = {value};
            range.dispatchEvent(new Event("input", {{bubbles: true}}));
        }})()"""
    )
    await page.until(
        "document.querySelector('#key-head') !== window.before && !document.body.hasAttribute('aria-busy')"
    )
    search = str(await page.evaluate("location.search"))
    return parse_qs(search[1:]).get("asOf", [""])[0]


async def test_the_slider_shows_at_every_moment_what_the_api_says_as_of_it(story: Story, page: Page) -> None:
    await signed_in(page, story.system, story.auditor, f"/console/keys/{story.key_id}")
    await page.until("!document.querySelector('#slider').hidden")
    end = int(await page.evaluate("document.querySelector('#moment').max"))
    assert end == 7000  # issued, and six more
    seen: set[str] = set()
    async with workspace(story.system) as client:
        for value in (0, 1000, 1500, 2000, 2400, 3000, 4000, 5000, 5700, 6000, 6500, 100):
            at = await slid(page, value)
            shown = await page.evaluate(SHOWN)
            answer = await client.get(f"/api/v1/keys/{story.key_id}", params={"asOf": at})
            assert comparable(shown) == told(answer.json()["data"]), (value, at)
            seen.add(shown["status"])
            assert await page.evaluate("document.querySelectorAll('[data-act]').length") == 0
            assert "Nothing can be changed here" in await page.text("#key-head")
    assert seen == {"active", "suspended", "retiring", "revoked"}
    assert await slid(page, end) == ""
    assert (await page.evaluate(SHOWN))["status"] == "revoked"
    assert await page.evaluate("!document.querySelector('#key-head .past')")

    # by a mouse, from its end to its middle; and by keys and buttons
    box = await page.evaluate(
        "(() => { const box = document.querySelector('#moment').getBoundingClientRect();"
        " return [box.x, box.y + box.height / 2, box.width]; })()"
    )
    mouse: dict[str, Any] = {"button": "left", "clickCount": 1}
    await page.call("Input.dispatchMouseEvent", type="mousePressed", x=box[0] + box[2] - 8, y=box[1], **mouse)
    for part in (0.8, 0.6, 0.4):
        await page.call(
            "Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] * part, y=box[1], buttons=1, **mouse
        )
    await page.call("Input.dispatchMouseEvent", type="mouseReleased", x=box[0] + box[2] * 0.4, y=box[1], **mouse)
    await page.until("document.querySelector('[data-fact=status]').dataset.value === 'suspended'")
    await page.click("[data-step='1']")
    await page.until(f"document.querySelector('#key-head').dataset.position === '{story.positions['reinstated']}'")
    current = "document.querySelector('#line li[aria-current]').dataset.position"
    assert await page.evaluate(current) == str(story.positions["reinstated"])
    # and what it shows is an address, that stands by itself
    await page.open(str(await page.evaluate("location.href")))
    assert await page.evaluate(current) == str(story.positions["reinstated"])


async def test_who_could_what_and_what_changed_are_as_the_api_says(story: Story, page: Page) -> None:
    await signed_in(page, story.system, story.auditor, "/console/holders")
    rows = listed("td:nth-child(1) a")
    async with workspace(story.system) as client:
        for moment, is_there in (("named", True), ("suspended", False), ("narrowed", True), ("revoked", False)):
            for topic in ("app/order/created", "app/invoice/paid"):
                asked = {"action": "send", "topic": topic, "asOf": str(story.positions[moment])}
                found = (await client.get("/api/v1/audit/holders", params=asked)).json()["data"]
                query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
                await page.open(f"{story.system.url}/console/holders?{query}")
                assert await page.evaluate(rows) == [each["id"] for each in found]
                could = is_there and not (moment == "narrowed" and topic == "app/invoice/paid")
                assert (story.key_id in [each["id"] for each in found]) is could
        span = {"from": str(story.positions["named"]), "to": str(story.positions["narrowed"]), "keyId": story.key_id}
        (change,) = (await client.get("/api/v1/audit/changes", params=span)).json()["data"]
    query = "&".join(f"{name}={value}" for name, value in span.items())
    await page.open(f"{story.system.url}/console/changes?{query}")
    fields = "[...document.querySelectorAll('.change tbody tr td:first-child')].map((each) => each.innerText)"
    assert await page.evaluate(fields) == change["changed"]
    assert "app/order/*" in await page.text(".change")
    assert "The <b>warehouse</b>" in await page.text(".change h2")


async def test_the_trail_is_searched_followed_and_exported(story: Story, page: Page, tmp_path: Path) -> None:
    own = story.system
    async with workspace(own) as client:
        leaked = (
            await client.post("/api/v1/keys", json={"kind": "account", "role": "viewer", "name": "leaked"})
        ).json()
        key_id = leaked["data"]["id"]
        answer = await client.post(f"/api/v1/keys/{key_id}/compromise", json={"reason": "in a chat", "replace": True})
        position = int(answer.headers["keyfold-position"])
        asked = {"type": "key.", "since": "2020-01-01T00:00:00Z", "minPosition": str(position), "limit": "200"}
        expected = [each["id"] for each in (await client.get("/api/v1/audit/events", params=asked)).json()["data"]]
    await signed_in(page, own, story.auditor, "/console/audit?type=key.&since=2020-01-01T00:00:00Z")
    rows = listed("td:nth-child(2) a")
    assert await page.evaluate(rows) == expected[:50]
    await page.click("#list tbody tr:nth-child(1) td:nth-child(2) a")  # the replacement, as the newest
    await page.until("document.querySelector('h1')?.textContent === 'A key was issued'")
    await page.click("li[data-event] a")
    await page.until("document.querySelector('h1')?.textContent === 'A key was reported as compromised'")
    assert "in a chat" in await page.text("main")
    await page.click(f"a[href^='/console/keys/{key_id}?asOf=']")  # right before
    await page.until("document.querySelector('[data-fact=status]')?.dataset.value === 'active'")

    await page.downloads_to(tmp_path)
    await page.open(f"{own.url}/console/audit/export?type=key.")
    await page.click("#download")
    file = tmp_path / "audit.ndjson"
    for _ in range(200):
        if file.exists() and file.read_text().endswith("\n"):
            break
        await asyncio.sleep(0.05)
    lines = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert lines == expected[::-1]
    async with workspace(own) as client:
        begun = await client.get("/api/v1/audit/events", params={"type": "audit.export-begun", "minPosition": position})
    assert begun.json()["data"][0]["data"]["filters"]["types"].startswith("key.")


async def test_the_proof_is_checked_in_the_browser_which_remembers_and_finds_a_fork(story: Story, page: Page) -> None:
    own = story.system
    await signed_in(page, own, story.auditor, "/console/proof")

    async def checked() -> str:
        await page.click("#check-head")
        await page.until("document.querySelectorAll('#head-verdict li').length === 2")
        assert "The log's own key signed this" in await page.text("#head-verdict")
        return str(await page.evaluate("document.querySelector('#head-verdict li:last-child').textContent"))

    assert "for the first time" in await checked()
    remembered = "JSON.parse(Object.entries(localStorage).find(([name]) => name.startsWith('keyfold-head-'))[1]).size"
    size = int(await page.evaluate(remembered))
    async with workspace(own) as client:
        for _ in range(3):
            await client.post("/api/v1/keys", json={"kind": "account", "role": "viewer", "name": "one more"})
        for _ in range(200):
            note = (await client.get("/log/checkpoint")).text
            if int(note.split("\n")[1]) > size:
                break
            await asyncio.sleep(0.1)
    assert "nothing before has changed" in await checked()
    # and by a witness, whose key somebody has from itself
    key, name = Ed25519PrivateKey.generate(), "witness.example/w1"
    witness = Verifier(name, COSIGNATURE, key.public_key().public_bytes_raw())
    async with workspace(own) as client:
        note = (await client.get("/log/checkpoint")).text
    blob = (1_800_000_000).to_bytes(8) + key.sign(cosigned(parse_note(note.encode()).text, 1_800_000_000))
    note += signature_line(name, witness.key_id, blob)
    await page.evaluate(
        "void (window.fetch = ((real) => (path, more) => path === '/log/checkpoint'"
        f" ? Promise.resolve(new Response({json.dumps(note)})) : real(path, more))(window.fetch))"
    )
    for typed, verdict in (("", "unknown"), ("nothing", "unreadable"), (witness.vkey, "cosigned")):
        await page.evaluate(f"void (document.querySelector('#own-witnesses').value = {json.dumps(typed)})")
        await page.click("#check-head")
        await page.until(f"!!document.querySelector('#witness-verdict [data-verdict={verdict}]')")
    assert "2027-01-15 08:00:00 UTC" in await page.text("#witness-verdict")
    await page.open(f"{own.url}/console/proof")

    await page.evaluate(
        """(() => {
            const key = Object.keys(localStorage).find((each) => each.startsWith("keyfold-head-"));
            const seen = JSON.parse(localStorage.getItem(key));
            localStorage.setItem(key, JSON.stringify({...seen, size: seen.size - 1}));
        })()"""
    )
    assert "doesn't continue" in await checked()

    async with workspace(own) as client:
        asked = {"resourceId": story.key_id, "type": "key.revoked"}
        event_id = (await client.get("/api/v1/audit/events", params=asked)).json()["data"][0]["id"]
        keys = (await client.get("/log/keys")).text.split()
    await page.open(f"{own.url}/console/audit/{event_id}")
    await page.click("#check-record")
    await page.until("document.querySelector('#record-verdict').textContent.includes('leads to the root')")
    await page.evaluate("document.querySelector('#record').textContent += ' '")
    await page.click("#check-record")
    await page.until("document.querySelector('#record-verdict').textContent.includes('not the one that was signed')")
    file = await page.evaluate(
        f"fetch('/console/audit/{event_id}/proof').then((answer) => answer.arrayBuffer())"
        ".then((given) => btoa(String.fromCharCode(...new Uint8Array(given))))"
    )
    proof = Proof.parse(base64.b64decode(file))
    assert event_id.encode() in proof.extra
    proof.verify(leaf_hash(proof.extra), [Verifier.parse(each) for each in keys])


async def test_the_browser_checks_growth_as_the_standard_says(story: Story, page: Page) -> None:
    await signed_in(page, story.system, story.auditor, "/console/proof")
    module = await page.evaluate("document.querySelector('script[src*=\"proof.js\"]').src")
    leaves = [leaf_hash(bytes([n])) for n in range(17)]

    def nodes(level: int, index: int) -> bytes:
        return leaves[index] if level == 0 else node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))

    def root(size: int) -> str:
        tree = Frontier()
        tree.extend(leaves[:size])
        return base64.b64encode(tree.root()).decode()

    cases = [
        (
            old,
            root(old),
            new,
            root(new),
            [base64.b64encode(each).decode() for each in consistency_proof(old, new, nodes)],
        )
        for old in range(1, 17)
        for new in range(old, 18)
    ]
    found = await page.evaluate(
        f"""import({json.dumps(module)}).then(async ({{hasGrown}}) => {{
            const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
            const wrong = [];
            for (const [old, oldRoot, size, root, path] of {json.dumps(cases)}) {{
                const right = await hasGrown(old, bytes(oldRoot), size, bytes(root), path.map(bytes));
                const other = bytes(oldRoot);
                other[0] ^= 1;
                const forged = await hasGrown(old, other, size, bytes(root), path.map(bytes));
                const rest = path.slice(1).map(bytes);
                const short = path.length && await hasGrown(old, bytes(oldRoot), size, bytes(root), rest);
                if (!right || forged || short) wrong.push([old, size]);
            }}
            return wrong;
        }})"""
    )
    assert found == []
    assert len(cases) == 152


async def test_the_browser_checks_cosignatures_as_our_client_does(story: Story, page: Page) -> None:
    await signed_in(page, story.system, story.auditor, "/console/proof")
    module = await page.evaluate("document.querySelector('script[src*=\"proof.js\"]').src")
    text = f"log.example\n7\n{base64.b64encode(bytes(32)).decode()}\n"
    keys = [Ed25519PrivateKey.generate() for _ in range(3)]
    log, one, other = [
        Verifier(name, kind, key.public_key().public_bytes_raw())
        for name, kind, key in zip(
            ("log.example", "one.example/w", "other.example/w"), (ED25519, COSIGNATURE, COSIGNATURE), keys, strict=True
        )
    ]

    def signed(by: Verifier, key: Ed25519PrivateKey, at: int, said: int | None = None, of: str = text) -> str:
        blob = (at if said is None else said).to_bytes(8) + key.sign(cosigned(of, at))
        return signature_line(by.name, by.key_id, blob)

    cases: list[tuple[str, list[str], str]] = [
        (signed(one, keys[1], 1), [one.vkey], "cosigned"),
        (signed(one, keys[1], 0), [one.vkey], "cosigned"),
        (signed(one, keys[1], 1, 2), [one.vkey], "miscosigned"),
        (signed(one, keys[1], 1, of=text.replace("7", "8")), [one.vkey], "miscosigned"),
        (signed(one, keys[2], 1), [one.vkey], "miscosigned"),
        (signed(one, keys[1], 2**63), [one.vkey], "miscosigned"),
        (signature_line(one.name, one.key_id, keys[1].sign(text.encode())), [one.vkey], "miscosigned"),
        (signed(one, keys[1], 1) + signed(other, keys[2], 1), [one.vkey], "cosigned unknown"),
        (signed(one, keys[1], 1), [one.vkey, other.vkey], "cosigned uncosigned"),
        ("", [one.vkey], "uncosigned"),
        (signed(one, keys[1], 1), [one.vkey.replace("+", "+0", 1)], "unreadable unknown"),
        (signed(one, keys[1], 1), ["", "x", log.vkey], "unreadable unreadable unreadable unknown"),
    ]
    ours = signature_line(log.name, log.key_id, keys[0].sign(text.encode()))
    asked = [[f"{text}\n{ours}{lines}", vkeys] for lines, vkeys, _ in cases]
    found = await page.evaluate(
        f"""import({json.dumps(module)}).then(async ({{judged}}) => {{
            const said = [];
            for (const [note, keys] of {json.dumps(asked)}) {{
                said.push((await judged(note, keys, [{json.dumps(log.vkey)}])).map((each) => each.verdict).join(" "));
            }}
            return said;
        }})"""
    )
    assert found == [expected for _, _, expected in cases]
    for lines, vkeys, expected in cases[:7]:
        try:
            open_note(f"{text}\n{lines}".encode(), map(Verifier.parse, vkeys))
            ours_said = "cosigned"
        except NoteError:
            ours_said = "miscosigned"
        assert ours_said == expected


async def test_no_page_of_keys_or_of_the_past_is_inaccessible_or_broken_by_names(
    story: Story, browser: Browser, page: Page
) -> None:
    own = story.system
    async with workspace(own) as client:
        for name in HOSTILE.values():
            answer = await client.post("/api/v1/keys", json={"kind": "account", "role": "viewer", "name": name})
            last = answer.json()["data"]["id"]
            answer = await client.post(f"/api/v1/keys/{last}/suspend", json={"reason": name})
            position = int(answer.headers["keyfold-position"])
        asked = {"resourceId": last, "minPosition": position}
        event_id = (await client.get("/api/v1/audit/events", params=asked)).json()["data"][0]["id"]
    key = f"/console/keys/{last}"
    await signed_in(page, own)
    for path, shows in (
        ("/console/keys?status=suspended&sort=name", [*HOSTILE.values()]),
        ("/console/keys?action=send&topic=app/a&idleDays=1", []),
        ("/console/keys/bulk?status=suspended", []),
        (key, [HOSTILE["long"]]),
        (f"{key}?asOf={position}", [HOSTILE["long"]]),
        (f"{key}/revoke", [HOSTILE["long"]]),
        (f"{key}/narrow", [HOSTILE["long"]]),
        (f"/console/keys/{story.key_id}/rotate", ["The <b>warehouse</b>"]),
        (f"/console/holders?action=send&topic=app/order/created&asOf={story.positions['named']}", []),
        ("/console/holders", []),
        ("/console/changes", []),
        (f"/console/changes?from={story.positions['named'] - 1}", [*HOSTILE.values()]),
        ("/console/audit?type=key.suspended", [*HOSTILE.values()]),
        (f"/console/audit/{event_id}", [HOSTILE["long"]]),
        ("/console/audit/export?type=key.", []),
        ("/console/proof", []),
        ("/console/keys?idleDays=x", []),
    ):
        await page.open(own.url + path)
        text = str(await page.evaluate("document.querySelector('main').textContent"))
        assert [name for name in shows if name not in text] == [], path
        assert (
            await page.evaluate("document.querySelectorAll('main :is(bdi, td, dd, h1) :is(b, i, img, script)').length")
            == 0
        )
        assert await faults(page) == [], path
