"""The outermost layer: request ids, the access log and metrics of every answer, 404 and 405 included."""

import re
import time
from datetime import datetime
from functools import cache
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

from keyfold.app.ports import Clock, Entropy
from keyfold.domain import ids
from keyfold.metrics import REQUESTS

log = structlog.get_logger()

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/=+-]{1,128}")
_QUIET = ("/health/", "/metrics")
_POLICY = b"content-security-policy"


def content_security_policy(frame_ancestors: str = "'none'") -> str:
    """Nothing inline, nothing from elsewhere but pictures. A page that may be framed says by whom."""
    return (
        "default-src 'self'; img-src 'self' data: https:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {frame_ancestors}"
    )


SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (_POLICY, content_security_policy().encode()),
]


class Edge:
    """Wraps the application. A client's own `X-Request-Id` is kept if it is a harmless one. Logs paths, never queries,
    bodies, tokens or headers."""

    def __init__(self, app: ASGIApp, *, clock: Clock, entropy: Entropy) -> None:
        self._app = app
        self._clock = clock
        self._entropy = entropy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:  # nothing here takes a WebSocket: the application says so
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope, self._clock(), self._entropy)
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                has_policy = any(name.lower() == _POLICY for name, _ in given)
                security = SECURITY_HEADERS[:-1] if has_policy else SECURITY_HEADERS
                headers = [(b"x-request-id", request_id.encode()), *security, *_rates(scope)]
                message["headers"] = [*given, *headers]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._note(scope, request_id, status, time.perf_counter() - started)

    def _note(self, scope: Any, request_id: str, status: int, seconds: float) -> None:
        route = scope.get("path_template") or "none"
        timer(scope["method"], route, status).observe(seconds)
        if not scope["path"].startswith(_QUIET):
            log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
            )


def _rates(scope: Any) -> list[tuple[bytes, bytes]]:
    """How the caller stands with its rates, as far as the guard has counted the request."""
    named: dict[str, str] = scope.get("rate_headers") or {}
    return [(name.lower().encode(), value.encode()) for name, value in named.items()]


def request_id_of(scope: Any, now: datetime, entropy: Entropy) -> str:
    """The client's own id for the request if it is a harmless one, or else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return ids.new_id("req", now, entropy(ids.ENTROPY))


@cache
def timer(method: str, route: str, status: int) -> Histogram:
    """What times the requests of a route."""
    return REQUESTS.labels(method, route, status)
