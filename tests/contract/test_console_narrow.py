"""A key narrowed in the console: what the form shows, what it refuses, and what a form that was overtaken keeps."""

import re
from html import unescape

import httpx

from keyfold.domain.policy import Offer
from keyfold.domain.rule import Options, Receive, Send

from .keys import changed, done, issue, prod, read
from .tenant import ORIGIN, Tenant
from .test_console import entered, told

OURS = {"Origin": ORIGIN}
OFFER = Offer(options=Options(send=Send(topics=("app/**",)), receive=Receive(topics=("app/fulfillment/**",))))


def sent(page: httpx.Response, **changes: str | list[str]) -> dict[str, str | list[str]]:
    """The form of a page as a browser would send it, with other texts in some of its fields."""
    fields: dict[str, str | list[str]] = {}
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>([^<]*)</textarea>', page.text):
        fields[name] = unescape(text)
    for name in ("version", "expiresAt"):
        found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', page.text)
        assert found is not None, name
        fields[name] = found[1]
    fields["rule.permitted"] = re.findall(r'name="rule.permitted" value="(\w+)" checked', page.text)
    return fields | {name.replace("__", "."): value for name, value in changes.items()}


async def test_a_key_is_narrowed_and_what_would_widen_it_beyond_its_rule_is_refused_by_its_field(
    workspace: Tenant,
) -> None:
    key = await prod(workspace, OFFER)
    await workspace.post(
        f"/api/v1/integrations/{workspace.integration_id}/topics", {"name": "app/order/created", "direction": "send"}
    )
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)
    here, api = f"/console/keys/{key.id}/narrow", workspace.api
    page = await api.get(here)
    assert page.status_code == 200, page.text
    form = sent(page)
    assert (form["rule.send"], form["rule.permitted"], form["networks"]) == ("app/**", ["send", "receive"], "")
    assert (await api.get(f"/console/keys/{key.id}")).text.count(f'href="{here}"') == 1

    before = await workspace.services.journal.head()
    less = sent(page, rule__send="app/invoice/*", networks="192.0.2.0/24", rule__permitted=["send"])
    shown = await api.post(f"{here}/preview", data=less, headers=OURS)
    assert re.findall(r'data-move="(\w+)"', shown.text) == ["permitted", "send", "networks"]
    assert "no longer sends app/order/created" in " ".join(told(shown).split())
    assert 'id="gains"' not in shown.text
    refusals: list[tuple[dict[str, str], int, str]] = [
        ({"rule__send": "other/**"}, 422, "fault-rule.send"),
        ({"rule__receive": "app/fulfillment/*\n**"}, 422, "fault-rule.receive"),
        ({"rule__send": ""}, 400, "fault-rule.send"),
        ({"rule__send": "app//x"}, 400, "fault-rule.send"),
        ({"rule__filters": "[{"}, 400, "fault-rule.filters"),
        ({"rule__filters": '[{"propertyName": "a", "operator": "is", "propertyValue": 1}]'}, 400, "fault-rule.filters"),
        ({"rule__autofill": "[]"}, 400, "fault-rule.autofill"),
        ({"networks": "the office <b>"}, 400, "fault-networks"),
        ({"expiresAt": "tomorrow"}, 400, "fault-expiresAt"),
        ({"expiresAt": "2001-01-01T00:00:00Z"}, 400, "fault-expiresAt"),
        ({"version": "one"}, 400, "The form"),
    ]
    for given, status, fault in refusals:
        answer = await api.post(here, data=sent(page, **given), headers=OURS)
        assert (answer.status_code, f'id="{fault}"' in answer.text) == (status, fault.startswith("fault-")), given
        assert "<b>" not in answer.text
        if "version" not in given:
            (typed,) = given.values()
            assert sent(answer) == sent(page, **given), f"{typed} is lost"
            assert 'role="alert"' in (await api.post(f"{here}/preview", data=sent(page, **given), headers=OURS)).text
    assert await workspace.services.journal.head() == before

    # and what has no field here stays as it is
    saved = await api.post(here, data=less, headers=OURS)
    assert (saved.status_code, saved.headers["location"]) == (303, f"/console/keys/{key.id}")
    now = await read(workspace, key.id)
    assert (now["permitted"], now["options"]["send"]["topics"]) == (["send"], ["app/invoice/*"])
    assert (now["sourceNetworks"], now["name"], now["isActive"]) == (["192.0.2.0/24"], key.data["name"], True)
    more = await api.post(f"{here}/preview", data=sent(await api.get(here), rule__send="app/*/*"), headers=OURS)
    assert "/options/send/topics/0" in told(more)
    assert 'id="gains"' in more.text


async def test_a_form_that_was_overtaken_says_so_and_loses_nothing_that_was_typed(workspace: Tenant) -> None:
    key = await prod(workspace, OFFER)
    await entered(workspace)
    here, api = f"/console/keys/{key.id}/narrow", workspace.api
    mine = sent(await api.get(here), rule__send="app/mine/*", expiresAt="2040-01-01T00:00:00Z")
    await changed(
        workspace, key.id, {"name": "Renamed", "options": {"send": {"topics": ["app/theirs/*", "app/mine/*"]}}}
    )
    told_so = await api.post(here, data=mine, headers=OURS)
    assert (told_so.status_code, 'id="stale"' in told_so.text) == (412, True)
    again = sent(told_so)
    assert {**again, "version": ""} == {**mine, "version": ""}
    assert "app/theirs/*" in told_so.text[told_so.text.index('id="moves"') :], "what it would undo is shown"
    assert (await read(workspace, key.id))["options"]["send"]["topics"] == ["app/theirs/*", "app/mine/*"]
    assert (await api.post(here, data=mine, headers=OURS)).status_code == 412
    assert (await api.post(here, data=again, headers=OURS)).status_code == 303
    now = await read(workspace, key.id)
    assert (now["name"], now["options"]["send"]["topics"]) == ("Renamed", ["app/mine/*"])
    assert now["expiresAt"] == "2040-01-01T00:00:00Z"


