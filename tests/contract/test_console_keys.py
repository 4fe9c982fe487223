"""The console's keys and past, for a key that is narrowed: what it does not see it cannot find, count or change."""

from .keys import issue, prod, read
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
