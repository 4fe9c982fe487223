"""An integration's rule in the console: a form that was overtaken says by what, and undoes nothing unseen."""

import re
from html import unescape

import httpx

from .keys import changed
from .tenant import ORIGIN, Tenant
from .test_console import entered, told

OURS = {"Origin": ORIGIN}
Form = dict[str, str | list[str]]


def sent(page: httpx.Response, **changes: str | list[str]) -> Form:
    """The form as a browser would send it, with other texts in some of its fields; `__` is a dot."""
    start = page.text.index('<form id="rule"')
    body = page.text[start : page.text.index("</form>", start)]
    fields: Form = {}
    for tag in re.findall(r"<input[^>]*>", body):
        given = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if given.get("type") != "checkbox":
            fields[given["name"]] = given.get("value", "")
        else:
            ticked = fields.setdefault(given["name"], [])
            assert isinstance(ticked, list)
            ticked += [given["value"]] if tag.endswith(" checked>") else []
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>([^<]*)</textarea>', body):
        fields[name] = unescape(text).replace("\n", "\r\n")
    return fields | {name.replace("__", "."): value for name, value in changes.items()}


def changes_told(page: httpx.Response) -> dict[str, tuple[list[str], list[str], bool]]:
    """Of each field that another has changed: what went and what came; and whether what was typed stands instead."""
    found = re.findall(r'data-change="([^"]+)">(.*?)</dd>', page.text, re.DOTALL)
    return {
        name: (
            re.findall(r"<del>.*?<code>([^<]*)</code></del>", told_of),
            re.findall(r"<ins>.*?<code>([^<]*)</code></ins>", told_of),
            "You typed something else" in told_of,
        )
        for name, told_of in found
    }


async def test_a_rule_that_was_overtaken_says_by_what_and_saves_what_was_typed_on_top_of_it(workspace: Tenant) -> None:
    of = f"/api/v1/integrations/{workspace.integration_id}"
    topics = {"send": {"topics": ["app/**"]}}
    await changed(workspace, of, {"color": "#AA0000", "environments": {"dev": {"options": topics}}})
    await entered(workspace)
    here, api = f"/console/integrations/{workspace.integration_id}/rule", workspace.api
    form = await api.get(here)
    mine = sent(form, name="My <b>shop</b>", dev__send="app/mine/*", prod__permitted=["send"], color="#aa0000")
    theirs = {
        "description": "Theirs",
        "color": "#00aa00",
        "origins": ["https://theirs.example"],
        "environments": {
            "dev": {"options": {"send": {"topics": ["app/theirs/*"]}}},
            "prod": {"permitted": ["send", "receive", "schema"], "policy": {"lifetimeSeconds": 86400}},
            "stage": None,
        },
    }
    await changed(workspace, of, theirs)
    before = await workspace.services.journal.head()

    overtaken = await api.post(here, data=mine, headers=OURS)
    assert (overtaken.status_code, 'id="stale"' in overtaken.text, "<b>" in overtaken.text) == (412, True, False)
    assert changes_told(overtaken) == {
        "description": ([], ["Theirs"], False),
        "color": (["#AA0000"], ["#00aa00"], False),
        "origins": ([], ["https://theirs.example"], False),
        "environments": (["stage"], [], False),
        "dev.send": (["app/**"], ["app/theirs/*"], True),
        "prod.permitted": ([], ["schema"], False),
        "prod.lifetimeSeconds": ([], ["1d"], False),
    }
    again = sent(overtaken)
    kept = {
        each: again[each] for each in ("name", "dev.send", "prod.permitted", "environments", "color", "description")
    }
    assert kept == {
        "name": "My <b>shop</b>",
        "dev.send": "app/mine/*",
        "prod.permitted": ["send", "schema"],
        "environments": ["dev", "prod"],
        "color": "#00aa00",
        "description": "Theirs",
    }
    said = re.search(r'id="changed">([^<]*)<', overtaken.text)
    assert said is not None
    assert "name" in said[1], "the preview is of what would be saved by now"
    assert "appearance" not in said[1]
    assert f"/console/audit?resourceId={workspace.integration_id}" in overtaken.text
    assert (await api.post(here, data=mine, headers=OURS)).status_code == 412
    assert await workspace.services.journal.head() == before

    assert (await api.post(here, data=again, headers=OURS)).status_code == 303
    now = (await workspace.get(of)).json()["data"]
    assert (now["name"], now["presentation"]["description"]) == ("My <b>shop</b>", "Theirs")
    assert now["origins"] == ["https://theirs.example"]
    assert now["environments"].keys() == {"dev", "prod"}
    assert now["environments"]["dev"]["options"]["send"]["topics"] == ["app/mine/*"]
    assert now["environments"]["prod"]["permitted"] == ["send", "schema"]
    assert now["environments"]["prod"]["policy"]["lifetimeSeconds"] == 86400


async def test_a_rule_that_cannot_be_put_onto_the_newer_one_says_why_and_keeps_what_was_typed(
    workspace: Tenant,
) -> None:
    of = f"/api/v1/integrations/{workspace.integration_id}"
    await entered(workspace)
    here, api = f"/console/integrations/{workspace.integration_id}/rule", workspace.api
    mine = sent(await api.get(here), dev__send="app/mine/*")
    # what isn't on the form at all
    described = await workspace.post(f"{of}/topics", {"name": "app/order/created"})
    assert described.status_code == 201
    overtaken = await api.post(here, data=mine, headers=OURS)
    assert (overtaken.status_code, changes_told(overtaken)) == (412, {})
    assert "nothing else on this form has changed" in told(overtaken)
    assert {**sent(overtaken), "version": ""} == {**mine, "version": ""}
    for version in ("0", "999"):
        assert {**sent(await api.post(here, data={**mine, "version": version}, headers=OURS)), "version": ""} == {
            **mine,
            "version": "",
        }
    # what would be refused besides is said as well, and again once it is on the newest version
    both = await api.post(here, data=mine | {"dev.send": "app//mine"}, headers=OURS)
    assert (both.status_code, "dev, May send to:" in told(both)) == (412, True)
    refused = await api.post(here, data=sent(both), headers=OURS)
    assert (refused.status_code, 'id="unsaved"' in refused.text, 'id="stale"' in refused.text) == (400, True, False)
    assert 'id="fault-dev.send"' in refused.text
    assert "/environments" not in told(refused)
    assert sent(refused)["dev.send"] == "app//mine"
    assert (await api.post(here, data=mine | {"version": "one"}, headers=OURS)).status_code == 400
    assert (await api.post(here, data=sent(overtaken), headers=OURS)).status_code == 303