async def test_what_has_no_rule_is_narrowed_in_networks_and_end_and_what_has_ended_is_not(workspace: Tenant) -> None:
    account = (await issue(workspace, kind="account", name="pipeline", role="viewer")).json()["data"]["id"]
    await entered(workspace)
    here, api = f"/console/keys/{account}/narrow", workspace.api
    page = await api.get(here)
    assert "rule.send" not in page.text
    found = re.search(r'name="version" value="(\d+)"', page.text)
    assert found is not None
    form = {"version": found[1], "networks": "2001:db8::/32", "expiresAt": "", "rule.permitted": "send"}
    assert (await api.post(here, data=form, headers=OURS)).status_code == 303
    now = await read(workspace, account)
    assert (now["sourceNetworks"], now["permitted"], now["role"]) == (["2001:db8::/32"], [], "viewer")
    await done(workspace, "suspend", account)
    version = re.search(r'name="version" value="(\d+)"', (await api.get(here)).text)
    assert version is not None
    assert (await api.post(here, data=form | {"version": version[1], "networks": ""}, headers=OURS)).status_code == 303
    assert (await read(workspace, account))["status"] == "suspended"
    await done(workspace, "revoke", account)
    assert f"{here}" not in (await api.get(f"/console/keys/{account}")).text
    assert (await api.post(here, data=form, headers=OURS)).status_code in (409, 412)


async def test_an_account_key_is_given_another_role_and_narrowed_to_some_things_as_far_as_the_caller_may(
    workspace: Tenant,
) -> None:
    added = await workspace.post("/api/v1/integrations", {"name": "Other <b>"})
    mine, other = workspace.integration_id, added.json()["data"]["id"]
    prt, _ = await workspace.invite({"appName": "Depot"})
    kept = {"environments": ["prod", "dev"]}
    issued = await issue(workspace, kind="account", name="pipeline", role="admin", conditions=kept)
    account = issued.json()["data"]["id"]
    made = await workspace.post("/api/v1/roles", {"name": "Reader <b>", "permissions": ["keys:read"]})
    role = made.json()["data"]["id"]
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)
    here, api = f"/console/keys/{account}/narrow", workspace.api

    def given(page: httpx.Response, **changes: str | list[str]) -> dict[str, str | list[str]]:
        form = sent(page)
        form |= {
            name: re.findall(rf'name="{name}" value="(\w+)" checked', page.text) for name in ("only", "environments")
        }
        chosen = re.search(r'<option value="([^"]*)" selected>', page.text)
        assert chosen is not None
        return form | {"role": chosen[1]} | changes

    page = await api.get(here)
    form = given(page)
    assert (form["role"], form["only"], form["environments"]) == ("admin", ["environments"], ["dev", "prod"])
    assert ("Reader <b>" in page.text, "Reader &lt;b&gt;" in page.text) == (False, True)
    untouched = await api.post(f"{here}/preview", data=form, headers=OURS)
    assert 'id="unmoved"' in untouched.text

    before = await workspace.services.journal.head()
    less = given(page, role=role, integrations=f"{mine}\n{other}", only=["partners"], environments=["prod"])
    shown = await api.post(f"{here}/preview", data=less, headers=OURS)
    moves = ["role", "integrations", "partners", "environments"]
    assert (re.findall(r'data-move="(\w+)"', shown.text), 'id="gains"' in shown.text) == (moves, False)
    assert ("Other &lt;b&gt;" in shown.text, "<b>" in shown.text, "Reader" in shown.text) == (True, False, True)
    assert "<del><span" in shown.text, "that it was any is said too"
    wrong: list[tuple[dict[str, str], str]] = [
        ({"integrations": prt}, "fault-integrations"),
        ({"partners": "the depot <b>"}, "fault-partners"),
        ({"role": "emperor"}, "fault-role"),
        ({"role": ""}, "fault-role"),
    ]
    for changes, fault in wrong:
        answer = await api.post(here, data=given(page, **changes), headers=OURS)
        assert (answer.status_code, f'id="{fault}"' in answer.text, "<b>" in answer.text) == (400, True, False), changes
    assert await workspace.services.journal.head() == before

    assert (await api.post(here, data=less, headers=OURS)).status_code == 303
    now = await read(workspace, account)
    assert (now["role"], now["name"]) == (role, "pipeline")
    assert now["conditions"] == {"integrations": [mine, other], "partners": [], "environments": ["prod"]}
    wider = await api.post(f"{here}/preview", data=given(await api.get(here), only=[], role="admin"), headers=OURS)
    assert re.findall(r"<code>(/[^<]*)</code>", wider.text[wider.text.index('id="gains"') :]) == [
        "/role",
        "/conditions/partners",
    ]

    # nobody gives more than they have
    await entered(workspace, await workspace.key("key-manager"))
    page = await api.get(here)
    offered = re.findall(r'<option value="([^"]*)"', page.text)
    assert ({"owner", "admin"} & {*offered}, {"key-manager", role} <= {*offered}) == (set(), True)
    refused = await api.post(here, data=given(page, role="admin"), headers=OURS)
    assert (refused.status_code, 'id="unsaved"' in refused.text) == (403, True)
    assert (await read(workspace, account))["role"] == role
