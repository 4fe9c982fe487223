"""From an invitation to an onboarded partner: the link's whole life."""

from typing import TypeVar

import msgspec

from keyfold.app.access import Caller
from keyfold.app.keys import issue_key, name_by_policy
from keyfold.app.ports import Journal
from keyfold.app.vault import ReplayKey
from keyfold.app.views import IntegrationView, InvitationView, IssuedKeyView, LinkView, PartnerView, PreviewView
from keyfold.app.views import RedemptionView as Redemption
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import key, link, partner, session
from keyfold.domain.aggregates import INTEGRATION, LINK, PARTNER, SESSION, Aggregate
from keyfold.domain.integration import Integration
from keyfold.domain.key_events import Document
from keyfold.domain.link import Link, LinkUnknown
from keyfold.domain.partner import Partner
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Forbidden, NotFound
from keyfold.domain.tokens import Token, parse_token

S = TypeVar("S")


class Visit(msgspec.Struct, frozen=True):
    """A request by somebody who holds a link and is nobody yet."""

    address: str
    correlation_id: str
    replay: ReplayKey | None = None


class Opened(msgspec.Struct, frozen=True):
    """What a redemption gives: the answer, and the token of the portal session that it opened."""

    answer: Answer[Redemption]
    session: Token | None


class Onboarding:
    """`public_url` is where integrators reach the portal, `nats_url` where their apps connect."""

    def __init__(self, office: Office, *, public_url: str, nats_url: str) -> None:
        self._office = office
        self._public_url = public_url
        self._nats_url = nats_url

    async def invite(
        self, caller: Caller, invitation: partner.Invitation, *, to: str | None = None
    ) -> Answer[InvitationView]:
        """Invites a partner to the caller's integration, or to one that an operator names, with a link that is shown
        this once."""
        of = caller.demand_integration() if to is None else to
        if to is not None and caller.bounds().keys() - {"integration"}:
            raise Forbidden("A key that is narrowed to partners or environments can't invite another partner.")

        async def command(work: Work) -> InvitationView:
            integration = await work.load(INTEGRATION, of)
            caller.demand_sight(INTEGRATION.word, integration)
            partner_id, link_id = work.new_id("prt"), work.new_id("lnk")
            ids = {
                "workspace_id": caller.workspace_id,
                "integration_id": of,
                "partner_id": partner_id,
                "link_id": link_id,
            }
            issue = link.IssueLink(expires_at=integration.link_expiry(work.now), purpose="onboarding", **ids)
            work.append(PARTNER, partner_id, partner.invite(invitation, **ids))
            work.append(LINK, link_id, link.issue(issue), because=work.newest(partner_id))
            url = f"{self._public_url}/onboard#{work.mint('kfl', link_id).reveal}"
            return InvitationView(id=partner_id, url=url, expires_at=issue.expires_at)

        return await self._office.carry_out(caller.cause, InvitationView, command)

    async def preview(self, text: str) -> PreviewView:
        """What the link offers. Spends nothing. Raises `LinkUnknown`, `LinkUsed`, `LinkExpired`, `LinkGone`."""
        journal = self._office.journal
        found = await self._find(text)
        link.demand_open(found, self._office.clock())
        of = await _existing(journal, PARTNER, found.partner_id)
        integration = await _existing(journal, INTEGRATION, found.integration_id)
        return PreviewView(
            purpose=found.purpose,
            partner_id=of.id,
            app_name=of.app_name,
            app_description=of.app_description,
            integration=IntegrationView.of(integration, self._office.clock()),
            expires_at=found.expires_at,
        )

    async def redeem(self, text: str, visit: Visit) -> Opened:
        """Spends the link: the partner is onboarded and holds a key for each environment, or is back in its portal.
        Only once."""
        found = await self._find(text)
        session_id = self._office.new_id("pse")
        sessions: list[Token] = []

        async def command(work: Work) -> Redemption:
            # the partner first: one that is seen to have left has a link that is seen withdrawn, and that is the answer
            invited = await work.load(PARTNER, found.partner_id)
            this = await work.load(LINK, found.id)
            link.demand_open(this, work.now)
            joined, keys = (
                await _join(work, this, invited) if this.purpose == "onboarding" else _enter(work, this, invited)
            )
            redeemed = work.newest(this.id)
            work.append(SESSION, session_id, session.open_for(this, session_id, work.now), because=redeemed)
            sessions[:] = [work.mint("kfs", session_id)]
            return Redemption(
                purpose=this.purpose,
                partner=PartnerView.of(joined, work.now),
                keys=keys,
                nats_url=self._nats_url,
            )

        actor = Actor(kind="portal", id=session_id, address=visit.address)
        cause = Cause(actor, visit.correlation_id, visit.replay, subject=found.partner_id)
        answer = await self._office.carry_out(cause, Redemption, command)
        return Opened(answer, None if answer.replayed else sessions[0])

    async def withdraw(self, caller: Caller, link_id: str, reason: str) -> Answer[LinkView]:
        """Ends a link that hasn't been used. Doing it again changes nothing."""

        async def command(work: Work) -> LinkView:
            this = await work.load(LINK, link_id)
            caller.demand_sight(LINK.word, this)
            ended = work.append(LINK, link_id, link.decide(this, link.WithdrawLink(reason), work.now))
            return LinkView.of(ended, work.now)

        return await self._office.carry_out(caller.cause, LinkView, command)

    async def _find(self, text: str) -> Link:
        """The link that `text` is the token of. Raises `LinkUnknown`, at equal cost for all well-formed tokens."""
        token = parse_token(text)
        if token is not None and token.mark == "kfl":
            digest = await self._office.journal.digest(token.id)
            loaded = await self._office.journal.load(LINK, token.id)
            if self._office.vault.matches(token, digest) and loaded.state is not None:
                return loaded.state
        raise LinkUnknown("No link has this token. Copy the whole address that you were sent, to the last character.")


