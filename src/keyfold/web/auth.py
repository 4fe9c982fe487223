"""Who is asking, and whether the route is theirs: one guard before every route of the API."""

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection

from keyfold.app.access import Caller
from keyfold.app.admission import KeyRefused, admit
from keyfold.app.memory import Known
from keyfold.app.onboarding import Visit
from keyfold.app.portal import Home
from keyfold.app.vault import ReplayKey
from keyfold.app.work import Cause
from keyfold.domain.judgement import Question
from keyfold.domain.key_state import Key
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Forbidden, Invalid, Unauthenticated, UnsupportedMediaType
from keyfold.web.parameters import demand_known
from keyfold.web.ratelimit import rate_headers
from keyfold.web.services import Services
from keyfold.web.sessions import SESSION_COOKIE, demand_own_page

PUBLIC = "public"
"""The permission of a route that needs no key."""
SELF = "self"
"""The permission of a route on the very key that is shown: every valid key has it."""
EVENTS = "events"
"""The permission of a route of app events: any valid key gets in, and is judged there by what it is to be used for."""
SESSION = "session"
"""The permission of a route of the portal: an open session has it, and sees there what is its partner's."""

MERGE_PATCH = "application/merge-patch+json"
"""What a PATCH may call its body, beside JSON (RFC 7396)."""

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_JSON = "application/json"


async def guard(request: Request[Any, Any, Any]) -> None:
    """Lets in whoever has the permission that the route names (`opt={"permission": …}`), with JSON if with anything.

    Runs before every request, since Litestar's own guards cost a copy of the handler each time. A controller that put
    a `before_request` of its own in its place would find no caller in the request's state, and answer nobody.
    """
    if request.method == "OPTIONS":  # Litestar's own answer, which names the methods
        return
    permission = request.route_handler.opt["permission"]
    if permission == EVENTS:
        request.state.user = await _user(request)
        demand_known(request)
        if "content" in request.route_handler.opt:  # it takes what it names there, or nothing
            return
    elif permission == SESSION:
        request.state.home = await _home(request)
    elif permission != PUBLIC:
        request.state.caller = await _caller(request, permission)
        if permission != SELF and permission not in request.state.caller.permissions:
            raise Forbidden.lacking(permission)
    demand_known(request)
    if request.method in ("POST", "PATCH", "PUT"):
        _demand_json(request)


def _demand_json(request: Request[Any, Any, Any]) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON and not (request.method == "PATCH" and media_type == MERGE_PATCH):
        raise UnsupportedMediaType(f"Send the body as {_JSON}: the header Content-Type says otherwise.")


async def _caller(request: Request[Any, Any, Any], permission: str) -> Caller:
    authorization = request.headers.get("authorization")
    if authorization is None and permission != SELF and SESSION_COOKIE in request.cookies:
        return await _of_portal(request)
    of = services(request)
    admission = await admit(of.verifier, of.limiter, authorization, address=address(request))
    if admission.standings:
        request.scope["rate_headers"] = rate_headers(admission.standings)  # type: ignore[typeddict-unknown-key]
    admission.demand_rate()
    request.state.subject = admission.subject
    return admission.caller(cause(request, admission.subject.key))


async def anybody(request: Request[Any, Any, Any]) -> Caller:
    """Whoever asks with a valid key, or within an open session, whatever they may do."""
    return await _caller(request, PUBLIC)


async def _user(request: Request[Any, Any, Any]) -> Known:
    """Whose key was shown, if it may be used at all from there. What it is used for is counted and judged later."""
    of, scheme_and_token = services(request), (request.headers.get("authorization") or "").partition(" ")
    if scheme_and_token[0].lower() != "bearer" or not scheme_and_token[2]:
        raise Unauthenticated("Send an access key in the header Authorization, as: Bearer kf_…")
    known = await of.verifier.find(scheme_and_token[2].strip(), address(request))
    if known is None:
        raise KeyRefused(None, "unknown-key")
    code = known.decision(Question(address=address(request)), of.clock()).code
    if code != "valid":
        raise KeyRefused(known.subject, code)
    request.state.subject = known.subject
    return known


def user(request: Request[Any, Any, Any]) -> Known:
    """The key that the guard let in to a route of app events."""
    known: Known = request.state.user
    return known


def cause(request: Request[Any, Any, Any], key: Key) -> Cause:
    actor = Actor(kind="key", id=key.id, address=address(request))
    return Cause(actor, correlation_id(request), subject=key.subject)


async def _of_portal(request: Request[Any, Any, Any]) -> Caller:
    home = await _home(request)
    return home.caller(portal_cause(request, home))


async def _home(request: Request[Any, Any, Any]) -> Home:
    """The session that the cookie opens. Raises `ForeignOrigin`, `Unauthenticated`."""
    of, text = services(request), request.cookies.get(SESSION_COOKIE, "")
    if text:
        demand_own_page(request, of.settings.public_url)
    return await of.portal.open(text)


def home(request: Request[Any, Any, Any]) -> Home:
    """The session that the guard let in to a route of the portal."""
    found: Home = request.state.home
    return found


def portal_cause(request: Request[Any, Any, Any], of: Home) -> Cause:
    actor = Actor(kind="portal", id=of.session.id, address=address(request))
    return Cause(actor, correlation_id(request), subject=of.partner.id)


def services(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    of: Services = connection.app.state.services
    return of


async def caller(request: Request[Any, Any, Any], *, creates: bool = False) -> Caller:
    """The caller that the guard let in. A route that creates takes an Idempotency-Key."""
    by: Caller = request.state.caller
    if not creates:
        return by
    replay = await replay_key(request, by.cause.actor.id)
    return msgspec.structs.replace(by, cause=msgspec.structs.replace(by.cause, replay=replay))


async def visit(request: Request[Any, Any, Any], scope: str) -> Visit:
    """Somebody without a key, asking for what `scope` names."""
    return Visit(address(request), correlation_id(request), await replay_key(request, scope))


async def replay_key(request: Request[Any, Any, Any], scope: str) -> ReplayKey | None:
    """What the request's Idempotency-Key comes down to. Of another caller, or for another route, it is another."""
    given = idempotency_key(request)
    if given is None:
        return None
    route = f"{scope} {request.method} {request.url.path}"
    return services(request).vault.replay_key(given, route, await request.body())


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The header of this name. Raises `Invalid`."""
    given = request.headers.get("idempotency-key")
    if given is not None and not _IDEMPOTENCY_KEY.fullmatch(given):
        raise Invalid("The header Idempotency-Key takes 1 to 255 visible ASCII characters, such as a UUID.")
    return given


def address(request: Request[Any, Any, Any]) -> str:
    return request.client.host if request.client else "unknown"


def correlation_id(request: Request[Any, Any, Any]) -> str:
    return str(request.scope["request_id"])  # type: ignore[typeddict-item]
