"""The page of one key: what it is, may do, and was at any moment of its life."""

from typing import Any, Literal, get_args

import msgspec
from litestar import get
from litestar.params import FromPath

from keyfold.app.access import Caller
from keyfold.app.explaining import ExplanationView
from keyfold.app.views import KeyView
from keyfold.domain.aggregates import KEY
from keyfold.domain.judgement import Question
from keyfold.domain.key_state import ENDED
from keyfold.domain.moment import Moment
from keyfold.domain.permissions import Permission
from keyfold.web.auth import caller, services
from keyfold.web.console.key_names import names_of
from keyfold.web.console.key_story import Stop, stops
from keyfold.web.console.listing import asked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.v1.common import moment_of, seen, seen_at
from keyfold.web.v1.keys import with_usage

Act = Literal["rotate", "suspend", "reinstate", "revoke"]
NEEDS: dict[Act, Permission] = {
    "rotate": "keys:rotate",
    "suspend": "keys:suspend",
    "reinstate": "keys:suspend",
    "revoke": "keys:revoke",
}


@get("/keys/{key_id:str}", opt={"permission": "keys:read"})
async def key_page(request: Req, key_id: FromPath[str]) -> Page:
    """As it is, or with `asOf` everything on the page as it was."""
    at = await moment_of(request, asked(request).get("asOf"))
    view = await _view(request, key_id, at)
    by, line = await caller(request), await _line(request, key_id)
    return page(
        request,
        "console/key.html",
        key=view,
        rules=_rules(view),
        conditions=msgspec.to_builtins(view.conditions) if view.conditions else {},
        at=at,
        line=line,
        names=await names_of(request, (view.partner_id, view.integration_id), at),
        doers=await names_of(request, [stop.actor.id for stop in line]),
        explained=await _explained(request, by, key_id, at),
        acts=[] if at else acts(view, by),
        narrows=at is None and view.status not in ENDED and "keys:change" in by.permissions,
    )


def acts(key: KeyView, by: Caller) -> list[Act]:
    """What the caller may do with the key as it is."""
    if key.status in ENDED:
        return []
    senseless = {"suspend" if key.status == "suspended" else "reinstate", "rotate" if key.successor_id else ""}
    return [each for each in get_args(Act) if each not in senseless and NEEDS[each] in by.permissions]


def _rules(key: KeyView) -> list[tuple[str, dict[str, Any]]]:
    """Each action that it is permitted, with what narrows it."""
    options = msgspec.to_builtins(key.options) if key.options else {}
    return [(action, options.get(action, {})) for action in key.permitted]


async def _view(request: Req, key_id: str, at: Moment | None) -> KeyView:
    if at is not None:
        return KeyView.of(await seen_at(request, KEY, key_id, at), at.time)
    state, _ = await seen(request, KEY, key_id)
    (view,) = await with_usage(request, [KeyView.of(state, services(request).clock())])
    return view


async def _line(request: Req, key_id: str) -> list[Stop]:
    """What happened to it, for those who may read the trail; for others where its life begins."""
    by, of = await caller(request), services(request)
    _, version = await seen(request, KEY, key_id)
    if "audit:read" not in by.permissions:
        return stops(await of.past.story(key_id, 1))
    of.readings.note(by, "history")
    return stops(await of.past.story(key_id, version))


async def _explained(request: Req, by: Caller, key_id: str, at: Moment | None) -> ExplanationView | None:
    """What a verification would have said, for those who may ask."""
    if "keys:explain" not in by.permissions:
        return None
    nothing: Any = Question()
    return await services(request).explaining.of_id(by, key_id, nothing, at.time if at else None)
