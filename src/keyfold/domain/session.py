"""The portal session: opened by a redemption, it is how a partner's developer is known until it ends."""

from datetime import datetime, timedelta
from typing import Literal, assert_never

import msgspec

from keyfold.domain.link import Link
from keyfold.domain.record import Event

LIFETIME = timedelta(hours=12)


class SessionOpened(Event, frozen=True, kw_only=True):
    type = "session.opened.v1"

    session_id: str
    integration_id: str
    partner_id: str
    link_id: str
    expires_at: datetime


class SessionClosed(Event, frozen=True, kw_only=True):
    """Whoever was in it signed out."""

    type = "session.closed.v1"

    session_id: str
    integration_id: str
    partner_id: str


SessionEvent = SessionOpened | SessionClosed


class Session(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    integration_id: str
    partner_id: str
    opened_at: datetime
    expires_at: datetime
    status: Literal["open", "closed"] = "open"

    def is_open(self, now: datetime) -> bool:
        return self.status == "open" and now < self.expires_at


def open_for(link: Link, session_id: str, now: datetime) -> list[SessionEvent]:
    """The session of whoever just redeemed the link."""
    return [
        SessionOpened(
            workspace_id=link.workspace_id,
            session_id=session_id,
            integration_id=link.integration_id,
            partner_id=link.partner_id,
            link_id=link.id,
            expires_at=now + LIFETIME,
        )
    ]


def close(session: Session) -> list[SessionEvent]:
    """It is over. Closing it again changes nothing."""
    if session.status == "closed":
        return []
    return [
        SessionClosed(
            workspace_id=session.workspace_id,
            session_id=session.id,
            integration_id=session.integration_id,
            partner_id=session.partner_id,
        )
    ]


def evolve(state: Session | None, event: SessionEvent, at: datetime) -> Session:
    match event:
        case SessionOpened():
            return Session(
                id=event.session_id,
                workspace_id=event.workspace_id,
                integration_id=event.integration_id,
                partner_id=event.partner_id,
                opened_at=at,
                expires_at=event.expires_at,
            )
        case _ if state is None:
            raise ValueError(f"{event.type} before the session was opened")
        case SessionClosed():
            return msgspec.structs.replace(state, status="closed")
        case _:
            assert_never(event)
