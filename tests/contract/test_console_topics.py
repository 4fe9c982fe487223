"""The catalogue at the console: described, changed, given a schema with the verdict on it, withdrawn, wound back."""

import json
import re
from html import unescape
from typing import Any

import httpx

from keyfold.domain.permissions import Conditions

from .keys import changed
from .tenant import ORIGIN, Tenant
from .test_console import entered, once_of, told
from .test_console_past import is_of_the_past
from .test_topics import NARROWER, ORDER, WIDER, describe

OURS = {"Origin": ORIGIN}


async def topic_of(workspace: Tenant, topic_id: str) -> tuple[Any, str]:
    """As the API gives it, with its ETag."""
    answer = await workspace.get(f"/api/v1/topics/{topic_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"], answer.headers["etag"]


def typed(page: httpx.Response, name: str) -> str:
    found = re.search(rf'<textarea[^>]*name="{name}"[^>]*>([^<]*)</textarea>', page.text)
    assert found is not None, name
    return unescape(found[1])


async def test_a_topic_is_described_once_changed_and_not_undone_and_withdrawn(workspace: Tenant) -> None:
    await entered(workspace)
    api, its = workspace.api, f"/console/integrations/{workspace.integration_id}"
    empty = await api.get(its)
    assert ("The catalogue is empty" in told(empty), f'href="{its}/topics/new"' in empty.text) == (True, True)
    new = f"{its}/topics/new"
    form = {
        "name": "app/order/created",
        "description": "An <b>order</b>",
        "direction": "send",
        "examples": '[{"orderId": "o_1"}]',
        "schema": json.dumps(ORDER),
        "once": once_of(await api.get(new)),
    }
    before = await workspace.services.journal.head()
    for wrong, status, says in (
        ({"name": "no topic!"}, 400, 'id="fault-name"'),
        ({"examples": "[{"}, 400, 'id="fault-examples"'),
        ({"examples": '{"orderId": "o_1"}'}, 400, 'id="fault-examples"'),
        ({"examples": '[{"orderId": 1}]'}, 422, "At /0/orderId: "),
        ({"schema": '"object"'}, 400, 'id="fault-schema"'),
        ({"schema": '{"type": "thing"}'}, 400, 'id="fault-schema"'),
        ({"direction": "up"}, 400, 'id="fault-direction"'),
        ({"description": "x" * 5000}, 400, 'id="fault-description"'),
        ({"once": ""}, 400, "incomplete"),
    ):
        answer = await api.post(new, data=form | wrong, headers=OURS)
        assert (answer.status_code, says in answer.text) == (status, True), (wrong, told(answer)[-600:])
        assert typed(answer, "examples") == (form | wrong)["examples"]
    assert await workspace.services.journal.head() == before
    made, again = [await api.post(new, data=form, headers=OURS) for _ in range(2)]
    assert (made.status_code, made.headers["location"]) == (303, again.headers["location"])
    here = made.headers["location"]
    topic_id = here.rpartition("/")[2]
    taken = await api.post(new, data=form | {"once": once_of(await api.get(new))}, headers=OURS)
    assert taken.status_code == 409
    page = await api.get(here)
    assert ("An &lt;b&gt;order&lt;/b&gt;" in page.text, "Version 1" in told(page)) == (True, True)
    assert f'href="{here}"' in (await api.get(its)).text

    edit = await api.get(f"{here}/edit")
    version = re.search(r'name="version" value="(\d+)"', edit.text)
    assert version is not None
    mine = {"version": version[1], "description": "Mine", "direction": "both", "examples": "", "deprecated": "yes"}
    await changed(workspace, f"/api/v1/topics/{topic_id}", {"description": "Theirs"})
    stale = await api.post(f"{here}/edit", data=mine, headers=OURS)
    assert (stale.status_code, typed(stale, "description"), "Theirs" in told(stale)) == (412, "Mine", True)
    assert (await topic_of(workspace, topic_id))[0]["description"] == "Theirs"
    newer = re.search(r'name="version" value="(\d+)"', stale.text)
    assert newer is not None
    for wrong, status in (({"examples": "["}, 400), ({"examples": '[{"orderId": 1}]'}, 422), ({"version": ""}, 400)):
        answer = await api.post(f"{here}/edit", data=mine | {"version": newer[1]} | wrong, headers=OURS)
        assert answer.status_code == status, wrong
    assert (await api.post(f"{here}/edit", data=mine | {"version": newer[1]}, headers=OURS)).status_code == 303
    now, _ = await topic_of(workspace, topic_id)
    assert (now["description"], now["direction"], now["examples"], now["deprecated"]) == ("Mine", "both", [], True)

    head = await workspace.services.journal.head()
    assert (await api.post(f"{here}/withdraw", data={"sure": "yes"}, headers=OURS)).status_code == 303
    assert (await topic_of(workspace, topic_id))[0]["status"] == "withdrawn"
    gone = await api.get(here)
    assert re.findall(r'id="(edit|schema|withdraw)"', gone.text) == []
    then = await api.get(f"{here}?asOf={head}")
    is_of_the_past(then, head)
    assert ("Mine" in told(then), f"{its}?asOf={head}" in then.text) == (True, True)
    assert (await api.post(f"{here}/edit", data=mine | {"version": "9"}, headers=OURS)).status_code in (409, 412)


