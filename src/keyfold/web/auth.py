"""Who is asking, and whether the route is theirs: one guard before every route of the API."""

import re
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection

from keyfold.app.access import Caller
from keyfold.app.onboarding import Visit
from keyfold.app.vault import ReplayKey
from keyfold.app.work import Cause
from keyfold.domain.key import Key
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Forbidden, Invalid, Refusal, Unauthenticated
from keyfold.web.services import Services

PUBLIC = "public"
"""The permission of a route that needs no key."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class UnsupportedMediaType(Refusal):
    code, status, title = "unsupported-media-type", 415, "The content type is not supported"


async def guard(request: Request[Any, Any, Any]) -> None:
    """Lets in whoever has the permission that the route names (`opt={"permission": …}`), with JSON if with anything.

    Runs before every request, since Litestar's own guards cost a copy of the handler each time. A controller that put
    a `before_request` of its own in its place would find no key in the request's state, and answer nobody.
    """
    if request.method == "OPTIONS":  # Litestar's own answer, which names the methods
        return
    permission = request.route_handler.opt["permission"]
    if permission != PUBLIC:
        request.state.key = await _authenticated(request)
        if permission not in request.state.key.permissions:
            raise Forbidden.lacking(permission)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in ("POST", "PATCH", "PUT") and media_type != "application/json":
        raise UnsupportedMediaType("Send the body as application/json: the header Content-Type says otherwise.")


async def _authenticated(connection: ASGIConnection[Any, Any, Any, Any]) -> Key:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send an access key in the header Authorization, as: Bearer kf_…")
    key = await services(connection).verifier.authenticate(token.strip())
    if key is None:
        raise Unauthenticated("This access key is not valid: unknown, expired or revoked.")
    return key


def services(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    of: Services = connection.app.state.services
    return of


async def caller(request: Request[Any, Any, Any], *, creates: bool = False) -> Caller:
    """The caller that the guard let in. A route that creates takes an Idempotency-Key."""
    key: Key = request.state.key
    actor = Actor(kind="key", id=key.id, address=address(request))
    replay = await replay_key(request, key.id) if creates else None
    return Caller(
        cause=Cause(actor, correlation_id(request), replay),
        workspace_id=key.workspace_id,
        integration_id=key.integration_id,
        is_owner=key.role == "owner",
        permissions=key.permissions,
    )


async def visit(request: Request[Any, Any, Any], scope: str) -> Visit:
    """Somebody without a key, asking for what `scope` names."""
    return Visit(address(request), correlation_id(request), await replay_key(request, scope))


async def replay_key(request: Request[Any, Any, Any], scope: str) -> ReplayKey | None:
    """What the request's Idempotency-Key comes down to. Of another caller, or for another route, it is another."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(given):
        raise Invalid("The header Idempotency-Key takes 1 to 255 visible ASCII characters, such as a UUID.")
    route = f"{scope} {request.method} {request.url.path}"
    return services(request).vault.replay_key(given, route, await request.body())


def address(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client else "unknown"


def correlation_id(request: Request[Any, Any, Any]) -> str:
    return str(request.scope["request_id"])  # type: ignore[typeddict-item]
