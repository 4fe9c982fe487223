"""`/static/…`: stylesheet, scripts, icon and the handbook's pictures, from memory."""

from typing import Any

from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from keyfold.web.pages.content import READ, REVALIDATE, assets, deliver, release

IMMUTABLE = "public, max-age=31536000, immutable"


@route("/static/{path:path}", http_method=READ, include_in_schema=False)
async def static_route(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[bytes]:
    """A static file; kept for a year under the address that names the bytes of all of them: `/static/~<release>/…`."""
    name, named = path.lstrip("/"), ""
    if name.startswith("~"):
        named, _, name = name.removeprefix("~").partition("/")
    content = assets().get(name)
    if content is None:
        raise NotFoundException
    return deliver(request, content, IMMUTABLE if named == release() else REVALIDATE)
