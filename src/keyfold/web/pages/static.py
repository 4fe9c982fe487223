"""`/static/{name}`: stylesheet, script and icon, from memory."""

from typing import Any

from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from keyfold.web.pages.content import READ, REVALIDATE, assets, deliver

IMMUTABLE = "public, max-age=31536000, immutable"


@route("/static/{name:str}", http_method=READ, include_in_schema=False)
async def static_route(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A static file; kept for a year under the address that names its bytes."""
    content = assets().get(name)
    if content is None:
        raise NotFoundException
    is_exact = request.query_params.get("v") == content.tag
    return deliver(request, content, IMMUTABLE if is_exact else REVALIDATE)
