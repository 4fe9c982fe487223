"""What is done with one key: asked for on a page that says what comes of it, and done by its form."""

from typing import Annotated, get_args

import msgspec
from litestar import get, post
from litestar.params import FromPath

from keyfold.app.rotation import Overlap
from keyfold.app.views import KeyView, RotationView
from keyfold.app.work import Answer
from keyfold.domain.aggregates import KEY
from keyfold.domain.policy import LONGEST_OVERLAP, OverlapStarts
from keyfold.domain.refusals import Forbidden, Invalid, NotFound, Refusal
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import failure, problem, read, tried
from keyfold.web.console.faults import faults_of, labels
from keyfold.web.console.key_page import NEEDS, Act
from keyfold.web.console.pages import HOME, Page, Req, creating, new_once, page, to, written
from keyfold.web.console.session import form
from keyfold.web.texts import t
from keyfold.web.v1.common import Reason, seen


class ActAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why, or how a rotation overlaps; what is left out is as the integration's policy says."""

    reason: Reason | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] | None = None
    overlap_starts: OverlapStarts | None = None


OVERLAPS = [(seconds, t(f"act.overlap.{seconds}")) for seconds in ("0", "3600", "86400", "604800", "2592000")]
"""Seconds that are offered, and how they are said."""


@get("/keys/{key_id:str}/{act:str}", opt={"permission": "keys:read"})
async def act_page(request: Req, key_id: FromPath[str], act: FromPath[str]) -> Page:
    return await _page(request, key_id, await _demanded(request, act), None, {})


@post("/keys/{key_id:str}/{act:str}", status_code=200, opt={"permission": "keys:read"})
async def act_on(request: Req, key_id: FromPath[str], act: FromPath[str]) -> Page:
    this, fields = await _demanded(request, act), await form(request)
    flat = {name: values[-1].strip() for name, values in fields.items() if values[-1].strip()}
    done = await tried(request, _done(request, key_id, this, flat))
    if isinstance(done, Refusal):
        return await _page(request, key_id, this, done, flat)
    await written(request, done)
    if isinstance(done.view, RotationView):
        return page(request, "console/key_secret.html", key=done.view)
    return to(f"{HOME}/keys/{key_id}")


async def _page(request: Req, key_id: str, act: Act, refusal: Refusal | None, flat: dict[str, str]) -> Page:
    state, _ = await seen(request, KEY, key_id)
    view, said = KeyView.of(state, services(request).clock()), problem(request, refusal)
    return page(
        request,
        "console/key_act.html",
        status=failure(refusal),
        key=view,
        act=act,
        given=flat,
        problem=said,
        faults=faults_of(said.errors, labels("act")) if said else (),
        overlaps=OVERLAPS,
        once=new_once(request),
    )


async def _demanded(request: Req, act: str) -> Act:
    """Raises `NotFound` for what can't be done with a key, `Forbidden` for what the caller may not do."""
    this: Act | None = next((each for each in get_args(Act) if each == act), None)
    if this is None:
        raise NotFound("There is nothing at this address.")
    if NEEDS[this] not in (await caller(request)).permissions:
        raise Forbidden.lacking(NEEDS[this])
    return this


async def _done(request: Req, key_id: str, act: Act, flat: dict[str, str]) -> Answer[KeyView] | Answer[RotationView]:
    by, of, asked = await creating(request), services(request), read(ActAsked, flat)
    match act:
        case "reinstate":
            return await of.key_life.reinstate(by, key_id)
        case "rotate":
            return await of.rotation.rotate(by, key_id, Overlap(asked.overlap_seconds, asked.overlap_starts))
        case "suspend" | "revoke":
            if asked.reason is None:
                raise Invalid("Say why: the reason is kept with the key.", ("?reason", "This takes a reason."))
            end = of.key_life.suspend if act == "suspend" else of.key_life.revoke
            return await end(by, key_id, asked.reason)
