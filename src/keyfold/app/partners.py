"""Partners after their invitation: offboarding, which no key survives."""

from keyfold.app.access import Caller
from keyfold.app.views import OffboardedView, partner_fields
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import key, link, partner
from keyfold.domain.aggregates import KEY, LINK, PARTNER
from keyfold.domain.partner import Partner


class Partners:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def offboard(self, caller: Caller, partner_id: str, reason: str) -> Answer[OffboardedView]:
        """Ends a partner: its keys are revoked and its open link is withdrawn, in one transaction."""

        async def command(work: Work) -> OffboardedView:
            this = await work.load(PARTNER, partner_id)
            caller.demand_sight(PARTNER.word, this)
            left = work.append(PARTNER, this.id, partner.decide(this, partner.OffboardPartner(reason)))
            revoked = []
            for key_id in this.keys:
                events = key.decide(
                    await work.load(KEY, key_id), key.RevokeKey(f"partner offboarded: {reason}"), work.now
                )
                work.append(KEY, key_id, events, because=work.newest(this.id))
                revoked += [key_id] if events else []
            await withdraw_links(work, this, work.newest(this.id))
            return OffboardedView(revoked_keys=revoked, **partner_fields(left))

        return await self._office.carry_out(caller.cause, OffboardedView, command)


async def withdraw_links(work: Work, this: Partner, because: str | None) -> None:
    """Nobody is onboarded to what has left."""
    for link_id in this.links:
        open_link = await work.load(LINK, link_id)
        if open_link.status == "open":
            withdrawn = link.decide(open_link, link.WithdrawLink("partner offboarded"), work.now)
            work.append(LINK, link_id, withdrawn, because=because)
