"""The one guard stands before every route of the API."""

from litestar.routes import HTTPRoute

from keyfold.domain.permissions import ROLES
from keyfold.settings import Settings
from keyfold.web.app import litestar_app
from keyfold.web.auth import PUBLIC, guard
from keyfold.web.services import Services


async def test_every_route_of_the_api_has_the_guard_and_names_a_permission(settings: Settings) -> None:
    """A controller with a `before_request` of its own would silently replace it."""
    routes = [route for route in litestar_app(Services(settings)).routes if isinstance(route, HTTPRoute)]
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
        assert handler.opt["permission"] in ROLES["owner"] | {PUBLIC}, handler
