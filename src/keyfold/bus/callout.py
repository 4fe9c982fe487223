"""The auth callout: a NATS server asks who may come in with an access key, and as what (NATS ADR-26)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import nats.errors
import structlog
from nats.aio.msg import Msg

from keyfold.app.memory import Known
from keyfold.app.patience import in_time
from keyfold.app.ports import Clock
from keyfold.app.verifier import Verifier
from keyfold.bus.accounts import Accounts
from keyfold.bus.connection import Bus
from keyfold.bus.nkeys import claims_of
from keyfold.bus.topology import KeyAccount, key_user_jwt
from keyfold.bus.trust import Generation
from keyfold.domain.attempt import Road
from keyfold.domain.judgement import Question, Subject
from keyfold.domain.permissions import ANYTHING
from keyfold.domain.refusals import Refusal
from keyfold.metrics import CONNECTS

log = structlog.get_logger()

SUBJECT = "$SYS.REQ.USER.AUTH"
QUEUE = "keyfold-api"
SERVER_XKEY = "Nats-Server-Xkey"
PATIENCE = 1.5
"""Seconds until an answer is "no": a server waits 2."""
AT_ONCE = 1_000
"""Requests that a process has under way. To more it says no at once: clients come again."""
MAY_CONNECT = ("valid", "rate-limited")
"""Codes of a verdict with which a key may connect: a rate limits what it does, not where it waits."""


class Refused(Exception):  # noqa: N818  # an answer, not an error
    """Nobody comes in. `code` is for us: the client is told of an authorization violation, and no more."""

    def __init__(self, code: str, key: Known | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.key = key


class Attempt(Protocol):
    """Told of every refused attempt with a key that exists."""

    def __call__(self, subject: Subject, code: str, *, road: Road, address: str | None, at: datetime) -> None: ...


class Callout:
    """Verifies, pushes the key's account, verifies again from the truth, and only then says yes: whatever was decided
    before that is seen, and whatever is decided after that finds the account there to shut.

    `account_of` says what the account of a key is to be like; `on_grant` is told of each key that gets in.
    """

    def __init__(
        self,
        bus: Bus,
        generations: Sequence[Generation],
        *,
        accounts: Accounts,
        account_of: Callable[[Known], Awaitable[KeyAccount]],
        verifier: Verifier,
        clock: Clock,
        on_grant: Callable[[Known], None],
        on_refused: Attempt,
    ) -> None:
        self._bus = bus
        self._generations = generations
        self._accounts = accounts
        self._account_of = account_of
        self._verifier = verifier
        self._clock = clock
        self._on_grant = on_grant
        self._on_refused = on_refused
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._bus.handle(SUBJECT, self._take, queue=QUEUE)

    async def stop(self) -> None:
        """Returns when all that was taken is answered; the others of the group take what comes from now on."""
        await self._bus.release(SUBJECT)
        await asyncio.gather(*self._under_way)

    async def _take(self, message: Msg) -> None:
        task = asyncio.create_task(self._respond(message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _respond(self, message: Msg) -> None:
        server = (message.headers or {}).get(SERVER_XKEY, "")
        generation, request = self._opened(message.data, server)
        if generation is None:
            log.warning("callout.unreadable")  # nobody's who has our keys; the server gives up by itself
            return
        answer: dict[str, Any] = {"type": "authorization_response", "version": 2}
        answer |= await self._answer(request)
        signer = self._generations[0].signer("AUTH")
        answer["issuer_account"] = self._generations[0].identities.auth
        token = signer.jwt(request["user_nkey"], answer, aud=request["server_id"]["id"])
        await self._bus.tell(message.reply, generation.xkey.seal(token.encode(), server))

    def _opened(self, sealed: bytes, server: str) -> tuple[Generation | None, Any]:
        """The request, and the generation that it was sealed for."""
        for generation in self._generations:
            try:
                return generation, claims_of(generation.xkey.open(sealed, server).decode())["nats"]
            except (ValueError, KeyError):
                continue
        return None, None

    async def _answer(self, request: Any) -> dict[str, str]:
        """The user's JWT, or an error that the server logs."""
        host = request["client_info"].get("host") or None
        try:
            async with in_time(PATIENCE):
                token = await self._permit(request, host)
        except (Refused, Refusal) as refusal:
            self._note(refusal, host)
            return {"error": refusal.code}
        except (TimeoutError, nats.errors.Error):
            CONNECTS.labels("unavailable").inc()
            return {"error": "unavailable"}
        except Exception as error:  # whatever it was, the server gets an answer
            log.exception("callout.failed", error=type(error).__name__)
            return {"error": "internal"}
        CONNECTS.labels("valid").inc()
        return {"jwt": token}

    async def _permit(self, request: Any, host: str | None) -> str:
        if len(self._under_way) > AT_ONCE:
            raise Refused("busy")
        options = request["connect_opts"]
        secret = options.get("auth_token") or options.get("pass") or ""
        known = await self._verifier.find(secret, host or "")
        if known is None:
            raise Refused("unknown-key")
        question = Question(address=host)
        verdict = self._verifier.judge(known, question, self._clock())
        code = verdict.code if verdict.code not in MAY_CONNECT or has_events(known.subject) else "kind-without-events"
        if code not in MAY_CONNECT:
            raise Refused(code, known)
        await self._open(known, question, request["server_id"]["id"])
        end = _end(known.subject)
        if end is not None and int(end.timestamp()) <= self._clock().timestamp():
            raise Refused("expired", known)  # within this second; the server counts in whole ones
        return key_user_jwt(self._generations[0], known.subject.key.id, request["user_nkey"], end)

    async def _open(self, known: Known, question: Question, server: str) -> None:
        key_id = known.subject.key.id
        self._on_grant(known)
        await self._accounts.open(await self._account_of(known), server)
        now_known = await self._verifier.truth(key_id)
        code = "unknown-key" if now_known is None else now_known.decision(question, self._clock()).code
        if now_known is None or code != "valid":
            await self._accounts.shut(key_id)
            raise Refused(code, known)
        if now_known.subject != known.subject:  # changed meanwhile
            await self._accounts.open(await self._account_of(now_known), server)

    def _note(self, refusal: Refused | Refusal, host: str | None) -> None:
        CONNECTS.labels(refusal.code).inc()
        key = refusal.key if isinstance(refusal, Refused) else None
        if key is not None:
            self._on_refused(key.subject, refusal.code, road="nats", address=host, at=self._clock())


def has_events(subject: Subject) -> bool:
    """Whether there is anything at NATS for the key: app events, or all lifecycle events of its workspace."""
    key = subject.key
    sees_all = "audit:read" in subject.permissions and key.document.conditions in (None, ANYTHING)
    return key.kind == "service" or sees_all


def _end(subject: Subject) -> datetime | None:
    """When the key, or one that it was delegated by, ends by itself."""
    ends = (end for key in (subject.key, *subject.parents) for end in (key.expires_at, key.retires_at))
    return min((end for end in ends if end is not None), default=None)
