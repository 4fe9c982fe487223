"""What all pages of the console share: how one is made, who sees it, and what is shown where something is refused."""

from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import Request, Response, get

from keyfold.app.access import Caller
from keyfold.app.admission import KeyRefused
from keyfold.app.work import Answer
from keyfold.domain import ids
from keyfold.domain.permissions import Permission
from keyfold.domain.refusals import Invalid, NotFound, Unauthenticated, Unavailable
from keyfold.web import problems
from keyfold.web.auth import SELF, caller, services
from keyfold.web.console.session import COOKIE, cookie, form, visitor
from keyfold.web.pages.content import templates
from keyfold.web.refused import note_refusal

HOME = "/console"
Req = Request[Any, Any, Any]
Page = Response[bytes]


class Section(NamedTuple):
    """An entry of the navigation, for whoever has the permission. Its word is the text `nav.<name>`."""

    name: str
    path: str
    permission: Permission | str


SECTIONS = (
    Section("overview", HOME, SELF),
    Section("integrations", f"{HOME}/integrations", "integrations:read"),
    Section("partners", f"{HOME}/partners", "partners:read"),
    Section("keys", f"{HOME}/keys", "keys:read"),
    Section("holders", f"{HOME}/holders", "audit:read"),
    Section("audit", f"{HOME}/audit", "audit:read"),
    Section("changes", f"{HOME}/changes", "audit:read"),
    Section("proof", f"{HOME}/proof", "audit:read"),
    Section("health", f"{HOME}/health", "workspace:read"),
)


def page(request: Req, template: str, *, status: int = 200, **context: object) -> Page:
    """A page of the console, of `templates/console/…`, as everything is at this moment."""
    who, of = visitor(request), services(request)
    may = frozenset[str](who.admission.subject.permissions if who else ())
    text = (
        templates()
        .get_template(template)
        .render(
            me=request.state.get("me"),
            may=may,
            sections=[each for each in SECTIONS if who and (each.permission == SELF or each.permission in may)],
            here=request.url.path,
            now=of.clock(),
            **{"faults": ()} | context,
        )
    )
    headers = {"Cache-Control": "no-store"}
    return Response(text.encode(), status_code=status, media_type="text/html; charset=utf-8", headers=headers)


def to(path: str, **query: str) -> Page:
    """Leads to another page, after a form."""
    where = f"{path}?{urlencode(query)}" if query else path
    return Response(b"", status_code=303, headers={"Location": where, "Cache-Control": "no-store"})


@get("/{rest:path}", opt={"permission": SELF})
async def nothing(request: Req) -> Page:
    """There is no such page. Raises `NotFound`."""
    raise NotFound("There is no such page in the console.")


async def written(request: Req, answer: Answer[Any]) -> None:
    """Waits, bounded, until the lists include what was done, so that the page that comes next shows it."""
    with suppress(Unavailable):
        await services(request).lists.include("current", answer.position)


def new_once(request: Req) -> str:
    """What a form carries so that, sent twice, it acts once."""
    return services(request).office.new_id("req")


async def creating(request: Req) -> Caller:
    """Who is signed in, for a form that makes something. Raises `Invalid` for a form that carries no `once`."""
    by = await caller(request)
    once = (await form(request)).get("once", [""])[0]
    if not ids.is_id("req", once):
        raise Invalid("This form is incomplete. Load the page again.")
    route = f"{by.cause.actor.id} POST {request.url.path}"
    replay = services(request).vault.replay_key(once, route, await request.body())
    return msgspec.structs.replace(by, cause=msgspec.structs.replace(by.cause, replay=replay))


def refuse(request: Req, error: Exception) -> Page:
    """The page that says why not; to whoever isn't signed in, the door."""
    note_refusal(request, error)
    if isinstance(error, Unauthenticated):
        return _door(request, error)
    answer = problems.respond(request, error)
    problem = answer.content
    is_part = "hx-request" in request.headers
    template = "console/parts/refused.html" if is_part else "console/refused.html"
    made = page(request, template, status=problem.status, problem=problem)
    made.headers.update({name: value for name, value in answer.headers.items() if name.lower() != "content-type"})
    if is_part:  # in a place of its own, whatever was to be replaced
        made.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML", "HX-Reselect": ".warning"})
    return made


def _door(request: Req, error: Unauthenticated) -> Page:
    """To the sign-in page, which says why to whoever was signed in, and from there back to what was asked for."""
    had = COOKIE in request.cookies
    why = {"why": error.why if isinstance(error, KeyRefused) else "over"} if had else {}
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = ({"next": asked} if request.method == "GET" and asked != HOME else {}) | why
    if "hx-request" in request.headers:  # the browser would follow a redirect by itself, and get a page as a part
        here = urlsplit(request.headers.get("hx-current-url", ""))
        back = f"{here.path}?{here.query}" if here.query else here.path
        where = f"{HOME}/sign-in?{urlencode({'next': back} | why)}"
        response = Response(b"", status_code=401, headers={"HX-Redirect": where, "Cache-Control": "no-store"})
    else:
        response = to(f"{HOME}/sign-in", **query)
    if had:
        response.headers["Set-Cookie"] = cookie("")
    return response
