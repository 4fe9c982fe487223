"""What things are called, for pages that know them by their ids."""

import asyncio
from collections.abc import Iterable

from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER, aggregate_of
from keyfold.domain.integration import Integration
from keyfold.domain.key_state import Key
from keyfold.domain.moment import Moment
from keyfold.domain.partner import Partner
from keyfold.web.auth import caller, services
from keyfold.web.console.pages import Req

Named = Integration | Partner | Key
_NAMED = tuple(f"{each.prefix}_" for each in (INTEGRATION, PARTNER, KEY))


async def names_of(request: Req, ids: Iterable[str | None], at: Moment | None = None) -> dict[str, str]:
    """The names of those of these integrations, partners and keys that the caller sees and that have one."""
    by, of = await caller(request), services(request)

    async def state(this: str) -> Named | None:
        aggregate = aggregate_of(this)
        found = (await of.journal.load(aggregate, this)).state
        if found is None or not by.sees(found):
            return None
        return found if at is None else (await of.past.load(aggregate, this, at.position)).state

    wanted = [each for each in dict.fromkeys(ids) if each and each.startswith(_NAMED)]
    states = await asyncio.gather(*map(state, wanted))
    names = {this: _name(found) for this, found in zip(wanted, states, strict=True)}
    return {this: name for this, name in names.items() if name}


def _name(of: Named | None) -> str | None:
    match of:
        case Integration():
            return of.terms.name
        case Partner():
            return of.app_name
        case Key():
            return of.document.name
        case _:
            return None
