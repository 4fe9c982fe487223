"""Tenancy: another workspace's things can't be told from things that don't exist, on every route with an id."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
from litestar.routes import HTTPRoute

from keyfold.web.app import litestar_app

from .tenant import PARTNER, Tenant, bearer, position_of, problem

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/v1/links/{link_id}/withdraw"): {"reason": "test"},
    ("POST", "/api/v1/keys/{key_id}/revoke"): {"reason": "test"},
}
"""What a route with an id and a body needs to get as far as the id."""


class Things(NamedTuple):
    """One of each, by the names that routes give to their ids."""

    integration_id: str
    partner_id: str
    link_id: str
    key_id: str


class Route(NamedTuple):
    method: str
    path: str
    names: list[str]


def routes_with_ids(tenant: Tenant) -> Iterator[Route]:
    for route in litestar_app(tenant.services).routes:
        if isinstance(route, HTTPRoute) and route.path_parameters and route.path.startswith("/api/"):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS"}:
                    yield Route(method, route.path_format, [*route.path_parameters])


async def things_of(tenant: Tenant) -> Things:
    partner_id, keys = await tenant.onboard()
    link_id = await link_of(tenant, partner_id)
    return Things(tenant.integration_id, partner_id, link_id, keys["prod"]["id"])


async def link_of(tenant: Tenant, partner_id: str) -> str:
    head = await tenant.services.journal.head()
    found = await tenant.get("/api/v1/links", partnerId=partner_id, minPosition=head)
    return str(found.json()["data"][0]["id"])


async def ask(tenant: Tenant, route: Route, things: Things, key: str) -> httpx.Response:
    path = route.path.format(**{name: getattr(things, name) for name in route.names})
    body = BODIES[route.method, route.path] if route.method in ("POST", "PATCH", "PUT") else None
    return await tenant.api.request(route.method, path, json=body, headers=bearer(key))


async def test_another_workspaces_ids_are_404_on_every_route_exactly_as_ids_that_dont_exist(
    workspace: Tenant, neighbour: Tenant
) -> None:
    theirs = await things_of(neighbour)
    nowhere = Things(*(f"{each.partition('_')[0]}_01h455vb4pex5vsknk084sn02q" for each in theirs))
    before = await workspace.services.journal.head()
    tried = list(routes_with_ids(workspace))
    assert len(tried) >= 7
    for route in tried:
        foreign = problem(await ask(workspace, route, theirs, workspace.owner_key), 404, "not-found")
        unknown = problem(await ask(workspace, route, nowhere, workspace.owner_key), 404, "not-found")
        for theirs_id, nowhere_id in zip(theirs, nowhere, strict=True):
            foreign["detail"] = foreign["detail"].replace(theirs_id, nowhere_id)
        assert foreign | {"requestId": ""} == unknown | {"requestId": ""}, route
    assert await workspace.services.journal.head() == before


async def test_its_own_ids_are_found_on_every_route(workspace: Tenant) -> None:
    for route in routes_with_ids(workspace):
        answer = await ask(workspace, route, await things_of(workspace), workspace.owner_key)
        assert answer.status_code in (200, 410), (route, answer.text)


async def test_another_workspaces_ids_in_a_body_are_404(workspace: Tenant, neighbour: Tenant) -> None:
    theirs = await things_of(neighbour)
    for wanted in (
        {"kind": "integration", "name": "x", "integrationId": theirs.integration_id},
        {"kind": "service", "name": "x", "environment": "dev", "partnerId": theirs.partner_id},
    ):
        problem(await workspace.post("/api/v1/keys", wanted), 404, "not-found")


async def test_lists_and_the_audit_trail_show_nothing_of_another_workspace(
    workspace: Tenant, neighbour: Tenant
) -> None:
    theirs, mine = await things_of(neighbour), await things_of(workspace)
    head = await workspace.services.journal.head()
    for path in ("integrations", "partners", "links", "keys", "audit/events"):
        answer = await workspace.get(f"/api/v1/{path}", minPosition=head, limit=200)
        assert answer.json()["data"], path
        assert any(each in answer.text for each in mine), path
        assert not any(each in answer.text for each in (*theirs, neighbour.id)), path
    for path, name, this in [
        ("partners", "integrationId", theirs.integration_id),
        ("links", "partnerId", theirs.partner_id),
        ("keys", "partnerId", theirs.partner_id),
        ("keys", "integrationId", theirs.integration_id),
        ("audit/events", "keyId", theirs.key_id),
        ("audit/events", "partnerId", theirs.partner_id),
    ]:
        answer = await workspace.get(f"/api/v1/{path}", minPosition=head, **{name: this})
        assert answer.json()["data"] == [], (path, name)


async def test_another_workspaces_key_is_an_unknown_key_to_verify(workspace: Tenant, neighbour: Tenant) -> None:
    _, keys = await neighbour.onboard()
    assert (await neighbour.verdict(keys["prod"]["secret"]))["valid"] is True
    verdict = await workspace.verdict(keys["prod"]["secret"])
    unknown = await workspace.verdict("kf_prod_nothing")
    assert verdict == unknown
    assert (verdict["valid"], verdict["code"]) == (False, "unknown-key")


async def test_an_integration_key_sees_and_does_only_what_is_its_integrations(workspace: Tenant) -> None:
    mine = await things_of(workspace)
    first, other = workspace.integration_key, await workspace.integration()
    second = await workspace.key_of_integration(other)
    answer = await workspace.api.post(PARTNER, json={}, headers=bearer(second))
    its_partner, at = answer.json()["data"]["id"], position_of(answer)
    for path in ("partners", "links", "integrations"):
        listed = await workspace.api.get(f"/api/v1/{path}?minPosition={at}", headers=bearer(second))
        assert len(listed.json()["data"]) == 1, path
    for path in (f"partners/{mine.partner_id}", f"links/{mine.link_id}", f"integrations/{mine.integration_id}"):
        problem(await workspace.api.get(f"/api/v1/{path}", headers=bearer(second)), 404, "not-found")
        assert (await workspace.api.get(f"/api/v1/{path}", headers=bearer(first))).status_code == 200
    problem(await workspace.api.get(f"/api/v1/partners/{its_partner}", headers=bearer(first)), 404, "not-found")
    by_filter = f"/api/v1/partners?integrationId={mine.integration_id}"
    problem(await workspace.api.get(by_filter, headers=bearer(second)), 404, "not-found")
    withdraw = f"/api/v1/links/{mine.link_id}/withdraw"
    problem(await workspace.api.post(withdraw, json={"reason": "x"}, headers=bearer(second)), 404, "not-found")
