"""Every route with every kind of caller: let in or refused exactly as the permission says that the route names."""

from collections.abc import Set
from typing import NamedTuple

import httpx
import pytest

from keyfold.domain.permissions import INTEGRATION_KEY, PERMISSIONS, PORTAL, ROLES, BuiltInRole
from keyfold.domain.refusals import Forbidden
from keyfold.web.auth import EVENTS, PUBLIC, SELF, SESSION
from keyfold.web.sessions import SESSION_COOKIE

from .routes import Route, Things, routes, things_of
from .tenant import ORIGIN, PARTNER, Tenant, bearer, problem

SIGN_OUT = "/api/v1/portal/session"

NOT_FOR_NOTHING = {
    "/api/v1/portal/events/stream": ("invalid-request",),
    "/api/v1/portal/dead-letters/redrive": ("not-found",),
    "/api/v1/portal/dead-letters/discard": ("not-found",),
}
"""What the portal answers to what it is sent here, where that is no success."""


ALSO = {("POST", "/api/v1/keys/bulk"): ["keys:suspend"]}
"""What a handler asks for beside the guard, for the body that it is sent here."""


class Asking(NamedTuple):
    headers: dict[str, str]
    permissions: Set[str]
    has_key: bool = True
    has_integration: bool = False


async def walked(workspace: Tenant, asking: Asking, mine: Things | None = None) -> int:
    """Asks every route, and gives how many let the caller in. No id of a route is of anything, so none does harm."""
    mine, entered = mine or await things_of(workspace), 0
    workspace.api.cookies.clear()
    for route in sorted(routes(), key=lambda each: each.path == SIGN_OUT):
        answer = await route.ask(workspace.api, mine.nowhere() if route.names else mine, asking.headers)
        if (lacking := lacked(route, asking)) is None:
            entered += 1
            demand_entered(route, asking, answer)
        elif lacking in (EVENTS, SELF, SESSION):
            problem(answer, 401, "unauthenticated")
        else:
            demand_refused(route, lacking, answer)
    return entered


def needed(route: Route) -> list[str]:
    """What the guard asks for, and then the handler."""
    return [route.permission, *ALSO.get((route.method, route.path), ())]


def lacked(route: Route, asking: Asking) -> str | None:
    """The first permission that the caller lacks."""
    has = asking.permissions | {PUBLIC} | ({EVENTS, SELF} if asking.has_key else {SESSION})
    return next((each for each in needed(route) if each not in has), None)


def demand_refused(route: Route, permission: str, answer: httpx.Response) -> None:
    assert problem(answer, 403, "permission-missing")["detail"] == str(Forbidden.lacking(permission)), route


def demand_entered(route: Route, asking: Asking, answer: httpx.Response) -> None:
    """That the guard has let it pass. The route itself may refuse for what an id, or the kind of the key, is."""
    if route.path == PARTNER and not asking.has_integration:
        assert "Only an integration key" in problem(answer, 403, "permission-missing")["detail"]
    elif route.permission == EVENTS:  # here the key's rule decides, or what was sent
        assert answer.json().get("code") not in ("unauthenticated", "permission-missing"), (route, answer.text)
    elif route.permission == SESSION:
        assert answer.json().get("code") in (None, *NOT_FOR_NOTHING.get(route.path, ())), (route, answer.text)
    elif route.names:
        problem(answer, 404, "not-found")
    elif route.permission == PUBLIC:
        problem(answer, 404, "link-unknown")
    else:
        of_its_kind = (400,) if route.permission == SELF else ()
        assert answer.status_code in (200, 201, *of_its_kind), (route, answer.text)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_passes_where_its_permissions_say_and_nowhere_else(workspace: Tenant, role: BuiltInRole) -> None:
    asking = Asking(bearer(await workspace.key(role)), ROLES[role])
    assert await walked(workspace, asking) > 10


async def test_an_integration_key_passes_where_its_permissions_say_and_nowhere_else(workspace: Tenant) -> None:
    asking = Asking(bearer(workspace.integration_key), INTEGRATION_KEY, has_integration=True)
    assert await walked(workspace, asking) > 10


async def test_a_service_key_is_let_in_to_nothing_but_itself(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    routed = routes()
    entered = await walked(workspace, Asking(bearer(keys["prod"]["secret"]), frozenset()))
    assert entered == sum(route.permission in (EVENTS, SELF, PUBLIC) for route in routed)


async def test_a_portal_session_passes_where_the_portals_permissions_say_and_nowhere_else(workspace: Tenant) -> None:
    its_partners = await things_of(workspace)
    cookie = f"{SESSION_COOKIE}={workspace.api.cookies[SESSION_COOKIE]}"
    asking = Asking({"Cookie": cookie, "Origin": ORIGIN}, PORTAL, has_key=False)
    assert await walked(workspace, asking, its_partners) > 20


async def test_without_a_key_every_route_answers_401_and_how_to_come_back(workspace: Tenant) -> None:
    things = await things_of(workspace)
    workspace.api.cookies.clear()
    refused = [route for route in routes() if route.permission != PUBLIC]
    assert len(refused) > 15
    for route in refused:
        answer = await route.ask(workspace.api, things, {})
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer"), route


async def key_with(workspace: Tenant, permissions: Set[str]) -> str:
    """An account key with a role of its own."""
    role = await workspace.post("/api/v1/roles", {"name": "made to measure", "permissions": sorted(permissions)})
    return await workspace.key(role.json()["data"]["id"])


async def test_a_role_with_exactly_what_a_route_needs_passes_and_one_with_all_but_that_does_not(
    workspace: Tenant,
) -> None:
    all_but: dict[str, str] = {each: await key_with(workspace, PERMISSIONS - {each}) for each in sorted(PERMISSIONS)}
    mine = await things_of(workspace)
    workspace.api.cookies.clear()
    for route in routes():
        if route.permission in (EVENTS, SELF, PUBLIC, SESSION):
            continue
        needs = frozenset(needed(route))
        assert needs <= PERMISSIONS, f"{route} needs {needs}, which are no permissions"
        things = mine.nowhere() if route.names else mine
        asking = Asking(bearer(await key_with(workspace, needs)), needs)
        demand_entered(route, asking, await route.ask(workspace.api, things, asking.headers))
        for each in needs:
            demand_refused(route, each, await route.ask(workspace.api, things, bearer(all_but[each])))


async def test_every_permission_opens_a_route(workspace: Tenant) -> None:
    assert {route.permission for route in routes()} - {EVENTS, SELF, PUBLIC, SESSION} == PERMISSIONS
