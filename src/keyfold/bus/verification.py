"""Verification by NATS request and reply: the same question and the same answer as over HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from nats.aio.msg import Msg

from keyfold.app.admission import admit
from keyfold.app.limits import Limiter
from keyfold.app.ports import Clock
from keyfold.app.verdicts import VerificationView, VerifyBody, Witness, verified
from keyfold.app.verifier import Verifier
from keyfold.app.work import Cause
from keyfold.bus.connection import Bus
from keyfold.bus.subjects import VERIFY
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Forbidden, Refusal, Unavailable

log = structlog.get_logger()

QUEUE = "keyfold-api"
"""The group of all API processes: one of them answers."""
AT_ONCE = 2_000
"""Requests that a process has under way; more are refused, so that one flood is not everybody's wait."""
STATUS = "Keyfold-Status"
"""The header of an answer: the status that HTTP would give."""

_decode = msgspec.json.Decoder(VerifyBody).decode


class Problem(msgspec.Struct, frozen=True):
    """What is answered instead of a verdict. `code`, `title` and `status` are those of HTTP."""

    code: str
    title: str
    status: int
    detail: str


class VerificationResponder:
    """Answers requests on `keyfold.verify`, for those who show a key with the permission keys:verify in the header
    `Authorization`. Where a request came from isn't known here, so a key that is bound to networks can't ask."""

    def __init__(
        self,
        bus: Bus,
        *,
        verifier: Verifier,
        limiter: Limiter,
        clock: Clock,
        new_id: Callable[[str], str],
        witness: Witness,
    ) -> None:
        self._bus = bus
        self._verifier = verifier
        self._limiter = limiter
        self._clock = clock
        self._new_id = new_id
        self._witness = witness
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._bus.handle(VERIFY, self._take, queue=QUEUE)

    async def stop(self) -> None:
        """Returns when all that was taken is answered; the others of the group take what comes from now on."""
        await self._bus.release(VERIFY)
        await asyncio.gather(*self._under_way)

    async def _take(self, message: Msg) -> None:
        """Doesn't wait for the answer: the next request may be one that memory knows."""
        if not message.reply:
            return
        if len(self._under_way) >= AT_ONCE:
            await self._reply(message, _problem(Unavailable("Too many requests are under way. Try again.")))
            return
        task = asyncio.create_task(self._respond(message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _respond(self, message: Msg) -> None:
        request_id = self._new_id("req")
        answer: VerificationView | Problem
        try:
            answer = await self._answer(message, request_id)
        except Refusal as refusal:
            answer = _problem(refusal)
        except msgspec.ValidationError as error:
            answer = Problem("invalid-request", "The request is not valid", 400, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = Problem("invalid-json", "The body is not valid JSON", 400, "Send a JSON object, as UTF-8.")
        except Exception as error:  # whatever it was, whoever asks gets an answer
            log.exception("verification.failed", request_id=request_id, error=type(error).__name__)
            detail = f"The failure was logged under {request_id}."
            answer = Problem("internal", "Something broke on our side", 500, detail)
        await self._reply(message, answer)

    async def _answer(self, message: Msg, request_id: str) -> VerificationView:
        admission = await admit(self._verifier, self._limiter, (message.headers or {}).get("Authorization"))
        admission.demand_rate()
        by = admission.caller(Cause(Actor(kind="key", id=admission.subject.key.id), request_id))
        if "keys:verify" not in by.permissions:
            raise Forbidden.lacking("keys:verify")
        return await verified(self._verifier, by, _decode(message.data), self._clock(), self._witness)

    async def _reply(self, message: Msg, answer: VerificationView | Problem) -> None:
        # not by `Msg.respond`, which sends the request's headers back, and the key with them
        status = answer.status if isinstance(answer, Problem) else 200
        content: Any = answer if isinstance(answer, Problem) else {"data": answer}
        await self._bus.tell(message.reply, msgspec.json.encode(content), headers={STATUS: str(status)})


def _problem(refusal: Refusal) -> Problem:
    return Problem(refusal.code, refusal.title, refusal.status, str(refusal))
