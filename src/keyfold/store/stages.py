"""How far partners have come, from what was observed of their keys: some seconds old.

What counts is that somebody has shown a key and it was valid: whoever publishes, receives or asks for a verdict does.
Events alone are no evidence of that: the portal sends test events for a key that nobody has shown.
"""

from collections.abc import Collection

from keyfold.app.stages import Stage, stage_of
from keyfold.domain.partner import Partner
from keyfold.domain.permissions import Environment
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

_USED = """EXISTS (
    SELECT FROM projections.keys WHERE keys.partner_id = partners.id AND keys.environment = ANY ({environments})
    AND EXISTS (SELECT FROM keyfold.key_usage WHERE key_id = keys.id AND outcome = 'valid'))"""
_ANYWHERE = _USED.format(environments="'{dev,stage,prod}'")
_IN_PRODUCTION = _USED.format(environments="'{prod}'")


class Stages:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def of(self, partners: Collection[Partner]) -> dict[str, Stage]:
        """The stage of each of these partners, by its id. Raises `Unavailable`."""
        used: dict[str, set[Environment]] = {each.id: set() for each in partners}
        for row in await self._postgres.fetch(query("environments_in_use"), [*used]):
            used[row["partner_id"]].add(row["environment"])
        return {each.id: stage_of(each.status, used[each.id]) for each in partners}


def in_stage(stage: Stage | None) -> dict[str, object]:
    """Conditions, with their arguments, for a list of the partners in a stage; of those in any where it is None."""
    match stage:
        case None:
            return {}
        case "invited" | "offboarded":
            return {"status = $?": stage}
        case "onboarded":
            return {"status = $?": "onboarded", f"{_ANYWHERE} = $?": False}
        case "validating":
            return {"status = $?": "onboarded", f"{_ANYWHERE} = $?": True, f"{_IN_PRODUCTION} = $?": False}
        case "live":
            return {"status = $?": "onboarded", f"{_IN_PRODUCTION} = $?": True}
