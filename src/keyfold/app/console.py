"""Signing in to the console: with an account key, or by a one-time link that was made for one."""

from datetime import datetime
from typing import NamedTuple

from keyfold.app.admission import Admission, admission_of
from keyfold.app.limits import Limiter
from keyfold.app.onboarding import Visit
from keyfold.app.verifier import Verifier
from keyfold.app.views import View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain import console
from keyfold.domain.aggregates import CONSOLE, SIGN_IN
from keyfold.domain.console import ConsoleSession
from keyfold.domain.judgement import Question
from keyfold.domain.key_state import Key
from keyfold.domain.link import LinkUnknown
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Invalid, Unauthenticated
from keyfold.domain.tokens import Token, parse_token


class SignInView(View, frozen=True, kw_only=True):
    """`url` holds the token of a sign-in link in its fragment, which reaches no server. It signs in as the key."""

    id: str
    key_id: str
    url: str
    expires_at: datetime


class Visitor(NamedTuple):
    """An open session, and the account key that it stands for."""

    session: ConsoleSession
    admission: Admission


class Console:
    """`public_url` is where operators reach the console."""

    def __init__(self, office: Office, verifier: Verifier, limiter: Limiter, *, public_url: str) -> None:
        self._office = office
        self._verifier = verifier
        self._limiter = limiter
        self._public_url = public_url

    async def issue(self, cause: Cause, key: Key) -> Answer[SignInView]:
        """A link that signs in once as this account key; shown this once. Raises `Invalid` for other keys."""
        _demand_account(key)

        async def command(work: Work) -> SignInView:
            sign_in_id = work.new_id("sgn")
            this = work.append(SIGN_IN, sign_in_id, console.issue(sign_in_id, key.workspace_id, key.id, work.now))
            url = f"{self._public_url}/console/sign-in#{work.mint('kfi', sign_in_id).reveal}"
            return SignInView(id=this.id, key_id=key.id, url=url, expires_at=this.expires_at)

        return await self._office.carry_out(cause, SignInView, command)

    async def sign_in(self, text: str, visit: Visit) -> Token:
        """The token of a new session for whoever shows an account key. Raises `Unauthenticated`, `Invalid`,
        `TooManyFailures`, `RateLimited`, `Unavailable`."""
        question = Question(address=visit.address)
        verdict = await self._verifier.verify(text.strip(), question, client=visit.address)
        return await self._open(_admitted(admission_of(verdict, self._limiter)), visit, None)

    async def redeem(self, text: str, visit: Visit) -> Token:
        """The same for whoever has a sign-in link, which is spent. Raises `LinkUnknown`, `LinkUsed`, `LinkExpired`."""
        token = parse_token(text.strip())
        digest = None if token is None else await self._office.journal.digest(token.id)
        if token is None or token.mark != "kfi" or not self._office.vault.matches(token, digest):
            raise LinkUnknown("No sign-in link has this token. Copy the whole address, to the last character.")
        this = (await self._office.journal.load(SIGN_IN, token.id)).state
        if this is None:
            raise LinkUnknown("No sign-in link has this token. Copy the whole address, to the last character.")
        return await self._open(await self._standing(this.key_id, visit.address), visit, this.id)

    async def enter(self, text: str, address: str) -> Visitor:
        """The open session that the token belongs to, and its key, if that may be used by now. Raises
        `Unauthenticated`, `Unavailable`, `RateLimited`."""
        token = parse_token(text)
        if token is None or token.mark != "kfc":
            raise _no_session()
        digest = self._office.journal.remembered_digest(token.id)
        if digest is None or not self._office.vault.matches(token, digest):
            digest = await self._office.journal.digest(token.id)
        found = (await self._office.journal.load(CONSOLE, token.id)).state
        if not self._office.vault.matches(token, digest) or found is None or not found.is_open(self._office.clock()):
            raise _no_session()
        return Visitor(found, await self._standing(found.key_id, address))

    async def sign_out(self, cause: Cause, session_id: str) -> None:
        """Ends the session. Doing it again changes nothing."""

        async def command(work: Work) -> ConsoleSession:
            this = await work.load(CONSOLE, session_id)
            return work.append(CONSOLE, this.id, console.close(this))

        await self._office.carry_out(cause, ConsoleSession, command)

    async def _standing(self, key_id: str, address: str) -> Admission:
        """How the key stands right now."""
        known = await self._verifier.find_id(key_id)
        if known is None:
            raise _no_session()
        verdict = self._verifier.judge(known, Question(address=address), self._office.clock())
        return _admitted(admission_of(verdict, self._limiter))

    async def _open(self, admission: Admission, visit: Visit, sign_in_id: str | None) -> Token:
        key, session_id, opened = admission.subject.key, self._office.new_id("cns"), list[Token]()

        async def command(work: Work) -> ConsoleSession:
            because = None
            if sign_in_id is not None:
                link = await work.load(SIGN_IN, sign_in_id)
                work.append(SIGN_IN, sign_in_id, console.use(link, session_id, work.now))
                because = work.newest(sign_in_id)
            events = console.open_for(session_id, key.workspace_id, key.id, work.now, sign_in_id)
            opened[:] = [work.mint("kfc", session_id)]
            return work.append(CONSOLE, session_id, events, because=because)

        actor = Actor(kind="key", id=key.id, address=visit.address, session=session_id)
        await self._office.carry_out(Cause(actor, visit.correlation_id, subject=key.subject), ConsoleSession, command)
        return opened[0]


def _admitted(admission: Admission) -> Admission:
    _demand_account(admission.subject.key)
    admission.demand_rate()
    return admission


def _demand_account(key: Key) -> None:
    if key.kind != "account":
        raise Invalid("The console is for account keys. This is a key of another kind.")


def _no_session() -> Unauthenticated:
    return Unauthenticated("There is no open session. Sign in.")