async def _join(work: Work, this: Link, invited: Partner) -> tuple[Partner, list[IssuedKeyView]]:
    """The partner is onboarded, and holds a key for each environment."""
    integration = await work.load(INTEGRATION, this.integration_id)
    ids = [work.new_id("key") for _ in integration.terms.environments]
    work.append(LINK, this.id, link.decide(this, link.RedeemLink(ids), work.now))
    redeemed = work.newest(this.id)
    joins = partner.decide(invited, partner.OnboardPartner(this.id, ids))
    onboarded = work.append(PARTNER, invited.id, joins, because=redeemed)
    return onboarded, await _issue_keys(work, integration, invited, ids, because=redeemed)


def _enter(work: Work, this: Link, onboarded: Partner) -> tuple[Partner, list[IssuedKeyView]]:
    """The partner is what it was, and no keys are issued."""
    work.append(LINK, this.id, link.decide(this, link.RedeemLink([]), work.now))
    return onboarded, []


async def _issue_keys(
    work: Work, integration: Integration, invited: Partner, ids: list[str], *, because: str | None
) -> list[IssuedKeyView]:
    """One service key for each environment that the integration grants, under its rule."""
    return [
        await issue_key(
            work,
            key.IssueKey(
                key_id=key_id,
                workspace_id=invited.workspace_id,
                kind="service",
                document=Document(
                    name=name_by_policy(integration, environment, invited),
                    rule=offer.rule,
                    expires_at=offer.policy.expiry(work.now),
                ),
                integration_id=integration.id,
                partner_id=invited.id,
                environment=environment,
                upkeep=offer.policy.upkeep(work.now),
            ),
            because=because,
        )
        for key_id, (environment, offer) in zip(ids, integration.terms.environments.items(), strict=True)
    ]


async def _existing(journal: Journal, aggregate: Aggregate[S], of: str) -> S:
    loaded = await journal.load(aggregate, of)
    if loaded.state is None:
        raise NotFound.of(aggregate.word, of)
    return loaded.state
