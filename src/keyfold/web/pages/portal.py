"""`/onboard`: the page that an onboarding link opens. The token is in the fragment, so it never comes here."""

from functools import cache
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from keyfold.web.pages.content import READ, Content, deliver, render


@route("/onboard", http_method=READ, include_in_schema=False)
async def onboard(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The same bytes for everybody: opening them spends nothing, and says nothing of any link."""
    return deliver(request, _page(), "no-store")


@cache
def _page() -> Content:
    return render("onboard.html")


def portal_routes() -> list[HTTPRouteHandler]:
    return [onboard]
