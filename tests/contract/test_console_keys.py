"""The console's keys and past, for a key that is narrowed: what it does not see it cannot find, count or change."""

import re

from .keys import held, issue, prod, read
from .tenant import ORIGIN, Tenant
from .test_console import entered, told

OURS = {"Origin": ORIGIN}


async def test_what_a_narrowed_key_does_not_see_it_cannot_find_count_or_change(workspace: Tenant) -> None:
    inside, outside = await prod(workspace), await prod(workspace)
    partner = (await read(workspace, inside.id))["partnerId"]
    answer = await issue(workspace, kind="account", name="narrowed", role="admin", conditions={"partners": [partner]})
    assert answer.status_code == 201, answer.text
    head = await workspace.services.journal.head()
    await workspace.services.lists.include("current", head)
    await entered(workspace, answer.json()["data"]["secret"])
    api = workspace.api

    listed = await api.get("/console/keys")
    assert (inside.id in listed.text, outside.id in listed.text) == (True, False)
    assert (await api.get(f"/console/keys/{inside.id}")).status_code == 200
    for path in ("", "?asOf=1", "/revoke"):
        there, nowhere = [await api.get(f"/console/keys/{each}{path}") for each in (outside.id, "key_" + "0" * 26)]
        assert (there.status_code, nowhere.status_code) == (404, 404), path
    assert (await api.get(f"/console/audit?keyId={outside.id}")).text.count("/console/audit/evt_") == 0
    assert outside.id not in (await api.get("/console/changes?from=0")).text
    assert outside.id not in (await api.get("/console/holders?action=send")).text

    form = {"do": "revoke", "reason": "no", "step": "try", "id": outside.id}
    tried = await api.post("/console/keys/bulk", data=form, headers=OURS)
    assert "None of them would change" in told(tried)
    refused = await api.post(f"/console/keys/{outside.id}/revoke", data={"reason": "no"}, headers=OURS)
    assert refused.status_code in (400, 404)
    foreign = await api.post(
        "/console/keys/bulk", data=form | {"id": inside.id}, headers={"Origin": "https://evil.test"}
    )
    assert foreign.status_code == 403
    every = await api.post("/console/keys/bulk", data={"do": "revoke", "reason": "no"}, headers=OURS)
    assert "this would be every key" in told(every)
    assert [(await read(workspace, each.id))["status"] for each in (inside, outside)] == ["active", "active"]


async def test_keys_are_sorted_by_their_last_use_their_state_and_whose_they_are(workspace: Tenant) -> None:
    """By their last use from those that were never used, page by page."""
    never, early, late = [
        held(await issue(workspace, kind="account", name=f"k {n}", role="viewer", tags=["s"])) for n in range(3)
    ]
    for key in (late, early, late):
        await workspace.post("/api/v1/keys/verify", {"key": key.secret})
        await workspace.services.usage_store.flush(workspace.services.usage)
    await workspace.post(f"/api/v1/keys/{never.id}/suspend", {"reason": "unused"})
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)

    async def sorted_by(sort: str, **place: str) -> list[str]:
        page = await workspace.api.get("/console/keys", params={"tag": "s", "sort": sort, **place})
        assert page.status_code == 200
        return re.findall(r'<a href="/console/keys/(key_\w+)">', page.text)

    oldest = [never.id, early.id, late.id]
    assert await sorted_by("used") == oldest
    assert await sorted_by("-used") == oldest[::-1]
    assert await sorted_by("used", after=never.id) == oldest[1:]
    assert await sorted_by("used", before=late.id) == oldest[:2]
    assert (await sorted_by("status"))[-1] == (await sorted_by("-status"))[0] == never.id
    assert len(await sorted_by("whose")) == 3
