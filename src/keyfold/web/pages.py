"""Pages for people."""

from litestar.handlers import HTTPRouteHandler


def page_routes() -> list[HTTPRouteHandler]:
    return []
