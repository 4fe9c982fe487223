"""Pages for people: the handbook, the API reference, and the page that an onboarding link opens. All of it offline."""

from litestar.handlers import HTTPRouteHandler

from keyfold.web.pages.asyncapi import asyncapi
from keyfold.web.pages.docs import docs_routes
from keyfold.web.pages.portal import portal_routes
from keyfold.web.pages.static import static_route


def page_routes() -> list[HTTPRouteHandler]:
    """`/`, `/docs`, `/docs/{page}`, `/docs/api`, `/openapi.json`, `/onboard`, `/portal`, `/static/…` and
    `/asyncapi/{integration}.json`, by GET and HEAD."""
    return [*docs_routes(), *portal_routes(), static_route, asyncapi]
