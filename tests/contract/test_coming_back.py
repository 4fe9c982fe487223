"""Coming back: a fresh link for a partner that was invited before, and the session that it opens, until it is left."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from .keys import COOKIE, Partner, act, code, join
from .tenant import ORIGIN, Clock, Tenant, bearer, problem, token_of

PORTAL = "/api/v1/portal"


async def fresh(workspace: Tenant, partner_id: str, headers: dict[str, str], **more: str) -> httpx.Response:
    return await workspace.api.post(f"/api/v1/partners/{partner_id}/links", json={}, headers=headers | more)


async def back(workspace: Tenant, link: httpx.Response) -> tuple[Any, dict[str, str]]:
    """What redeeming it gives, and the headers of the session that it opens."""
    workspace.api.cookies.clear()
    redeemed = await workspace.redeem(token_of(link))
    assert redeemed.status_code == 201, redeemed.text
    cookie = workspace.api.cookies[COOKIE]
    workspace.api.cookies.clear()
    return redeemed.json()["data"], {"Cookie": f"{COOKIE}={cookie}", "Origin": ORIGIN}


async def happened(workspace: Tenant, of: str) -> list[Any]:
    """All that has happened to it, in order."""
    head = await workspace.services.journal.head()
    answer = await workspace.get("/api/v1/audit/events", resourceId=of, minPosition=head, order="asc")
    return list(answer.json()["data"])


async def test_a_partner_comes_back_by_a_link_that_opens_its_portal_and_issues_nothing(workspace: Tenant) -> None:
    partner = await join(workspace)
    for headers in (bearer(workspace.integration_key), bearer(workspace.owner_key), partner.headers):
        link = await fresh(workspace, partner.id, headers)
        assert link.status_code == 201, link.text
        assert link.headers["cache-control"] == "no-store"
        made = link.json()["data"]
        assert (made["purpose"], made["partnerId"], made["withdrawn"]) == ("portal", partner.id, [])
        previewed = await workspace.api.post("/api/v1/onboarding/preview", json={"token": token_of(link)})
        assert (previewed.json()["data"]["purpose"], previewed.json()["data"]["partnerId"]) == ("portal", partner.id)
        got, session = await back(workspace, link)
        assert (got["purpose"], got["keys"], got["partner"]["id"]) == ("portal", [], partner.id)
        home = (await workspace.api.get(PORTAL, headers=session)).json()["data"]
        assert {key["id"] for key in home["keys"]} == {key.id for key in partner.keys.values()}
        problem(await workspace.redeem(token_of(link)), 410, "link-used")
    assert await code(workspace, partner.keys["prod"].secret) == "valid"


async def test_a_link_back_lives_and_ends_like_the_first_one(workspace: Tenant, clock: Clock) -> None:
    partner = await join(workspace)
    clock.set("2031-03-01T12:00:00+00:00")
    links = [await fresh(workspace, partner.id, bearer(workspace.integration_key)) for _ in range(3)]
    answers = await asyncio.gather(*[workspace.redeem(token_of(links[0])) for _ in range(20)])
    assert sorted(answer.status_code for answer in answers) == [201, *[410] * 19]
    withdrawn = await workspace.post(f"/api/v1/links/{links[1].json()['data']['id']}/withdraw", {"reason": "oops"})
    assert withdrawn.json()["data"]["purpose"] == "portal"
    problem(await workspace.redeem(token_of(links[1])), 410, "link-withdrawn")
    clock.advance(timedelta(minutes=30))
    problem(await workspace.redeem(token_of(links[2])), 410, "link-expired")


async def test_a_partner_that_left_gets_no_link_and_its_open_ones_are_withdrawn(workspace: Tenant) -> None:
    partner = await join(workspace)
    link = await fresh(workspace, partner.id, bearer(workspace.integration_key))
    await workspace.delete(f"/api/v1/partners/{partner.id}")
    problem(await workspace.redeem(token_of(link)), 410, "link-withdrawn")
    problem(await fresh(workspace, partner.id, bearer(workspace.integration_key)), 409, "partner-offboarded")


async def test_an_invited_partner_gets_a_new_link_in_the_place_of_the_lost_one(workspace: Tenant) -> None:
    partner_id, lost = await workspace.invite()
    link = await fresh(workspace, partner_id, bearer(workspace.integration_key))
    made = link.json()["data"]
    assert made["purpose"] == "onboarding"
    assert len(made["withdrawn"]) == 1
    problem(await workspace.redeem(lost), 410, "link-withdrawn")
    got, _ = await back(workspace, link)
    assert {key["environment"] for key in got["keys"]} == {"dev", "stage", "prod"}
    history = await happened(workspace, partner_id)
    assert [each["type"] for each in history] == [
        "partner.invited.v1",
        "partner.link-added.v1",
        "partner.onboarded.v1",
    ]


async def test_at_most_twenty_links_of_a_partner_are_open(workspace: Tenant) -> None:
    partner, by = await join(workspace), bearer(workspace.integration_key)
    links = [await fresh(workspace, partner.id, by) for _ in range(20)]
    assert [each.status_code for each in links] == [201] * 20
    problem(await fresh(workspace, partner.id, by), 409, "too-many-links")
    await workspace.redeem(token_of(links[7]))
    assert (await fresh(workspace, partner.id, by)).status_code == 201


async def test_nobody_makes_a_link_to_a_portal_that_isnt_theirs(workspace: Tenant, neighbour: Tenant) -> None:
    partner, other = await join(workspace), await join(workspace)
    elsewhere = await workspace.key_of_integration(await workspace.integration())
    for headers in (
        other.headers,
        bearer(elsewhere),
        bearer(neighbour.owner_key),
        bearer(neighbour.integration_key),
        (await join(neighbour)).headers,
    ):
        problem(await fresh(workspace, partner.id, headers), 404, "not-found")
    for role in ("key-manager", "auditor", "viewer"):
        problem(await fresh(workspace, partner.id, bearer(await workspace.key(role))), 403, "permission-missing")
    problem(await fresh(workspace, partner.id, partner.keys["dev"].headers), 403, "permission-missing")


async def test_a_key_that_is_narrowed_to_environments_makes_no_link_to_a_portal_with_all_of_them(
    workspace: Tenant,
) -> None:
    partner = await join(workspace)
    wanted = {"kind": "account", "name": "dev", "role": "admin", "conditions": {"environments": ["dev"]}}
    narrow = (await workspace.post("/api/v1/keys", wanted)).json()["data"]["secret"]
    refused = problem(await fresh(workspace, partner.id, bearer(narrow)), 403, "permission-missing")
    assert "environments" in refused["detail"]


async def test_a_repeated_request_gets_the_same_link(workspace: Tenant) -> None:
    partner = await join(workspace)
    by = bearer(workspace.integration_key) | {"Idempotency-Key": "once"}
    first, again = [await fresh(workspace, partner.id, by) for _ in range(2)]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"


async def leave(workspace: Tenant, partner: Partner, **headers: str) -> httpx.Response:
    return await workspace.api.delete(f"{PORTAL}/session", headers=partner.headers | headers)


async def test_whoever_signs_out_is_out_wherever_the_cookie_is_and_colleagues_stay(workspace: Tenant) -> None:
    partner = await join(workspace)
    _, colleague = await back(workspace, await fresh(workspace, partner.id, partner.headers))
    answer = await leave(workspace, partner)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["status"] == "closed"
    forgotten = answer.headers.get_list("set-cookie")
    assert sorted("Partitioned" in each for each in forgotten) == [False, True]
    assert all("Max-Age=0" in each for each in forgotten)
    workspace.api.cookies.clear()
    problem(await workspace.api.get(PORTAL, headers=partner.headers), 401, "unauthenticated")
    problem(await leave(workspace, partner), 401, "unauthenticated")
    assert (await workspace.api.get(PORTAL, headers=colleague)).status_code == 200
    at = await workspace.services.journal.head()
    closed = await workspace.get("/api/v1/audit/events", partnerId=partner.id, type="session.closed", minPosition=at)
    assert [each["actor"]["kind"] for each in closed.json()["data"]] == ["portal"]


SITES: list[dict[str, str]] = [
    {"Origin": ""},
    {"Origin": "null"},
    {"Origin": "https://evil.test"},
    {"Origin": "https://keyfold.test.evil.test"},
    {"Origin": "https://keyfold.test:8443"},
    {"Origin": "http://127.0.0.1:8080"},
    {"Origin": "https://keyfold.test/"},
    {"Origin": "https://user@keyfold.test"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.mark.parametrize("site", SITES, ids=str)
async def test_a_change_takes_an_origin_that_is_our_own(workspace: Tenant, site: dict[str, str]) -> None:
    partner = await join(workspace)
    problem(await leave(workspace, partner, **site), 403, "foreign-origin")
    without = {"Cookie": partner.headers["Cookie"]}
    problem(await workspace.api.delete(f"{PORTAL}/session", headers=without), 403, "foreign-origin")
    problem(await fresh(workspace, partner.id, without), 403, "foreign-origin")
    problem(await act_as(workspace, partner, without), 403, "foreign-origin")
    assert (await workspace.api.get(PORTAL, headers=without)).status_code == 200
    typed = await workspace.api.get(PORTAL, headers=without | {"Sec-Fetch-Site": "none"})
    assert typed.status_code == 200
    for hostile in ("cross-site", "same-site"):
        answer = await workspace.api.get(PORTAL, headers=without | {"Sec-Fetch-Site": hostile})
        problem(answer, 403, "foreign-origin")
    assert (await leave(workspace, partner, **{"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def act_as(workspace: Tenant, partner: Partner, headers: dict[str, str]) -> httpx.Response:
    return await workspace.api.post(
        f"/api/v1/keys/{partner.keys['dev'].id}/suspend", json={"reason": "x"}, headers=headers
    )


async def test_the_cookie_of_an_embedded_page_is_kept_for_that_site_alone(workspace: Tenant) -> None:
    for embedded, where in ((False, "SameSite=Lax"), (True, "SameSite=None; Partitioned")):
        _, token = await workspace.invite()
        answer = await workspace.api.post("/api/v1/onboarding/redeem", json={"token": token, "embedded": embedded})
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert (name, rest.partition(";")[2]) == (COOKIE, f" Max-Age=43200; Path=/; Secure; HttpOnly; {where}")


async def test_an_integration_says_who_may_embed_its_portal(workspace: Tenant) -> None:
    path = f"/api/v1/integrations/{workspace.integration_id}"
    here, there = "https://app.acme.test", "http://localhost:5173"
    embedding = workspace.services.embedding

    async def changed(origins: Any) -> httpx.Response:
        headers = bearer(workspace.owner_key) | {"If-Match": "*"}
        return await workspace.api.patch(path, json={"origins": origins}, headers=headers)

    assert (await workspace.get(path)).json()["data"]["origins"] == []
    assert await embedding.frame_ancestors(workspace.integration_id) == "'none'"
    assert (await changed([here, there])).json()["data"]["origins"] == [here, there]
    assert await embedding.frame_ancestors(workspace.integration_id) == f"{here} {there}"
    wrong = problem(await changed([here, "https://*.acme.test", "http://acme.test"]), 400, "invalid-request")
    assert [each["pointer"] for each in wrong["errors"]] == ["/origins/1", "/origins/2"]
    assert (await changed(None)).json()["data"]["origins"] == []
    facts = [each["data"] for each in await happened(workspace, workspace.integration_id)][-2:]
    assert [each["after"]["origins"] for each in facts] == [[here, there], []]
    for nothing in ("int_no", "x", f"int_{'0' * 26}"):
        assert await embedding.frame_ancestors(nothing) == "'none'"
    made = await workspace.post("/api/v1/integrations", {"name": "Other", "origins": [here]})
    assert made.json()["data"]["origins"] == [here]


async def test_a_suspended_key_leaves_the_session_open(workspace: Tenant) -> None:
    partner = await join(workspace)
    await act(workspace, "suspend", partner.keys["dev"].id)
    answer = await workspace.api.get(PORTAL, headers=partner.headers)
    states = {key["environment"]: key["status"] for key in answer.json()["data"]["keys"]}
    assert states == {"dev": "suspended", "stage": "active", "prod": "active"}
