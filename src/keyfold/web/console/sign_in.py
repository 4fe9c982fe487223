"""The console's door: with an account key in a form, or a one-time link whose token is in the fragment."""

from urllib.parse import urlsplit

from litestar import get, post

from keyfold.domain.refusals import Invalid, Refusal, Unavailable
from keyfold.web.auth import PUBLIC, SELF, services, visit
from keyfold.web.console.pages import HOME, Page, Req, page, to
from keyfold.web.console.session import cookie, form, session_cause, visitor
from keyfold.web.refused import note_refusal
from keyfold.web.texts import has, t


@get("/sign-in", opt={"permission": PUBLIC})
async def sign_in_page(request: Req) -> Page:
    """The same for everybody, signed in or not: looking at a link spends nothing."""
    asked = request.query_params
    why = f"signin.why.{asked['why']}" if "why" in asked else ""
    over = t(why if has(why) else "signin.why.over") if why else ""
    return page(request, "console/signin.html", next=_next(asked.get("next", "")), refusal=None, over=over)


@post("/sign-in", status_code=200, opt={"permission": PUBLIC})
async def sign_in(request: Req) -> Page:
    """Opens a session, by a key or by the token of a link, and goes where its visitor was going."""
    given, of = await form(request), services(request)
    onward = _next(given.get("next", [""])[0])
    who = await visit(request, "")
    try:
        match given:
            case {"token": [token]}:
                opened = await of.console.redeem(token, who)
            case {"key": [key]}:
                opened = await of.console.sign_in(key, who)
            case _:
                raise Invalid("There is neither a key nor a link.")
    except Unavailable:
        raise
    except Refusal as refusal:
        note_refusal(request, refusal)
        return page(request, "console/signin.html", status=refusal.status, next=onward, refusal=refusal, over="")
    response = to(onward)
    response.headers["Set-Cookie"] = cookie(opened.reveal)
    return response


@post("/sign-out", status_code=200, opt={"permission": SELF})
async def sign_out(request: Req) -> Page:
    """Ends the session, wherever its cookie is."""
    who = visitor(request)
    if who is not None:
        await services(request).console.sign_out(session_cause(request, who), who.session.id)
    response = to(f"{HOME}/sign-in")
    response.headers["Set-Cookie"] = cookie("")
    return response


def _next(asked: str) -> str:
    """Where to go: a page of the console, whatever was asked for."""
    scheme, netloc, path = urlsplit(asked)[:3]
    is_ours = not scheme and not netloc and (path == HOME or path.startswith(f"{HOME}/")) and "\\" not in asked
    return asked if is_ours and path != f"{HOME}/sign-in" and asked.isprintable() else HOME
