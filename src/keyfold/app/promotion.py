"""Promotion: what a partner's key may do in one environment is given to its key in a later one."""

import msgspec

from keyfold.app.access import Caller
from keyfold.app.key_life import limits_above
from keyfold.app.views import KeyView, OptionsView, View
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import key
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_ceiling import demand_below
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Action, Rule


class PermissionsView(View, frozen=True, kw_only=True):
    permitted: tuple[Action, ...]
    options: OptionsView

    @classmethod
    def of(cls, rule: Rule) -> "PermissionsView":
        return cls(permitted=rule.permitted, options=OptionsView.of(rule))


class PromotionView(View, frozen=True, kw_only=True):
    """The key that was promoted to, or would be, and what it may do before and after."""

    key: KeyView
    before: PermissionsView
    after: PermissionsView


class Promotion:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def promote(self, caller: Caller, from_id: str, to_id: str, *, dry_run: bool) -> Answer[PromotionView]:
        """Gives a key the rule of another one of the same partner, from an earlier environment, and nothing else.

        A dry run does nothing, and refuses what would be refused.
        """

        async def command(work: Work) -> PromotionView:
            source, target = await work.load(KEY, from_id), await work.load(KEY, to_id)
            caller.demand_sight(KEY.word, source)
            caller.demand_sight(KEY.word, target)
            before, after = _rules(target, source)
            document = msgspec.structs.replace(target.document, rule=after)
            events = key.decide(target, key.ChangeKey(document), work.now)
            demand_below(document, await limits_above(work, caller, target), before=target.document)
            if dry_run:
                for event in events:
                    target = KEY.evolve(target, event, work.now)
            else:
                target = work.append(KEY, to_id, events)
            return PromotionView(
                key=KeyView.of(target, work.now), before=PermissionsView.of(before), after=PermissionsView.of(after)
            )

        return await self._office.carry_out(caller.cause, PromotionView, command)


def _rules(target: Key, source: Key) -> tuple[Rule, Rule]:
    """What the one may do now, and what the other may. Raises `Invalid` where it is no later stage of the other."""
    if target.partner_id is None or target.partner_id != source.partner_id:
        raise Invalid("This is no key of the same partner.", ("/toKeyId", "Name another key of the partner."))
    before, after = target.document.rule, source.document.rule
    stage, later = source.environment, target.environment
    if before is None or after is None or stage is None or later is None:
        raise Invalid("Only a service key can be promoted.", ("/toKeyId", "Name a service key."))
    if ENVIRONMENTS.index(later) <= ENVIRONMENTS.index(stage):
        order = " to ".join(ENVIRONMENTS)
        raise Invalid(f"A key is promoted from {order}.", ("/toKeyId", f"{later} doesn't come after {stage}."))
    return before, after
