"""Many keys changed at the console: how far it is, an honest end, and nothing twice."""

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import httpx
import pytest

from keyfold.app import bulk
from keyfold.domain.ids import new_id
from keyfold.web.app import BODY_LIMIT
from keyfold.web.console.bulk_once import packed, unpacked

from .keys import code, held, issue, read, types
from .tenant import ORIGIN, Tenant
from .test_console import entered, told

OURS = {"Origin": ORIGIN}
PATH = "/console/keys/bulk"
LINES = OURS | {"Accept": "application/x-ndjson"}


async def some(workspace: Tenant, count: int) -> list[str]:
    made = [
        held(await issue(workspace, kind="account", role="viewer", name=f"k {n}", tags=["ci"])) for n in range(count)
    ]
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    return [each.id for each in made]


def confirmation(page: httpx.Response) -> dict[str, Any]:
    """The form that does what a dry run has shown."""
    form = page.text[page.text.index('class="actions" data-progress>') :].partition("</form>")[0]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form)}


async def tried(workspace: Tenant, **form: str) -> dict[str, Any]:
    page = await workspace.api.post(PATH, data={"tag": "ci", "step": "try", **form}, headers=OURS)
    assert page.status_code == 200, page.text
    return confirmation(page)


def outcomes(page: str) -> dict[str, str]:
    """The state word of each key on the page of the end."""
    return dict(re.findall(r'data-key="(\w+)"[^>]*>.*?class="state (\w+)"', page, re.DOTALL))


async def test_a_form_that_is_sent_twice_rotates_once_and_shows_the_same_secrets(workspace: Tenant) -> None:
    ids = await some(workspace, 4)
    await entered(workspace)
    form = await tried(workspace, do="rotate", overlapSeconds="3600")
    pages = await asyncio.gather(*[workspace.api.post(PATH, data=form, headers=OURS) for _ in range(2)])
    again = await workspace.api.post(PATH, data=form, headers=OURS)  # when the successors match the filter as well
    secrets = [sorted(re.findall(r"kf_acc_\w+", page.text)) for page in (*pages, again)]
    assert [len(each) for each in secrets] == [4, 4, 4], told(again)[-500:]
    assert secrets[0] == secrets[1] == secrets[2]
    assert [await code(workspace, each) for each in secrets[0]] == ["valid"] * 4
    for each in ids:
        assert (await types(workspace, each)).count("rotated") == 1
    assert outcomes(again.text) == dict.fromkeys(ids, "done")
    other = await workspace.api.post(PATH, data=form | {"overlapSeconds": "0"}, headers=OURS)
    assert "idempotency-key-reused" in told(other)
    # all of it is one request, whichever of the three it was
    trail = await workspace.get("/api/v1/audit/events", correlationId=form["once"], type="key.rotated.v1")
    assert len(trail.json()["data"]) == 4


async def test_as_many_keys_as_one_call_takes_find_room_in_a_form() -> None:
    keys = [new_id("key", datetime(2031, 3, 1, tzinfo=UTC), os.urandom(10)) for _ in range(bulk.MOST)]
    text = packed(keys)
    assert (unpacked(text), packed(reversed(keys))) == (sorted(keys), text)
    assert len(text) + 3 * 1024 * 4 < BODY_LIMIT


async def test_how_far_it_is_comes_line_by_line_and_the_page_last(workspace: Tenant) -> None:
    ids = await some(workspace, 3)
    await workspace.post(f"/api/v1/keys/{ids[0]}/suspend", {"reason": "before"})
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)
    form = await tried(workspace, do="suspend", reason="a <b>test</b>")
    answer = await workspace.api.post(PATH, data=form, headers=LINES)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/x-ndjson", "no-store")
    *steps, last = [json.loads(line) for line in answer.text.splitlines()]
    assert [(each["step"], each["at"], each["of"]) for each in steps] == [
        *(("look", n, 3) for n in range(4)),
        *(("do", n, 3) for n in range(4)),
    ]
    assert outcomes(last["page"]) == {ids[0]: "unchanged", ids[1]: "done", ids[2]: "done"}
    assert [(await read(workspace, each))["status"] for each in ids] == ["suspended"] * 3
    refused = await workspace.api.post(PATH, data=form | {"reason": ""}, headers=LINES)
    assert (refused.status_code, refused.headers["content-type"].partition(";")[0]) == (400, "text/html")
    for wrong in ({"once": ""}, {"once": "x"}, {"seen": "?"}, {"seen": "AAAA"}, {"seen": ""}):
        answer = await workspace.api.post(PATH, data=form | wrong, headers=OURS)
        assert "incomplete" in told(answer) or "Nothing was done" in told(answer), wrong


async def test_what_broke_off_goes_on_where_it_stopped_and_counts_for_the_same(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await some(workspace, 5)
    await entered(workspace)
    form = await tried(workspace, do="revoke", reason="gone", status="active")
    monkeypatch.setattr(bulk, "AT_ONCE", 1)
    carry_out, count = bulk.Bulk._carry_out, 0

    async def twice(*given: Any) -> Any:
        nonlocal count
        count += 1
        if count > 5 + 2:
            raise asyncio.CancelledError
        return await carry_out(*given)

    monkeypatch.setattr(bulk.Bulk, "_carry_out", twice)
    with pytest.raises(asyncio.CancelledError):
        await workspace.api.post(PATH, data=form, headers=OURS)
    monkeypatch.setattr(bulk.Bulk, "_carry_out", carry_out)
    assert sorted([(await read(workspace, each))["status"] for each in ids]) == ["active"] * 3 + ["revoked"] * 2
    again = await workspace.api.post(PATH, data=form, headers=OURS)
    assert outcomes(again.text) == dict.fromkeys(ids, "done"), told(again)
    assert [await types(workspace, each) for each in ids] == [["issued", "revoked"]] * 5
