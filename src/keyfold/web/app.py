"""The HTTP application: the API, its description, the pages, health and metrics."""

from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from keyfold import __version__
from keyfold.web import problems
from keyfold.web.console import router as console
from keyfold.web.edge import Edge
from keyfold.web.health import api_readiness, health_routes
from keyfold.web.log import log_routes
from keyfold.web.pages import page_routes
from keyfold.web.refused import note_refusal
from keyfold.web.services import Services
from keyfold.web.sessions import SESSION_COOKIE
from keyfold.web.shortcut import Shortcut
from keyfold.web.v1 import router

BODY_LIMIT = 256 * 1024
"""The most bytes that a request's body has."""


def create_app(services: Services) -> ASGIApp:
    """The application around services that somebody else opens and closes."""
    app = litestar_app(services)
    return Shortcut(Edge(app, clock=services.clock, entropy=services.entropy), services)


def litestar_app(services: Services) -> Litestar:
    app = Litestar(
        route_handlers=[
            router,
            console,
            *page_routes(),
            *log_routes(),
            *health_routes(lambda: api_readiness(services.postgres, services.bus, services.sealing)),
        ],
        exception_handlers={Exception: _refuse},
        request_max_body_size=BODY_LIMIT,
        openapi_config=_openapi(),
        logging_config=None,
    )
    app.state.services = services
    return app


def _refuse(request: Request[Any, Any, Any], error: Exception) -> Response[problems.Problem]:
    note_refusal(request, error)
    return problems.respond(request, error)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Keyfold",
        version=__version__,
        description="Onboards partners and looks after their access keys.",
        components=Components(
            security_schemes={
                "accessKey": SecurityScheme(type="http", scheme="bearer", bearer_format="kf_…"),
                "portalSession": SecurityScheme(type="apiKey", security_scheme_in="cookie", name=SESSION_COOKIE),
            }
        ),
        security=[{"accessKey": []}],
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router("/docs/schema", route_handlers=[], guards=[_not_served], include_in_schema=False),
    )


async def _not_served(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar insists on serving its own raw document; ours is the completed one, at /openapi.json."""
    raise NotFoundException
