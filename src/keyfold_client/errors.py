"""What goes wrong, as Keyfold says it. No error shows a key."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may well succeed."""


class FieldError(NamedTuple):
    """`pointer` is a JSON pointer into what was sent, or `?name` for a query parameter."""

    pointer: str
    detail: str


class KeyfoldError(Exception):
    """Keyfold said no. `code` is stable and explained at `/docs/errors#<code>`; `status` is that of HTTP.

    `request_id` finds the request in Keyfold's logs; `errors` says what is wrong with which field; `retry_after` is in
    seconds.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.errors = errors
        self.retry_after = retry_after

    def __str__(self) -> str:
        fields = "".join(f" [{each.pointer}] {each.detail}" for each in self.errors)
        return f"{self.detail}{fields} ({self.code})"

    @property
    def is_transient(self) -> bool:
        """Whether trying again makes sense."""
        return self.status in TRANSIENT


class KeyRefused(KeyfoldError):  # noqa: N818  # an answer like any other
    """The key is not valid here and now: unknown, suspended, expired, revoked, or from a network it isn't for."""


class Unreachable(KeyfoldError):  # noqa: N818
    """Neither yes nor no came back. Whether something was done isn't known."""

    def __init__(self, detail: str) -> None:
        super().__init__("unreachable", detail)

    @property
    def is_transient(self) -> bool:
        return True


class _Field(msgspec.Struct):
    pointer: str = ""
    detail: str = ""


class _Problem(msgspec.Struct, rename="camel"):
    """The members of `application/problem+json` that are used (RFC 9457)."""

    code: str = ""
    detail: str = ""
    title: str = ""
    request_id: str | None = None
    errors: list[_Field] = []


class _Refusal(msgspec.Struct):
    """The error in an answer of JetStream's shape."""

    code: int
    description: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    """An answer over NATS that is an error."""

    error: _Refusal
    code: str = ""
    request_id: str | None = None
    errors: list[_Field] = []


def of_response(status: int, body: bytes, headers: Mapping[str, str]) -> KeyfoldError:
    """The error in an HTTP answer, whoever on the way it comes from."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    return (KeyRefused if status == 401 else KeyfoldError)(
        problem.code or f"http-{status}",
        problem.detail or problem.title or f"The answer has the status {status}.",
        status=status,
        request_id=problem.request_id or headers.get("x-request-id"),
        errors=_fields(problem.errors),
        retry_after=_seconds(headers.get("retry-after")),
    )


def of_answer(payload: bytes) -> KeyfoldError | None:
    """The error in an answer over NATS, if it is one."""
    if b'"error"' not in payload:
        return None
    try:
        answer = msgspec.json.decode(payload, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return (KeyRefused if answer.error.code == 401 else KeyfoldError)(
        answer.code or f"nats-{answer.error.code}",
        answer.error.description,
        status=answer.error.code,
        request_id=answer.request_id,
        errors=_fields(answer.errors),
    )


def _fields(given: list[_Field]) -> tuple[FieldError, ...]:
    return tuple(FieldError(each.pointer, each.detail) for each in given)


def _seconds(header: str | None) -> float | None:
    """A `Retry-After` in seconds; one that is a date counts as none."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
