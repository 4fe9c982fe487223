"""What an account key manages, as fields of a form: its role, and the things that it is narrowed to."""

from typing import Any, NamedTuple

from keyfold.domain.aggregates import ROLE
from keyfold.domain.ids import is_id
from keyfold.domain.key_events import Document
from keyfold.domain.permissions import ANYTHING, ENVIRONMENTS, ROLES, Conditions, Permission
from keyfold.web.auth import caller, services
from keyfold.web.console.pages import Req
from keyfold.web.console.rule_form import Fields, Json, lines
from keyfold.web.texts import t

_LISTED = ("integrations", "partners")
"""Conditions that are given as ids, one a line."""
_ROLES = 200


class Bounds(NamedTuple):
    """`only` are the conditions that narrow at all: one that names nothing leaves nothing."""

    only: tuple[str, ...]
    environments: tuple[str, ...]


def bounds_of(conditions: Conditions | None) -> Bounds:
    kept = conditions or ANYTHING
    only = tuple(name for name in kept.__struct_fields__ if getattr(kept, name) is not None)
    return Bounds(only, kept.environments or ())


def bounds_sent(given: Fields) -> Bounds:
    """What is named narrows, ticked or not."""
    named = [name for name in _LISTED if lines(given.get(name, [""])[-1])]
    named += ["environments"] if given.get("environments") else []
    only = tuple(each for each in Conditions.__struct_fields__ if each in given.get("only", []) or each in named)
    return Bounds(only, tuple(each for each in ENVIRONMENTS if each in given.get("environments", [])))


def bounds_fields(document: Document) -> dict[str, str]:
    kept = document.conditions or ANYTHING
    ids = {name: "\n".join(getattr(kept, name) or ()) for name in _LISTED}
    return {"role": document.role or "", **ids}


def managing(given: Fields, kept: Json) -> Json:
    """`role` and `conditions` of the key's document, as the form says. What says the same is as it was kept, and so is
    all of it where a form has no such fields."""
    if "role" not in given:
        return {}
    sent, before = bounds_sent(given), kept.get("conditions")
    wanted: Json = {name: lines(given.get(name, [""])[-1]) for name in _LISTED} | {"environments": [*sent.environments]}
    wanted = {name: _ordered(wanted[name], (before or {}).get(name)) for name in sent.only}
    return {"role": given["role"][-1].strip() or None, "conditions": wanted or ({} if before == {} else None)}


def _ordered(wanted: list[str], kept: list[str] | None) -> list[str]:
    return kept if kept is not None and sorted(kept) == sorted(wanted) else wanted


def bounds_parts(of: Document) -> list[tuple[str, list[str]]]:
    """The same to be compared, field by field."""
    kept = of.conditions or ANYTHING
    return [
        ("role", [of.role] if of.role else []),
        *[(name, _said(getattr(kept, name))) for name in kept.__struct_fields__],
    ]


def _said(within: tuple[str, ...] | None) -> list[str]:
    return [t("narrow.any")] if within is None else [*within] or [t("narrow.nothing")]


async def roles(request: Req, kept: str | None) -> dict[str, str]:
    """The roles that the caller may give, and the one that the key has, by what they are called."""
    by, of = await caller(request), services(request)
    may = {name: name for name, given in ROLES.items() if by.is_owner or (name != "owner" and given <= by.permissions)}
    if "roles:read" in by.permissions:
        here: Any = {"status": "active", "now": of.clock(), "cursor": None, "limit": _ROLES}
        found = await of.lists.page(ROLE.prefix, by.workspace_id, {}, **here)
        may |= {each.id: each.terms.name for each in found.items if by.is_owner or each.permissions <= by.permissions}
    return ({kept: kept} if kept else {}) | may


async def bounds_gains(request: Req, before: Document, after: Document) -> list[str]:
    """The places in which an account key would manage more than before."""
    more = [place for place, _ in (after.conditions or ANYTHING).exceeds(before.conditions or ANYTHING)]
    if after.role != before.role and await _permissions(request, after) - await _permissions(request, before):
        more = ["/role", *more]
    return more


async def _permissions(request: Req, of: Document) -> frozenset[Permission]:
    if of.role is None or not is_id(ROLE.prefix, of.role):
        return next((given for name, given in ROLES.items() if name == of.role), frozenset())
    found = (await services(request).journal.load(ROLE, of.role)).state
    return found.permissions if found else frozenset()
