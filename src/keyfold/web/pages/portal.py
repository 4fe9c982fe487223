"""The portal's pages. A link's token is in the fragment, so it never comes here; all else the page asks of the API.

`/onboard` is what a link opens, `/portal` where a partner's developer comes back to, and `/portal/embed/{integration}`
the same for a frame in the integration's own sites.
"""

from functools import lru_cache
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from keyfold.domain.origins import frame_ancestors
from keyfold.web.auth import services
from keyfold.web.edge import content_security_policy
from keyfold.web.pages.content import READ, Content, deliver, render


@route(["/onboard", "/portal"], http_method=READ, include_in_schema=False)
async def portal(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The same bytes for everybody: opening them spends nothing, and says nothing of any link."""
    return deliver(request, _page(), "no-store")


@route("/portal/embed/{integration_id:str}", http_method=READ, include_in_schema=False)
async def embedded(request: Request[Any, Any, Any], integration_id: FromPath[str]) -> Response[bytes]:
    """For a frame in those sites alone that the integration names; of one that doesn't exist, in none."""
    origins = await services(request).embedding.origins(integration_id)
    response = deliver(request, _page(integration_id, origins), "no-store")
    response.headers["Content-Security-Policy"] = content_security_policy(frame_ancestors(origins))
    return response


@lru_cache(256)
def _page(integration_id: str = "", origins: tuple[str, ...] = ()) -> Content:
    return render("portal/portal.html", integration_id=integration_id, origins=" ".join(origins))


def portal_routes() -> list[HTTPRouteHandler]:
    return [portal, embedded]
