"""A partner's own view of itself, through the session that a redemption opened."""

from datetime import datetime
from typing import NamedTuple

from keyfold.app.access import Caller
from keyfold.app.ports import Clock
from keyfold.app.views import KeyView, PartnerView, View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import session
from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER, SESSION
from keyfold.domain.integration import Integration
from keyfold.domain.key_state import Key
from keyfold.domain.partner import Partner
from keyfold.domain.permissions import PORTAL, Conditions, Environment, Permission
from keyfold.domain.policy import OverlapStarts
from keyfold.domain.refusals import NotFound, Unauthenticated
from keyfold.domain.session import Session
from keyfold.domain.tokens import parse_token


class PresentationView(View, frozen=True, kw_only=True):
    """How the integration shows itself. `color` is `#rrggbb`, `icon` an https address or a data URL."""

    id: str
    name: str
    description: str
    color: str
    icon: str | None

    @classmethod
    def of(cls, integration: Integration) -> "PresentationView":
        shown = integration.terms.presentation
        return cls(
            id=integration.id,
            name=integration.terms.name,
            description=shown.description,
            color=shown.color,
            icon=shown.icon,
        )


class SessionView(View, frozen=True, kw_only=True):
    id: str
    status: str
    opened_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, this: Session) -> "SessionView":
        return cls(id=this.id, status=this.status, opened_at=this.opened_at, expires_at=this.expires_at)


class OverlapView(View, frozen=True, kw_only=True):
    """How long an old key goes on when it is rotated and nobody says otherwise, and from when on."""

    seconds: int
    starts: OverlapStarts


class PortalView(View, frozen=True, kw_only=True):
    """`environments` are those that the integration offers by now, `overlaps` what it says of rotations in each,
    `capabilities` the permissions of a session."""

    partner: PartnerView
    keys: list[KeyView]
    integration: PresentationView
    environments: tuple[Environment, ...]
    overlaps: dict[Environment, OverlapView]
    nats_url: str
    session: SessionView
    capabilities: tuple[Permission, ...]


class Home(NamedTuple):
    """An open session, and the partner whose it is."""

    session: Session
    partner: Partner

    def caller(self, cause: Cause) -> Caller:
        """A partner's developer in the portal: its own keys, and never more of them."""
        return Caller(
            cause=cause,
            workspace_id=self.session.workspace_id,
            conditions=Conditions(integrations=(self.partner.integration_id,), partners=(self.partner.id,)),
            only_narrows=True,
            permissions=PORTAL,
        )

    def demand_key(self, key_id: str) -> None:
        """Raises `NotFound` for a key that isn't the partner's, exactly as for one that doesn't exist."""
        if key_id not in self.partner.keys:
            raise NotFound.of(KEY.word, key_id)


class Portal:
    """`nats_url` is where the partner's apps connect."""

    def __init__(self, office: Office, *, nats_url: str) -> None:
        self._office = office
        self._journal = office.journal
        self._clock: Clock = office.clock
        self._nats_url = nats_url

    async def open(self, text: str) -> Home:
        """The open session that the token belongs to, and its partner. Raises `Unauthenticated`, `Unavailable`."""
        token = parse_token(text)
        if token is None or token.mark != "kfs":
            raise _no_session()
        digest = await self._journal.digest(token.id)
        home = await self.still(token.id)
        if not self._office.vault.matches(token, digest) or home is None:
            raise _no_session()
        return home

    async def still(self, session_id: str) -> Home | None:
        """The same of a session whose token was seen before; None when it has ended, or its partner has left."""
        found = (await self._journal.load(SESSION, session_id)).state
        if found is None or not found.is_open(self._clock()):
            return None
        partner = (await self._journal.load(PARTNER, found.partner_id)).state
        return None if partner is None or partner.status == "offboarded" else Home(found, partner)

    async def look(self, home: Home) -> PortalView:
        """The session's partner and its keys, without their secrets."""
        now, integration = self._clock(), (await self._journal.load(INTEGRATION, home.partner.integration_id)).state
        if integration is None:
            raise NotFound.of(INTEGRATION.word, home.partner.integration_id)
        return PortalView(
            partner=PartnerView.of(home.partner, now),
            keys=[KeyView.of(key, now) for key in await self.keys(home.partner)],
            integration=PresentationView.of(integration),
            environments=tuple(integration.terms.environments),
            overlaps={
                each: OverlapView(seconds=offer.policy.overlap_seconds, starts=offer.policy.overlap_starts)
                for each, offer in integration.terms.environments.items()
            },
            nats_url=self._nats_url,
            session=SessionView.of(home.session),
            capabilities=tuple(sorted(PORTAL)),
        )

    async def keys(self, partner: Partner) -> list[Key]:
        """All that the partner ever had."""
        found = [(await self._journal.load(KEY, key_id)).state for key_id in partner.keys]
        return [key for key in found if key is not None]

    async def sign_out(self, cause: Cause, session_id: str) -> Answer[SessionView]:
        """Ends the session. Doing it again changes nothing."""

        async def command(work: Work) -> SessionView:
            this = await work.load(SESSION, session_id)
            return SessionView.of(work.append(SESSION, this.id, session.close(this)))

        return await self._office.carry_out(cause, SessionView, command)


def _no_session() -> Unauthenticated:
    return Unauthenticated("There is no open session. Ask whoever invited you for a fresh link.")
