"""`/docs`, `/docs/api` and `/openapi.json`: rendered once a process, then served from memory."""

from typing import Any

import msgspec
from litestar import Litestar, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from keyfold.web.auth import services
from keyfold.web.pages.content import READ, Content, deliver, render
from keyfold.web.pages.handbook import Page, pages
from keyfold.web.pages.openapi import document
from keyfold.web.pages.reference import operations_by_tag, shapes


@route("/", http_method=READ, include_in_schema=False)
async def home() -> Redirect:
    return Redirect("/docs")


@route("/docs", http_method=READ, include_in_schema=False)
async def handbook(request: Request[Any, Any, Any]) -> Response[bytes]:
    return deliver(request, _kept(request).page("index"))


@route("/docs/{name:str}", http_method=READ, include_in_schema=False)
async def handbook_page(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    return deliver(request, _kept(request).page(name))


@route("/openapi.json", http_method=READ, include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    return deliver(request, _kept(request).openapi())


def docs_routes() -> list[HTTPRouteHandler]:
    return [home, handbook, handbook_page, openapi]


class Library:
    """The finished pages of one application; `url` is where clients reach it, for the examples."""

    def __init__(self, app: Litestar, url: str) -> None:
        self._app = app
        self._url = url
        self._shelf: dict[str, Content] = {}

    def page(self, name: str) -> Content:
        """A page of the handbook. Raises `NotFoundException`."""
        page = pages().get(name)
        if page is None:
            raise NotFoundException
        if name not in self._shelf:
            self._shelf[name] = self._reference(page) if name == "api" else self._plain(page)
        return self._shelf[name]

    def _plain(self, page: Page) -> Content:
        return render("handbook.html", page=page, pages=pages().values())

    def _reference(self, page: Page) -> Content:
        """What all routes share, as written by hand, and then the routes, as the code has them."""
        described = document(self._app)
        groups, objects = operations_by_tag(described, self._url), shapes(described)
        return render("reference.html", page=page, pages=pages().values(), groups=groups, shapes=objects)

    def openapi(self) -> Content:
        if "openapi.json" not in self._shelf:
            self._shelf["openapi.json"] = Content.of(msgspec.json.encode(document(self._app)), "application/json")
        return self._shelf["openapi.json"]


def _kept(request: Request[Any, Any, Any]) -> Library:
    state = request.app.state
    if "library" not in state:
        state.library = Library(request.app, services(request).settings.public_url.rstrip("/"))
    library: Library = state.library
    return library
