"""The shortcut: the commonest question, whether a key that is in memory may be used, answered without the framework."""

import time
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from prometheus_client import Counter

from keyfold.app.memory import Known
from keyfold.app.verdicts import VerifyBody, verification
from keyfold.app.verifier import Verdict
from keyfold.domain.judgement import Question, Subject
from keyfold.domain.refusals import Refusal
from keyfold.metrics import VERIFICATIONS
from keyfold.web.edge import SECURITY_HEADERS, request_id_of, timer
from keyfold.web.services import Services
from keyfold.web.v1.common import Envelope

PATH = "/api/v1/keys/verify"
_decode = msgspec.json.Decoder(VerifyBody).decode
_encode = msgspec.json.Encoder().encode
_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *SECURITY_HEADERS]


class Shortcut:
    """Whatever isn't exactly that question goes the ordinary way, which gives the same answers: errors, keys that must
    be looked up, callers with a rate or with conditions. Its requests are counted like all others, and not logged."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"] != PATH or scope["method"] != "POST" or _asks(scope):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        first: Any = await receive()
        whole = first["type"] == "http.request" and not first.get("more_body")
        now = self._services.clock()
        body = self._answer(scope, first["body"], now) if whole else None
        if body is None:
            await self._app(scope, _once(first, receive), send)
            return
        request_id = request_id_of(scope, now, self._services.entropy)
        more = [(b"x-request-id", request_id.encode()), (b"content-length", str(len(body)).encode())]
        start: Any = {"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *more]}
        end: Any = {"type": "http.response.body", "body": body}
        await send(start)
        await send(end)
        timer("POST", PATH, 200).observe(time.perf_counter() - started)

    def _answer(self, scope: Any, body: bytes, now: datetime) -> bytes | None:
        """The answer's body, or None when it must be found the ordinary way."""
        verifier, client, token = self._services.verifier, scope["client"], _bearer(scope["headers"])
        asking = verifier.recall(token) if token and client else None
        if asking is None or not _is_plain(asking.subject):
            return None
        try:
            data = _decode(body)
            question = data.question()
        except (msgspec.MsgspecError, Refusal, UnicodeDecodeError, RecursionError):
            return None
        asked = verifier.recall(data.key)
        if asked is None or asked.subject.key.workspace_id != asking.subject.key.workspace_id:
            return None
        asker = Question(address=client[0])
        if asking.decision(asker, now).code != "valid":
            return None
        verifier.judge(asking, asker, now)
        witness = self._services.witness
        witness.asked(asking.subject.key, client[0], now)
        verdict = verifier.judge(asked, question, now)
        witness.found(verdict, question.address, now)
        _counter(verdict.code).inc()
        known = asked.answers.get(question) if verdict.standing is None else None
        return known or _encoded(asked, question, verdict, now)


def _encoded(asked: Known, question: Question, verdict: Verdict, now: datetime) -> bytes:
    """The answer, which is kept where it tells of neither a rate nor a remaining time."""
    view = verification(verdict, now)
    body = _encode(Envelope(view))
    if verdict.standing is None and view.remaining_seconds is None:
        asked.answers[question] = body
    return body


def _is_plain(subject: Subject) -> bool:
    """Whether a caller may verify every key of its workspace, as often as it likes."""
    limited = subject.rate or subject.workspace_rate or subject.key.document.conditions
    return "keys:verify" in subject.permissions and not limited


def _bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The access key of a request with a JSON body."""
    token = None
    is_json = False
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            token = value[7:].decode("latin-1")
        elif name == b"content-type":
            is_json = value == b"application/json"
    return token if is_json else None


def _asks(scope: Any) -> bool:
    """Whether it has parameters: it takes none."""
    return bool(scope["query_string"])


def _once(first: Any, receive: Receive) -> Receive:
    """As if nobody had read the first message."""
    waiting = [first]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again


@cache
def _counter(code: str) -> Counter:
    return VERIFICATIONS.labels(code)
