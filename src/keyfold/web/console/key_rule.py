"""A key narrowed on a form, beside a live preview of what goes: judged by the very command that would do it."""

from typing import Any, NamedTuple

import msgspec
from litestar import get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from keyfold.app.key_life import KeyLife
from keyfold.app.rehearsal import Rehearsal
from keyfold.app.views import KeyView
from keyfold.app.work import PreconditionFailed
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import Key
from keyfold.domain.refusals import Refusal
from keyfold.web.auth import caller, correlation_id, services
from keyfold.web.console.key_bounds import (
    Bounds,
    bounds_fields,
    bounds_gains,
    bounds_of,
    bounds_sent,
    managing,
    roles,
)
from keyfold.web.console.key_changes import Effect, Move, effects, gains, moves
from keyfold.web.console.key_names import names_of
from keyfold.web.console.pages import HOME, Page, Req, page, to, written
from keyfold.web.console.rule_faults import key_faults
from keyfold.web.console.rule_form import Fields, Json, lines, rule_fields, rule_of, version_of
from keyfold.web.console.session import form
from keyfold.web.problems import Problem, problem_of
from keyfold.web.refused import note_refusal
from keyfold.web.v1.common import seen
from keyfold.web.v1.key_bodies import KeyDocumentBody
from keyfold.web.v1.patching import decoded

RULE = "rule"
"""What the names of the fields of the rule begin with."""


class KeyForm(NamedTuple):
    """All fields of the form, as texts."""

    permitted: tuple[str, ...]
    fields: dict[str, str]
    bounds: Bounds


class Preview(NamedTuple):
    """What a change comes to: each field that moves, what that does on the topics of the catalogue, and the fields in
    which the key would have more than now; or why it is refused."""

    moves: list[Move]
    effects: list[Effect]
    gains: list[str]
    problem: Problem | None = None


@get("/keys/{key_id:str}/narrow", opt={"permission": "keys:change"})
async def narrow_page(request: Req, key_id: FromPath[str]) -> Page:
    """The key's rule, networks and end as a form. Raises `NotFound`."""
    state, version = await seen(request, KEY, key_id)
    return await _page(request, state, form_of(state), version=version)


@post("/keys/{key_id:str}/narrow", status_code=200, opt={"permission": "keys:change"})
async def narrow(request: Req, key_id: FromPath[str]) -> Page:
    """Changes it from the version that the form was made of. Whoever was overtaken is told, and keeps what was typed:
    the same form again is then a decision on what there is by now. Raises what the API does."""
    state, current = await seen(request, KEY, key_id)
    given, version = await form(request), current
    try:
        version = version_of(given)
        answer = await services(request).key_life.change(
            await caller(request), key_id, _wanted(given, state), version=version, is_active=_is_active(state)
        )
    except (Refusal, HTTPException) as error:
        if isinstance(error, PreconditionFailed):
            version = current
        return await _page(request, state, form_of_fields(given), version=version, error=error, given=given)
    await written(request, answer)
    return to(f"{HOME}/keys/{key_id}")


@post("/keys/{key_id:str}/narrow/preview", status_code=200, opt={"permission": "keys:change"})
async def narrow_preview(request: Req, key_id: FromPath[str]) -> Page:
    """What the form as it stands would take away. Nothing is written."""
    state, version = await seen(request, KEY, key_id)
    shown = await _preview(request, state, await form(request), version)
    names = await _names(request, shown, await _roles(request, state))
    return page(
        request,
        "console/parts/narrowing.html",
        preview=shown,
        faults=key_faults(shown.problem, RULE),
        key=_view(request, state),
        names=names,
    )


def form_of(state: Key) -> KeyForm:
    """The form of what the key has."""
    document, whole = state.document, KeyDocumentBody.of(state)
    end: Any = msgspec.to_builtins(document.expires_at)
    fields = {"networks": "\n".join(document.source_networks), "expiresAt": end or ""}
    fields |= rule_fields(whole.options) | bounds_fields(document)
    return KeyForm(whole.permitted, fields, bounds_of(document.conditions))


def form_of_fields(given: Fields) -> KeyForm:
    """The form as somebody sent it."""
    sent = {name.removeprefix(f"{RULE}."): values[-1] for name, values in given.items()}
    return KeyForm(tuple(given.get(f"{RULE}.permitted", [])), sent, bounds_sent(given))


def _wanted(given: Fields, state: Key) -> Document:
    """The document that the form asks for; what it has no field for stays. Raises `Invalid`, `ValidationException`."""
    base: Json = msgspec.to_builtins(KeyDocumentBody.of(state))
    base["sourceNetworks"] = lines(given.get("networks", [""])[-1])
    base["expiresAt"] = given.get("expiresAt", [""])[-1].strip() or None
    if state.kind == "service":
        base |= rule_of(RULE, given, base["options"])
    if state.kind == "account":
        base |= managing(given, base)
    return decoded(KeyDocumentBody, base).document(state)


def _is_active(state: Key) -> bool:
    return state.status != "suspended"


def _view(request: Req, state: Key) -> KeyView:
    return KeyView.of(state, services(request).clock())


async def _preview(request: Req, state: Key, given: Fields, version: int) -> Preview:
    """As things are now, whatever version the form was made of."""
    of = services(request)
    try:
        wanted = _wanted(given, state)
        rehearsed = KeyLife(Rehearsal(of.office)).change(
            await caller(request), state.id, wanted, version=version, is_active=_is_active(state)
        )
        await rehearsed
    except (Refusal, HTTPException) as error:
        return Preview([], [], [], problem_of(error, correlation_id(request)))
    more = gains(state.document, wanted) + await bounds_gains(request, state.document, wanted)
    return Preview(moves(state.document, wanted), await effects(request, state, wanted), more)


async def _page(
    request: Req,
    state: Key,
    fields: KeyForm,
    *,
    version: int,
    error: Exception | None = None,
    given: Fields | None = None,
) -> Page:
    problem = None
    if error is not None:
        note_refusal(request, error)
        problem = problem_of(error, correlation_id(request))
    is_stale = isinstance(error, PreconditionFailed)
    shown = await _preview(request, state, given, version) if is_stale and given else Preview([], [], [], problem)
    may_be = await _roles(request, state)
    return page(
        request,
        "console/key_narrow.html",
        status=problem.status if problem else 200,
        key=_view(request, state),
        form=fields,
        version=version,
        is_stale=is_stale,
        preview=shown,
        faults=key_faults(shown.problem, RULE),
        offer=await _offer(request, state),
        roles=may_be,
        names=await _names(request, shown, may_be),
    )


async def _roles(request: Req, state: Key) -> dict[str, str]:
    return await roles(request, state.document.role) if state.kind == "account" else {}


async def _names(request: Req, shown: Preview, roles: dict[str, str]) -> dict[str, str]:
    """Of what the key is, or will be, narrowed to."""
    return roles | await names_of(request, [each for move in shown.moves for each in (*move.gone, *move.come)])


async def _offer(request: Req, state: Key) -> Any:
    """What its integration offers where it stands, for what a form can't say: how often it may be used."""
    known = await services(request).verifier.find_id(state.id) if state.kind == "service" else None
    return known.subject.offer if known else None
