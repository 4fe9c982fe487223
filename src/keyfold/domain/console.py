"""The console's sessions: how an account key is known in a browser, and the one-time links that sign one in.

A session stands for the account key that opened it, and may never do more than that key may at that moment.
"""

from datetime import datetime, timedelta
from typing import Literal, assert_never

import msgspec

from keyfold.domain.link import LinkExpired, LinkUsed
from keyfold.domain.record import Event

LIFETIME = timedelta(hours=12)
SIGN_IN_LIFETIME = timedelta(minutes=15)
"""How long a sign-in link can be used."""


class SignInIssued(Event, frozen=True, kw_only=True):
    type = "sign-in.issued.v1"

    sign_in_id: str
    key_id: str
    expires_at: datetime


class SignInUsed(Event, frozen=True, kw_only=True):
    type = "sign-in.used.v1"

    sign_in_id: str
    key_id: str
    session_id: str


class ConsoleOpened(Event, frozen=True, kw_only=True):
    """`sign_in_id` is that of the link, if it wasn't the key itself that was shown."""

    type = "console.opened.v1"

    session_id: str
    key_id: str
    expires_at: datetime
    sign_in_id: str | None = None


class ConsoleClosed(Event, frozen=True, kw_only=True):
    """Whoever was in it signed out."""

    type = "console.closed.v1"

    session_id: str
    key_id: str


SignInEvent = SignInIssued | SignInUsed
ConsoleEvent = ConsoleOpened | ConsoleClosed


class SignIn(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    key_id: str
    expires_at: datetime
    status: Literal["open", "used"] = "open"


class ConsoleSession(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    key_id: str
    opened_at: datetime
    expires_at: datetime
    status: Literal["open", "closed"] = "open"

    def is_open(self, now: datetime) -> bool:
        return self.status == "open" and now < self.expires_at


def issue(sign_in_id: str, workspace_id: str, key_id: str, now: datetime) -> list[SignInEvent]:
    """A link that signs in whoever has it as this key."""
    expires_at = now + SIGN_IN_LIFETIME
    return [SignInIssued(workspace_id=workspace_id, sign_in_id=sign_in_id, key_id=key_id, expires_at=expires_at)]


def use(this: SignIn, session_id: str, now: datetime) -> list[SignInEvent]:
    """Spends the link. Raises `LinkUsed`, `LinkExpired`."""
    if this.status == "used":
        raise LinkUsed("This sign-in link has been used. Ask for another one.")
    if now >= this.expires_at:
        raise LinkExpired("This sign-in link is too old. Ask for another one.")
    return [SignInUsed(workspace_id=this.workspace_id, sign_in_id=this.id, key_id=this.key_id, session_id=session_id)]


def open_for(
    session_id: str, workspace_id: str, key_id: str, now: datetime, sign_in_id: str | None = None
) -> list[ConsoleEvent]:
    """The session of whoever has shown this key, or used a link for it."""
    return [
        ConsoleOpened(
            workspace_id=workspace_id,
            session_id=session_id,
            key_id=key_id,
            sign_in_id=sign_in_id,
            expires_at=now + LIFETIME,
        )
    ]


def close(this: ConsoleSession) -> list[ConsoleEvent]:
    """It is over. Closing it again changes nothing."""
    if this.status == "closed":
        return []
    return [ConsoleClosed(workspace_id=this.workspace_id, session_id=this.id, key_id=this.key_id)]


def evolve_sign_in(state: SignIn | None, event: SignInEvent, at: datetime) -> SignIn:
    match event:
        case SignInIssued():
            return SignIn(event.sign_in_id, event.workspace_id, event.key_id, event.expires_at)
        case _ if state is None:
            raise ValueError(f"{event.type} before the link was issued")
        case SignInUsed():
            return msgspec.structs.replace(state, status="used")
        case _:
            assert_never(event)


def evolve(state: ConsoleSession | None, event: ConsoleEvent, at: datetime) -> ConsoleSession:
    match event:
        case ConsoleOpened():
            return ConsoleSession(event.session_id, event.workspace_id, event.key_id, at, event.expires_at)
        case _ if state is None:
            raise ValueError(f"{event.type} before the session was opened")
        case ConsoleClosed():
            return msgspec.structs.replace(state, status="closed")
        case _:
            assert_never(event)
