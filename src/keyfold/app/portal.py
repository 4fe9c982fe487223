"""A partner's own view of itself, through the session that its redemption opened."""

from keyfold.app.ports import Clock, Journal
from keyfold.app.vault import Vault
from keyfold.app.views import KeyView, PartnerView, View
from keyfold.domain.aggregates import KEY, PARTNER, SESSION
from keyfold.domain.partner import Partner
from keyfold.domain.refusals import Unauthenticated
from keyfold.domain.session import Session
from keyfold.domain.tokens import parse_token


class PortalView(View, frozen=True, kw_only=True):
    partner: PartnerView
    keys: list[KeyView]


class Portal:
    def __init__(self, *, journal: Journal, vault: Vault, clock: Clock) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock

    async def session(self, text: str) -> tuple[Session, Partner]:
        """The open session that the token belongs to, and its partner. Raises `Unauthenticated`."""
        token = parse_token(text)
        if token is None or token.mark != "kfs":
            raise _no_session()
        digest = await self._journal.digest(token.id)
        session = (await self._journal.load(SESSION, token.id)).state
        if not self._vault.matches(token, digest) or session is None or not session.is_open(self._clock()):
            raise _no_session()
        partner = (await self._journal.load(PARTNER, session.partner_id)).state
        if partner is None or partner.status == "offboarded":
            raise _no_session()
        return session, partner

    async def look(self, text: str) -> PortalView:
        """The session's partner and its keys, without their secrets."""
        (_, partner), now = await self.session(text), self._clock()
        keys = [(await self._journal.load(KEY, key_id)).state for key_id in partner.keys]
        return PortalView(partner=PartnerView.of(partner, now), keys=[KeyView.of(key, now) for key in keys if key])


def _no_session() -> Unauthenticated:
    return Unauthenticated("There is no open session. Ask whoever invited you for a fresh link.")
