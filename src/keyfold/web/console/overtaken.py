"""A form that was overtaken: what others have changed meanwhile, and what was typed put onto that."""

from typing import NamedTuple

from keyfold.domain.aggregates import INTEGRATION, fold
from keyfold.domain.integration import Integration
from keyfold.web.auth import services
from keyfold.web.console.pages import Req
from keyfold.web.console.rule_form import Fields, fields_of, form_of, lines, version_of

_TICKED = ("environments", "permitted")
"""Fields of which several can be sent, each by itself."""


class Change(NamedTuple):
    """A field that somebody else has changed, by its environment if it is of one: the lines that went, and that came.
    `is_mine` where something else was typed, which stands."""

    environment: str
    field: str
    gone: list[str]
    come: list[str]
    is_mine: bool


class Overtaken(NamedTuple):
    """The form to go on with: what was typed, and all else as it is by now; and what others have changed."""

    fields: Fields
    changes: list[Change]


async def overtaken(request: Req, now: Integration, given: Fields) -> Overtaken:
    """For a form that was made of an earlier version. Raises `Invalid` where it says none."""
    kept = None
    for _, record in await services(request).past.story(now.id, version_of(given)):
        kept = fold(INTEGRATION, kept, record)
    base, theirs = (fields_of(form_of(each.terms)) for each in (kept or now, now))
    mine = {name: _sent(name, given, texts) for name, texts in base.items()}
    fields = {name: _merged(name, base[name], texts, mine[name]) for name, texts in theirs.items()}
    changed = [name for name, texts in theirs.items() if texts != base[name]]
    return Overtaken(fields, [_change(name, base[name], theirs[name], fields[name]) for name in changed])


def _sent(name: str, given: Fields, kept: list[str]) -> list[str]:
    """What was typed, or what was kept where that is the same but for how browsers send it."""
    if _is_ticked(name):
        return given.get(name, [])
    text = given.get(name, kept)[-1].replace("\r\n", "\n")
    is_same = text.strip() == kept[0].strip() or (name == "color" and text.lower() == kept[0].lower())
    return kept if is_same else [text]


def _merged(name: str, base: list[str], theirs: list[str], mine: list[str]) -> list[str]:
    if _is_ticked(name):
        stays = [each for each in theirs if each in mine or each not in base]
        return stays + [each for each in mine if each not in base and each not in theirs]
    return theirs if mine == base else mine


def _change(name: str, base: list[str], theirs: list[str], mine: list[str]) -> Change:
    environment, _, field = name.rpartition(".")
    old, new = ([line for text in texts for line in lines(text)] for texts in (base, theirs))
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    return Change(environment, field, gone, come, is_mine=not _is_ticked(name) and mine != theirs)


def _is_ticked(name: str) -> bool:
    return name.rpartition(".")[2] in _TICKED
