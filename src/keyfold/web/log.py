"""`/log/…`: the log's checkpoint, tiles and keys, for anybody, as c2sp.org/tlog-tiles has them."""

from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from keyfold.domain.refusals import NotFound, Refusal
from keyfold.store.tree import TreeStore
from keyfold.web.pages.content import READ, Content, deliver
from keyfold.web.pages.static import IMMUTABLE
from keyfold_client.audit.tiles import parse_path

SHORT = "public, max-age=1"
"""Checkpoints follow each other within seconds."""


class RecordsNotPublic(Refusal):
    code, status, title = "records-not-public", 403, "Records are for those who may read them"


def log_routes() -> list[HTTPRouteHandler]:
    """`/log/checkpoint`, `/log/keys` and `/log/tile/…`, by GET and HEAD, without any key."""
    return [checkpoint, keys, tile]


@route("/log/checkpoint", http_method=READ, include_in_schema=False)
async def checkpoint(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The newest checkpoint: a signed note."""
    signed = await _store(request).shown()
    if signed is None:
        raise NotFound("The log hasn't been signed yet. Try again in a moment.")
    return deliver(request, _text(signed.cosigned_note), SHORT)


@route("/log/keys", http_method=READ, include_in_schema=False)
async def keys(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The verifier keys that checkpoints were ever signed with, one a line, the newest first."""
    return deliver(request, _text("".join(f"{vkey}\n" for vkey in await _store(request).keys())), SHORT)


@route("/log/tile/{path:path}", http_method=READ, include_in_schema=False)
async def tile(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[bytes]:
    """A full or partial tile of hashes of the tree that the newest checkpoint signs. Its bytes never change."""
    if path.startswith("/entries/"):
        raise RecordsNotPublic(
            "This log holds the records of all tenants, so only their hashes are for everybody. "
            "Those who may read them get them at /api/v1/audit/export."
        )
    try:
        # as it was sent: the router forgives a slash too many, and these paths have one spelling
        wanted = parse_path(request.scope["raw_path"].decode("latin-1").removeprefix("/log/"))
    except ValueError:
        raise NotFound("No tile is called so: see c2sp.org/tlog-tiles.") from None
    hashes = await _store(request).signed_tile(wanted)
    if hashes is None:
        raise NotFound("The tree that the newest checkpoint signs has no such tile.")
    return deliver(request, Content.of(hashes, "application/octet-stream"), IMMUTABLE)


def _store(request: Request[Any, Any, Any]) -> TreeStore:
    return TreeStore(request.app.state.services.postgres)


def _text(text: str) -> Content:
    return Content.of(text.encode(), "text/plain")
