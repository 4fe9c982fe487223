"""Tenancy: another workspace's things can't be told from things that don't exist, on every route with an id."""

import pytest

from .routes import Route, Things, bodies, routes, things_of
from .tenant import PARTNER, Tenant, bearer, position_of, problem


def routes_with_ids() -> list[Route]:
    return [route for route in routes() if {*route.names} & {*Things._fields}]


async def test_another_workspaces_ids_are_404_on_every_route_exactly_as_ids_that_dont_exist(
    workspace: Tenant, neighbour: Tenant
) -> None:
    theirs = await things_of(neighbour)
    nowhere, owner = theirs.nowhere(), bearer(workspace.owner_key)
    before = await workspace.services.journal.head()
    tried = routes_with_ids()
    assert {name for route in tried for name in route.names} == {*Things._fields} - {"target_id"}
    for route in tried:
        foreign = problem(await route.ask(workspace.api, theirs, owner), 404, "not-found")
        unknown = problem(await route.ask(workspace.api, nowhere, owner), 404, "not-found")
        for theirs_id, nowhere_id in zip(theirs, nowhere, strict=True):
            foreign["detail"] = foreign["detail"].replace(theirs_id, nowhere_id)
        assert foreign | {"requestId": ""} == unknown | {"requestId": ""}, route
    assert await workspace.services.journal.head() == before


async def test_its_own_ids_are_found_on_every_route(workspace: Tenant) -> None:
    """Otherwise a 404 to everybody would pass for tenancy."""
    owner = bearer(workspace.owner_key)
    for route in routes_with_ids():
        answer = await route.ask(workspace.api, await things_of(workspace), owner)
        assert answer.status_code in (200, 201, 410), (route, answer.text)


async def test_a_route_that_the_walks_dont_know_is_said_to_need_a_body(workspace: Tenant) -> None:
    things = await things_of(workspace)
    for new, what in (
        (Route("POST", "/api/v1/keys/{key_id}/shred", ("key_id",), "keys:revoke"), "add a body to bodies()"),
        (Route("GET", "/api/v1/vaults/{vault_id}", ("vault_id",), "keys:read"), "add one to Things"),
    ):
        with pytest.raises(AssertionError) as failed:
            await new.ask(workspace.api, things, {})
        assert what in str(failed.value)
    routed = {(route.method, route.path) for route in routes()}
    assert [known for known in bodies(things) if known not in routed] == []


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
