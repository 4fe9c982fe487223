"""The console's session over HTTP: its cookie, which requests may use it, and what the key behind it may do."""

from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from keyfold.app.console import Visitor
from keyfold.app.work import Cause
from keyfold.domain.aggregates import WORKSPACE
from keyfold.domain.console import LIFETIME
from keyfold.domain.refusals import Forbidden, Invalid, UnsupportedMediaType
from keyfold.web.auth import PUBLIC, SELF, address, cause, services
from keyfold.web.sessions import demand_own_page

COOKIE = "__Host-keyfold-console"
FIELDS = 2000
"""The most fields that a form has."""
_FORM = "application/x-www-form-urlencoded"


def cookie(value: str) -> str:
    """The header `Set-Cookie` that opens a session in a browser, or with an empty value ends it."""
    seconds = int(LIFETIME.total_seconds()) if value else 0
    return f"{COOKIE}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Lax"


class Me(NamedTuple):
    """Who is signed in, as the pages say it: the account key, and its workspace's name."""

    key_id: str
    name: str
    role: str
    workspace: str


async def guard(request: Request[Any, Any, Any]) -> None:
    """Lets in whoever is signed in with a key that has, right now, the permission that the page names.

    Leaves in the request's state what the guard of the API leaves there, so that pages ask as its routes do.
    """
    of, permission = services(request), request.route_handler.opt["permission"]
    _demand_own(request, of.settings.public_url)
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise UnsupportedMediaType(f"The console takes forms, as {_FORM}.")
    if permission == PUBLIC:
        return
    visitor = await of.console.enter(request.cookies.get(COOKIE, ""), address(request))
    admission = visitor.admission
    request.state.visitor, request.state.subject = visitor, admission.subject
    request.state.me = await _me(request, visitor)
    request.state.caller = admission.caller(session_cause(request, visitor))
    if permission != SELF and permission not in request.state.caller.permissions:
        raise Forbidden.lacking(permission)


def session_cause(request: Request[Any, Any, Any], who: Visitor) -> Cause:
    """The key, acting through this session."""
    by = cause(request, who.admission.subject.key)
    return msgspec.structs.replace(by, actor=msgspec.structs.replace(by.actor, session=who.session.id))


async def _me(request: Request[Any, Any, Any], who: Visitor) -> Me:
    key = who.admission.subject.key
    workspace = (await services(request).journal.load(WORKSPACE, key.workspace_id)).state
    return Me(key.id, key.document.name, key.document.role or "", workspace.house.name if workspace else "")


def _demand_own(request: Request[Any, Any, Any], public_url: str) -> None:
    """That a page of our own asks; a link elsewhere may lead to a page, which changes nothing."""
    headers = request.headers
    is_visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if not (request.method in ("GET", "HEAD") and is_visit):
        demand_own_page(request, public_url)


def visitor(request: Request[Any, Any, Any]) -> Visitor | None:
    """Who is signed in, as far as the guard has come."""
    found: Visitor | None = request.state.get("visitor")
    return found


async def form(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    """The fields of a form, each with what was sent for it. Raises `Invalid`."""
    try:
        pairs = parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict"
        )
    except ValueError:
        raise Invalid("This is no form.") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields
