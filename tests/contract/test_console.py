"""The console's session: opened with an account key or a link for one, and never more than that key is right now."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from keyfold.app.access import Caller
from keyfold.app.stages import STAGES
from keyfold.app.work import Cause
from keyfold.cli.console import sign_in_link
from keyfold.domain.console import LIFETIME, SIGN_IN_LIFETIME
from keyfold.domain.partner import Invitation
from keyfold.domain.permissions import PERMISSIONS, ROLES, Conditions
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Forbidden, NotFound
from keyfold.web.auth import PUBLIC, SELF
from keyfold.web.console.session import COOKIE

from .conftest import System
from .routes import application
from .tenant import ORIGIN, Clock, Tenant, bearer, problem
from .test_event_usage import flushed

DOOR = "/console/sign-in"
OURS = {"Origin": ORIGIN}
NOWHERE = "01h455vb4pex5vsknk084sn02q"


async def enter(api: httpx.AsyncClient, **given: str) -> httpx.Response:
    """By `key`, or by the `token` of a link."""
    api.cookies.clear()
    return await api.post(DOOR, data=given, headers=OURS)


async def entered(workspace: Tenant, key: str | None = None) -> httpx.Response:
    """Signs in, as the owner where no key is given."""
    answer = await enter(workspace.api, key=key or workspace.owner_key)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console"), answer.text
    return answer


async def link_of(workspace: Tenant, key: str | None = None) -> str:
    """The token of a new sign-in link."""
    headers = bearer(key or workspace.owner_key)
    answer = await workspace.api.post("/api/v1/console/links", json={}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["data"]["url"]).partition("/console/sign-in#")[2]


async def facts(workspace: Tenant, *types: str) -> list[Any]:
    head = await workspace.services.journal.head()
    answer = await workspace.get("/api/v1/audit/events", minPosition=head, type=",".join(types), order="asc")
    return list(answer.json()["data"])


def told(answer: httpx.Response) -> str:
    """The words of a page, without its markup."""
    return re.sub(r"<[^>]+>", " ", answer.text)


def is_at_the_door(answer: httpx.Response) -> bool:
    return answer.status_code == 303 and answer.headers["location"].startswith(DOOR)


async def test_a_key_opens_a_session_which_its_facts_tell_and_no_secret_of_it_does(workspace: Tenant) -> None:
    cookie = (await entered(workspace)).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=kfc_")
    assert {each.strip() for each in cookie.split(";")[1:]} == {
        *("Max-Age=43200", "Path=/", "Secure", "HttpOnly", "SameSite=Lax")
    }
    page = await workspace.api.get("/console")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Overview" in page.text
    out = await workspace.api.post("/console/sign-out", data={"x": ""}, headers=OURS)
    assert is_at_the_door(out)
    workspace.api.cookies.set(COOKIE, cookie.partition("=")[2].partition(";")[0])
    assert is_at_the_door(await workspace.api.get("/console"))

    opened, closed = await facts(workspace, "console.opened.v1", "console.closed.v1")
    key_id = workspace.owner_key.split("_")[2]
    assert (opened["actor"]["kind"], opened["actor"]["id"], opened["data"]["keyId"]) == ("key", *[f"key_{key_id}"] * 2)
    assert opened["data"]["sessionId"] == closed["data"]["sessionId"]
    secrets = [workspace.owner_key[-49:], cookie.partition("=")[2].partition(";")[0][-49:]]
    assert [each for each in secrets if each in f"{opened} {closed} {page.text}"] == []


async def test_a_link_signs_in_once_and_looking_at_it_spends_nothing(workspace: Tenant, clock: Clock) -> None:
    token = await link_of(workspace)
    workspace.api.cookies.clear()
    for _ in range(20):
        assert (await workspace.api.get(DOOR)).status_code == 200
        assert (await workspace.api.head(DOOR)).status_code in (200, 405)
    assert (await enter(workspace.api, token=token)).status_code == 303
    assert (await workspace.api.get("/console")).status_code == 200
    again = await enter(workspace.api, token=token)
    assert (again.status_code, "has been used" in told(again), "set-cookie" in again.headers) == (410, True, False)
    late = await link_of(workspace)
    clock.advance(SIGN_IN_LIFETIME)
    assert (await enter(workspace.api, token=late)).status_code == 410
    issued, used, opened = (await facts(workspace, "sign-in.issued.v1", "sign-in.used.v1", "console.opened.v1"))[:3]
    assert (used["stream"], opened["causationId"]) == (issued["stream"], used["id"])
    assert opened["data"]["signInId"] == issued["data"]["signInId"]


async def test_whoever_is_at_the_machine_makes_a_link_for_an_owner(workspace: Tenant) -> None:
    settings = workspace.services.settings
    first, second = workspace.owner_key, await workspace.key("owner")
    for owner, other in ((second, first), (first, second)):
        made = await sign_in_link(settings, workspace.id)
        assert made.key_id == f"key_{owner.split('_')[2]}"
        assert made.url.startswith(f"{settings.public_url}/console/sign-in#kfi_")
        assert (await enter(workspace.api, token=made.url.partition("#")[2])).status_code == 303
        workspace.api.cookies.clear()
        if owner == second:
            ended = f"/api/v1/keys/{made.key_id}/revoke"
            answer = await workspace.api.post(ended, json={"reason": "test"}, headers=bearer(other))
            assert answer.status_code == 200, answer.text
    issued = await facts(workspace, "sign-in.issued.v1")
    assert {each["actor"]["kind"] for each in issued} == {"operator"}
    with pytest.raises(NotFound):
        await sign_in_link(settings, f"ws_{NOWHERE}")


async def test_whatever_is_no_account_key_and_no_link_stays_outside(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    portal = workspace.api.cookies["__Host-keyfold-portal"]
    partners_link = (await workspace.invite())[1]
    revoked = await workspace.key("viewer")
    await workspace.post(f"/api/v1/keys/key_{revoked.split('_')[2]}/revoke", {"reason": "test"})
    for status, given in (
        (400, {"key": workspace.integration_key}),
        (400, {"key": keys["prod"]["secret"]}),
        (401, {"key": revoked}),
        (401, {"key": workspace.owner_key[:-1] + "0"}),
        (401, {"key": "<script>alert(1)</script>"}),
        (401, {"key": await link_of(workspace)}),
        (404, {"token": workspace.owner_key}),
        (404, {"token": partners_link}),
        (404, {"token": portal}),
        (400, {"next": "/console"}),
    ):
        answer = await enter(workspace.api, **given)
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, False), given
        assert "<script>alert" not in answer.text
    for cookie in (portal, workspace.owner_key, partners_link, "kfc_no", f"kfc_{NOWHERE}_{'0' * 49}"):
        workspace.api.cookies.clear()
        workspace.api.cookies.set(COOKIE, cookie)
        assert is_at_the_door(await workspace.api.get("/console")), cookie
    for key in (workspace.integration_key, keys["dev"]["secret"]):
        refused = await workspace.api.post("/api/v1/console/links", json={}, headers=bearer(key))
        assert "account keys" in problem(refused, 400, "invalid-request")["detail"]


@pytest.mark.parametrize("end", ["revoke", "suspend", "expire", "twelve hours"])
async def test_a_session_ends_with_its_key_and_by_itself(workspace: Tenant, clock: Clock, end: str) -> None:
    wanted = {"expires_at": clock() + timedelta(hours=1)} if end == "expire" else {}
    key = await workspace.key("viewer", **wanted)
    key_id = f"key_{key.split('_')[2]}"
    await entered(workspace, key)
    session = workspace.api.cookies[COOKIE]
    assert (await workspace.api.get("/console/partners")).status_code == 200
    if end in ("revoke", "suspend"):
        cookie = workspace.api.cookies[COOKIE]
        workspace.api.cookies.clear()
        assert (await workspace.post(f"/api/v1/keys/{key_id}/{end}", {"reason": "test"})).status_code == 200
        workspace.api.cookies.set(COOKIE, cookie)
    else:
        clock.advance(timedelta(hours=1) if end == "expire" else LIFETIME)
    answer = await workspace.api.get("/console/partners?stage=live")
    why = {"revoke": "revoked", "suspend": "suspended", "expire": "expired", "twelve hours": "over"}[end]
    assert answer.headers["location"] == f"{DOOR}?next=%2Fconsole%2Fpartners%3Fstage%3Dlive&why={why}"
    workspace.api.cookies.clear()
    said = told(await workspace.api.get(answer.headers["location"]))
    assert f"{why}." in said or f"was {why}" in said or f"has {why}" in said
    assert "Your session" in told(await workspace.api.get(f"{DOOR}?why=%3Cscript%3E"))
    assert "Your session" not in told(await workspace.api.get(DOOR))
    assert f"{COOKIE}=;" in answer.headers["set-cookie"]
    workspace.api.cookies.set(COOKIE, session)
    part = await workspace.api.get("/console/partners", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"].partition("?")[0]) == (401, DOOR)


async def test_a_link_of_a_key_that_was_revoked_meanwhile_opens_nothing(workspace: Tenant) -> None:
    key = await workspace.key("viewer")
    token = await link_of(workspace, key)
    await workspace.post(f"/api/v1/keys/key_{key.split('_')[2]}/revoke", {"reason": "test"})
    assert (await enter(workspace.api, token=token)).status_code == 401


async def test_the_door_leads_to_pages_of_the_console_alone(workspace: Tenant) -> None:
    for asked, leads_to in (
        ("/console/keys?q=a b&sort=-name", "/console/keys?q=a b&sort=-name"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console\\@evil.example", "/console"),
        ("/consolex", "/console"),
        ("/console/sign-in", "/console"),
        ("/console/\r\nSet-Cookie: a=b", "/console"),
        ("javascript:alert(1)", "/console"),
    ):
        answer = await enter(workspace.api, key=workspace.owner_key, next=asked)
        assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


FOREIGN: list[dict[str, str]] = [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {**OURS, "Sec-Fetch-Site": "cross-site"},
    {**OURS, "Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_nothing_is_changed_by_a_page_of_another_site(workspace: Tenant, headers: dict[str, str]) -> None:
    await entered(workspace)
    page = await workspace.api.get(f"/console/integrations/{workspace.integration_id}/invite")
    body = {"appName": "x", "once": once_of(page)}
    before = await workspace.services.journal.head()
    for path, sent in (
        (f"/console/integrations/{workspace.integration_id}/invite", body),
        (DOOR, {"key": workspace.owner_key}),
        ("/console/sign-out", {"x": ""}),
    ):
        answer = await workspace.api.post(path, data=sent, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), path
    assert await workspace.services.journal.head() == before
    json = {**OURS, "Content-Type": "application/json"}
    assert (await workspace.api.post("/console/sign-out", content="{}", headers=json)).status_code == 415
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert (await workspace.api.get("/console", headers=framed)).status_code == 403
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await workspace.api.get("/console", headers=linked)).status_code == 200


def once_of(page: httpx.Response) -> str:
    found = re.search(r'name="once" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def test_a_form_that_is_sent_twice_invites_once_and_shows_the_same_link(workspace: Tenant) -> None:
    await entered(workspace)
    path = f"/console/integrations/{workspace.integration_id}/invite"
    body = {"appName": "Orders", "metadata": '{"customerId": "c_1"}', "once": once_of(await workspace.api.get(path))}
    first = await workspace.api.post(path, data=body, headers=OURS)
    second = await workspace.api.post(path, data=body, headers=OURS)
    links = [re.findall(r"kfl_\w+", each.text)[0] for each in (first, second)]
    assert (first.status_code, links[0]) == (200, links[1])
    assert (await workspace.api.post(path, data={"appName": "Orders"}, headers=OURS)).status_code == 400
    (invited,) = await facts(workspace, "partner.invited.v1")
    assert invited["actor"]["id"] == f"key_{workspace.owner_key.split('_')[2]}"
    (opened,) = await facts(workspace, "console.opened.v1")
    assert invited["actor"]["session"] == opened["actor"]["session"] == opened["data"]["sessionId"]
    assert invited["data"]["metadata"] == {"customerId": "c_1"}


def pages() -> list[tuple[str, str, str]]:
    """Method, path and permission of all that the console has."""
    return [
        (method, route.path_format, handler.opt["permission"])
        for route in application().routes
        if isinstance(route, HTTPRoute) and route.path.startswith("/console")
        for handler in route.route_handlers
        for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"})
    ]


def at(path: str, workspace: Tenant) -> str:
    """An address of the page: of things that nobody has, but for the integration."""
    known = {"integration_id": workspace.integration_id, "partner_id": f"prt_{NOWHERE}", "key_id": f"key_{NOWHERE}"}
    return re.sub(r"{(\w+)[^}]*}", lambda name: known.get(name[1], f"evt_{NOWHERE}"), path)


async def test_every_page_demands_its_permission_of_the_key_as_it_is_now(workspace: Tenant) -> None:
    """Whoever has no permission is refused at each; whoever has all but one, nowhere else for lack of it."""
    role = await workspace.post("/api/v1/roles", {"name": "nothing", "permissions": []})
    role_id = role.json()["data"]["id"]
    key = await workspace.key(role_id)
    await entered(workspace, key)
    guarded = [each for each in pages() if each[2] not in (PUBLIC, SELF)]
    assert len(guarded) > 15
    before = await workspace.services.journal.head()
    for method, path, permission in guarded:
        assert permission in PERMISSIONS
        answer = await workspace.api.request(method, at(path, workspace), headers={**OURS, **FORM})
        assert answer.status_code == 403, (method, path)
        assert f"needs the permission {permission}" in answer.text
    assert await workspace.services.journal.head() == before
    cookie = workspace.api.cookies[COOKIE]
    workspace.api.cookies.clear()
    changed = await workspace.api.patch(
        f"/api/v1/roles/{role_id}",
        json={"permissions": ["partners:read"]},
        headers=bearer(workspace.owner_key) | {"If-Match": "*"},
    )
    assert changed.status_code == 200, changed.text
    workspace.api.cookies.set(COOKIE, cookie)
    assert (await workspace.api.get("/console/partners")).status_code == 200


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_an_auditor_is_shown_no_form_and_may_send_none(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    await workspace.invite()
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace, await workspace.key("auditor"))
    for path in ("", "/integrations", f"/integrations/{workspace.integration_id}", "/partners", "/health"):
        answer = await workspace.api.get(f"/console{path}")
        assert answer.status_code == 200, path
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', answer.text)
        assert forms == ["/console/sign-out"], path
    page = await workspace.api.get(f"/console/partners/{partner_id}")
    assert re.findall(r'method="post"[^>]*action="([^"]*)"', page.text) == ["/console/sign-out"]
    before = await workspace.services.journal.head()
    for method, path, permission in pages():
        if method == "POST" and permission in PERMISSIONS - ROLES["auditor"]:
            sent = {"once": workspace.services.office.new_id("req"), "reason": "x"}
            assert (await workspace.api.post(at(path, workspace), data=sent, headers=OURS)).status_code == 403, path
    assert await workspace.services.journal.head() == before


async def test_nobody_invites_to_what_is_out_of_its_sight(workspace: Tenant, neighbour: Tenant) -> None:
    cause, invite = Cause(Actor(kind="operator", id="test"), "req_test"), workspace.services.onboarding.invite
    other = await workspace.integration()
    for conditions, to, refusal in (
        (Conditions(), neighbour.integration_id, NotFound),
        (Conditions(integrations=(workspace.integration_id,)), other, NotFound),
        (Conditions(environments=("dev",)), other, Forbidden),
        (Conditions(partners=()), other, Forbidden),
    ):
        by = Caller(cause, workspace.id, conditions=conditions)
        with pytest.raises(refusal):
            await invite(by, Invitation(), to=to)


async def test_who_is_narrowed_sees_what_it_is_narrowed_to_and_nothing_of_the_neighbours(
    workspace: Tenant, neighbour: Tenant
) -> None:
    other = await workspace.integration()
    inviter = Caller(Cause(Actor(kind="operator", id="test"), "req_test"), workspace.id, is_owner=True)
    hidden = (await workspace.services.onboarding.invite(inviter, Invitation(app_name="Hidden"), to=other)).view.id
    mine = (await workspace.invite({"appName": "Mine"}))[0]
    theirs = (await neighbour.invite({"appName": "Theirs"}))[0]
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    key = await workspace.key("admin", conditions=Conditions(integrations=(workspace.integration_id,)))
    await entered(workspace, key)
    listed = await workspace.api.get("/console/partners")
    assert ("Mine" in listed.text, "Hidden" in listed.text, "Theirs" in listed.text) == (True, False, False)
    assert other not in (await workspace.api.get("/console/integrations")).text
    for path, status in (
        (f"partners/{mine}", 200),
        (f"partners/{hidden}", 404),
        (f"partners/{theirs}", 404),
        (f"integrations/{other}", 404),
        (f"integrations/{other}/invite", 404),
        (f"integrations/{other}/rule", 404),
        (f"partners?integrationId={other}", 404),
        ("partners?sort=state", 400),
        ("partners?after=nothing", 400),
        ("partners?stage=nothing", 400),
        ("nothing", 404),
    ):
        assert (await workspace.api.get(f"/console/{path}")).status_code == status, path
    sent = {"appName": "x", "once": workspace.services.office.new_id("req")}
    refused = await workspace.api.post(f"/console/integrations/{other}/invite", data=sent, headers=OURS)
    assert refused.status_code == 404


TYPOS = {
    "audit?since=yesterday": ("since", "Type a time with its offset"),
    "audit?type=nonsense": ("type", "Such as key.revoked"),
    "holders?action=send&topic=bad//x!": ("topic", "A topic looks like"),
    "keys?idleDays=abc": ("idleDays", "Type a whole number."),
    "keys?idleDays=0": ("idleDays", "at least 1"),
    "keys?status=sad": ("status", "Choose one of the list."),
    "keys?asOf=soon": ("asOf", ""),
    "partners?stage=famous": ("stage", ""),
    "partners?stage=live&asOf=1": ("stage", "Choose another stage"),
    "integrations?asOf=soon": ("asOf", ""),
    "changes?from=soon": ("from", ""),
}
"""Addresses, the field that is wrong, and what is said of it."""


async def test_a_typo_in_a_filter_is_said_at_its_field_beside_everything_that_was_typed(workspace: Tenant) -> None:
    await entered(workspace)
    for path, (field, words) in TYPOS.items():
        answer = await workspace.api.get(f"/console/{path}")
        assert answer.status_code in (400, 422), path
        for name, typed in httpx.URL(f"http://x/{path}").params.items():
            assert unescape(typed) in unescape(answer.text), (path, name)
        fields = re.findall(rf'<(?:input|select)[^>]*name="{field}"[^>]*>', answer.text)
        assert len(fields) == 1, path
        assert 'aria-invalid="true"' in fields[0], path
        assert f"fault-{field}" in fields[0], path
        (said,) = re.findall(rf'id="fault-{field}">([^<]*)<', answer.text)
        assert words in unescape(said), (path, said)
        assert 'id="filters"' in answer.text, path
        assert "These filters don" in told(answer), path
        assert "Expected `" not in answer.text, path
        assert f"?{field}" not in told(answer), path


async def test_only_a_key_that_somebody_has_shown_makes_a_partner_live(workspace: Tenant, system: System) -> None:
    """The portal's test event is sent in a key's name, and nobody's code has used the key for it."""
    partner_id, keys = await workspace.onboard()
    trial = {"environment": "prod", "keyId": keys["prod"]["id"], "topic": "app/order/created"}
    sent = await workspace.api.post("/api/v1/portal/events/test", json=trial, headers=OURS)
    assert sent.status_code == 201, sent.text
    await flushed(system)
    usage = await workspace.get(f"/api/v1/keys/{keys['prod']['id']}/events-usage")
    assert usage.json()["data"]["totals"]["published"]["count"] == 1, "it is counted as the key's"
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    await entered(workspace)

    async def stages() -> list[str]:
        listed = [(await workspace.api.get(f"/console/partners?stage={each}")).text for each in STAGES]
        here = (await workspace.api.get(f"/console/partners/{partner_id}")).text
        (shown,) = re.findall(r'class="state stage-(\w+)"', here.partition('class="journey"')[0])
        return [each for each, page in zip(STAGES, listed, strict=True) if partner_id in page] + [shown]

    assert await stages() == ["onboarded", "onboarded"]
    await workspace.post("/api/v1/keys/verify", {"key": keys["prod"]["secret"]})
    await workspace.services.usage_store.flush(workspace.services.usage)
    assert await stages() == ["live", "live"]
