"""The one guard stands before every route of the API, and the page on permissions is what it says."""

import re

from litestar.routes import HTTPRoute

from keyfold.domain.permissions import INTEGRATION_KEY, PERMISSIONS, PORTAL, ROLES
from keyfold.web.auth import EVENTS, PUBLIC, SELF, SESSION, guard
from keyfold.web.pages.handbook import source
from keyfold.web.pages.openapi import camel_path
from keyfold.web.pages.permissions import HOLDERS, page

from .routes import application, routes


async def test_every_route_of_the_api_has_the_guard_and_names_a_permission() -> None:
    """A controller with a `before_request` of its own would silently replace it."""
    routes = [route for route in application().routes if isinstance(route, HTTPRoute)]
    handlers = [
        handler
        for route in routes
        if route.path.startswith("/api/")
        for handler in route.route_handlers
        if handler.http_methods != {"OPTIONS"}
    ]
    assert len(handlers) > 15
    for handler in handlers:
        assert handler.resolve_before_request() is guard, handler
        assert handler.opt["permission"] in PERMISSIONS | {EVENTS, PUBLIC, SELF, SESSION}, handler


async def test_what_every_key_may_do_is_about_itself() -> None:
    for route in routes():
        about_itself = route.path.startswith("/api/v1/keys/self") or route.path == "/api/v1/console/links"
        assert (route.permission == SELF) == about_itself, route


async def test_what_a_session_alone_may_do_is_at_the_portal() -> None:
    for route in routes():
        assert (route.permission == SESSION) == route.path.startswith("/api/v1/portal"), route


async def test_the_page_on_permissions_is_what_the_code_says() -> None:
    """It is written anew by `python -m keyfold.web.pages.permissions`."""
    assert source("permissions") == page()


async def test_the_page_on_permissions_names_every_route_and_who_may_call_it() -> None:
    told = {
        (method, path): (permission, who)
        for method, path, permission, who in re.findall(
            r"^\| `([A-Z]+) ([^`]+)` \| `([^`]+)` \| ([^|]+) \|$", source("permissions"), re.MULTILINE
        )
    }
    routed = {(each.method, camel_path(each.path)): each.permission for each in routes()}
    assert {at: permission for at, (permission, _) in told.items()} == routed
    for permission, who in told.values():
        unbound = {PUBLIC: "everybody", SELF: "every key", EVENTS: "service keys, by their rule", SESSION: "portal"}
        holders = unbound.get(permission)
        assert who == (holders or ", ".join(name for name, given in HOLDERS.items() if permission in given))
    assert told["POST", "/api/v1/keys/{keyId}/revoke"] == ("keys:revoke", "owner, admin, key-manager, portal")
    assert told["PATCH", "/api/v1/workspace"] == ("workspace:change", "owner")


async def test_the_page_on_permissions_names_every_permission_and_who_has_it() -> None:
    rows = re.findall(r"^\| `(\w+:\w+)` \|(.*)\|$", source("permissions"), re.MULTILINE)
    columns = [*ROLES.values(), INTEGRATION_KEY, PORTAL]
    told = [{name for name, cells in rows if cells.split("|")[n].strip() == "yes"} for n in range(len(columns))]
    assert told == columns
    assert [name for name, _ in rows] == sorted(PERMISSIONS)
    assert f"| permission | {' | '.join(ROLES)} | integration key | portal |" in source("permissions")