async def test_a_schema_is_added_with_the_verdict_shown_before_and_never_against_the_promise(workspace: Tenant) -> None:
    made = await describe(workspace, schema=ORDER, examples=[{"orderId": "o_1"}])
    topic_id = made.json()["data"]["id"]
    await entered(workspace)
    api, here = workspace.api, f"/console/topics/{topic_id}"
    page = await api.get(f"{here}/schema")
    assert json.loads(typed(page, "schema")) == ORDER
    form = {"once": once_of(page), "examples": typed(page, "examples"), "compatibility": "backward"}

    async def verdict(schema: str, **more: str) -> tuple[list[str], str]:
        answer = await api.post(f"{here}/check", data=form | {"schema": schema} | more, headers=OURS)
        assert answer.status_code == 200, answer.text
        return re.findall(r'data-(?:compatible|valid)="(\w+)"', answer.text), told(answer)

    before = await workspace.services.journal.head()
    assert (await verdict(json.dumps(WIDER)))[0] == ["yes", "yes"]
    found, said = await verdict(json.dumps(NARROWER))
    assert (found, "/schema/required" in said, "/examples/0" in said) == (["no", "no"], True, True)
    assert "it can be added all the same" in (await verdict(json.dumps(NARROWER), compatibility="none"))[1]
    for wrong in ("{", '{"type": "thing"}', "[]", ""):
        found, said = await verdict(wrong)
        assert (found, "Schema:" in said) == ([], True), wrong
    narrower = form | {"schema": json.dumps(NARROWER), "examples": '[{"orderId": "o_1", "total": 1}]'}
    refused = await api.post(f"{here}/schema", data=narrower, headers=OURS)
    assert (refused.status_code, "At /required" in told(refused)) == (409, True)
    assert json.loads(typed(refused, "schema")) == NARROWER
    assert await workspace.services.journal.head() == before

    for _ in range(2):
        added = await api.post(f"{here}/schema", data=narrower | {"compatibility": "none"}, headers=OURS)
        assert (added.status_code, added.headers["location"]) == (303, here)
    now, _ = await topic_of(workspace, topic_id)
    assert [(each["version"], each["compatibility"]) for each in now["schemas"]] == [(1, "backward"), (2, "none")]
    assert now["examples"] == [{"orderId": "o_1", "total": 1}]
    assert re.findall(r'data-version="(\d)"', (await api.get(here)).text) == ["2", "1"]
    assert "promises nothing about the version before" in told(await api.get(here))


async def test_an_auditor_looks_at_topics_and_a_neighbour_or_a_narrowed_key_changes_none(
    workspace: Tenant, neighbour: Tenant
) -> None:
    topic_id = (await describe(workspace, schema=ORDER)).json()["data"]["id"]
    theirs = (await describe(neighbour)).json()["data"]["id"]
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace, await workspace.key("auditor"))
    page = await workspace.api.get(f"/console/topics/{topic_id}")
    assert (page.status_code, re.findall(r'id="(edit|schema|withdraw|new-topic)"', page.text)) == (200, [])
    its = await workspace.api.get(f"/console/integrations/{workspace.integration_id}")
    assert ("new-topic" in its.text, f"/console/topics/{topic_id}" in its.text) == (False, True)
    checked = {"schema": "{}", "compatibility": "backward", "examples": ""}
    assert (
        await workspace.api.post(f"/console/topics/{topic_id}/check", data=checked, headers=OURS)
    ).status_code == 200
    for path in ("", "?asOf=1", "/edit", "/schema", "/withdraw"):
        ask = workspace.api.post if path == "/withdraw" else workspace.api.get
        more: Any = {"data": {"sure": "yes"}, "headers": OURS} if path == "/withdraw" else {}
        await entered(workspace)
        assert (await ask(f"/console/topics/{theirs}{path}", **more)).status_code == 404, path
    await entered(workspace, await workspace.key("admin", conditions=Conditions(environments=("dev",))))
    head = await workspace.services.journal.head()
    refused = await workspace.api.post(f"/console/topics/{topic_id}/withdraw", data={"sure": "yes"}, headers=OURS)
    assert refused.status_code == 403
    assert await workspace.services.journal.head() == head
