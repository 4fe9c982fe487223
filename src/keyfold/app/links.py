"""Fresh links for partners that were invited before: back into the portal, or to be onboarded after all."""

from keyfold.app.access import Caller
from keyfold.app.views import FreshLinkView
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import link, partner
from keyfold.domain.aggregates import INTEGRATION, LINK, PARTNER
from keyfold.domain.link import LinkPurpose, TooManyLinks
from keyfold.domain.partner import Partner
from keyfold.domain.refusals import Forbidden

OPEN_LINKS = 20
"""Links of one partner that are open at a time."""


class Links:
    """`public_url` is where integrators reach the portal."""

    def __init__(self, office: Office, *, public_url: str) -> None:
        self._office = office
        self._public_url = public_url

    async def issue(self, caller: Caller, partner_id: str) -> Answer[FreshLinkView]:
        """A link for a partner, which is shown this once: back to the portal of one that is onboarded; and in the place
        of its first link, which is withdrawn, for one that isn't. Raises `PartnerGone`, `TooManyLinks`."""
        if "environment" in caller.bounds():
            raise Forbidden("This key is narrowed to environments, and a portal has the keys of all of them.")

        async def command(work: Work) -> FreshLinkView:
            this = await work.load(PARTNER, partner_id)
            caller.demand_sight(PARTNER.word, this)
            link_id = work.new_id("lnk")
            work.append(PARTNER, this.id, partner.decide(this, partner.AddLink(link_id)))
            because = work.newest(this.id)
            purpose: LinkPurpose = "portal" if this.status == "onboarded" else "onboarding"
            withdrawn = await _make_room(work, this, purpose, because)
            issue = link.IssueLink(
                link_id=link_id,
                workspace_id=this.workspace_id,
                integration_id=this.integration_id,
                partner_id=this.id,
                expires_at=(await work.load(INTEGRATION, this.integration_id)).link_expiry(work.now),
                purpose=purpose,
            )
            work.append(LINK, link_id, link.issue(issue), because=because)
            return FreshLinkView(
                id=link_id,
                partner_id=this.id,
                purpose=purpose,
                url=f"{self._public_url}/onboard#{work.mint('kfl', link_id).reveal}",
                expires_at=issue.expires_at,
                withdrawn=withdrawn,
            )

        return await self._office.carry_out(caller.cause, FreshLinkView, command)


async def _make_room(work: Work, this: Partner, purpose: LinkPurpose, because: str | None) -> list[str]:
    """Only one link at a time onboards a partner: the ids of those that were withdrawn for that."""
    opened = [each for link_id in this.links if (each := await work.load(LINK, link_id)).status_at(work.now) == "open"]
    if purpose == "portal":
        if len(opened) >= OPEN_LINKS:
            raise TooManyLinks(f"{OPEN_LINKS} links of this partner are open. Use one of them, or withdraw one.")
        return []
    for each in opened:
        withdrawal = link.decide(each, link.WithdrawLink("replaced by a fresh link"), work.now)
        work.append(LINK, each.id, withdrawal, because=because)
    return [each.id for each in opened]
