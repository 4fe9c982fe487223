"""Errors as `application/problem+json` (RFC 9457): a stable code, the offending field, what to do, the request's id."""

import math
import re
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from keyfold.app.limits import TooManyFailures
from keyfold.domain.refusals import Refusal, Unauthenticated, Unavailable

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`\Z")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_ANY_NAME = "[...]"
"""How msgspec says that a value stands under some name of an object with free names; it doesn't say which."""
_HUNG_UP = "client disconnected prematurely"
"""What Litestar calls a failure of the server when a client is gone before its body was read; nobody is answered."""
_BY_STATUS = {
    400: ("invalid-request", "The request is not valid"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "This method is not for this address"),
    413: ("body-too-large", "The request is too large"),
    415: ("unsupported-media-type", "The content type is not supported"),
}


class FieldError(msgspec.Struct, frozen=True):
    """`pointer` is a JSON pointer (RFC 6901) into the request's body, or `?name` for a query parameter."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] = []


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The answer to whatever a handler raised. Nothing that isn't meant for the client gets into it."""
    request_id = str(request.scope.get("request_id", ""))
    problem = problem_of(error, request_id)
    status = problem.status
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="keyfold"'
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
    elif isinstance(error, TooManyFailures):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    elif status == 405:
        headers["Allow"] = _allowed(request)
    if status == 500:
        log.error("request.failed", request_id=request_id, error=type(error).__name__, exc_info=error)
    return Response(problem, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(error: Exception, request_id: str) -> Problem:
    """What the client is told of whatever was raised."""
    title, status, detail, code, errors = _describe(error)
    return Problem(
        type=f"/docs/errors#{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        errors=errors,
    )


def _describe(error: Exception) -> tuple[str, int, str, str, list[FieldError]]:
    match error:
        case Refusal():
            return error.title, error.status, str(error), error.code, [FieldError(*each) for each in error.fields]
        case RecursionError() | UnicodeDecodeError():  # by msgspec, which has no exceptions of its own for these
            too_deep = isinstance(error, RecursionError)
            detail = "The JSON is nested too deeply." if too_deep else "The JSON is not UTF-8."
            return _BY_STATUS[400][1], 400, detail, "invalid-json", []
        case HTTPException() if _is_of_a_value(error):
            return _wrong(_field(error.__cause__))
        case HTTPException() if error.status_code == 400 or error.detail == _HUNG_UP:
            return "The body is not valid JSON", 400, error.detail, "invalid-json", []
        case HTTPException() if error.status_code in _BY_STATUS:
            code, title = _BY_STATUS[error.status_code]
            return title, error.status_code, _hints(error.status_code), code, []
        case _:
            return "Something broke on our side", 500, "The failure was logged under the request id.", "internal", []


def _is_of_a_value(error: HTTPException) -> bool:
    """Whether something in the request has the wrong value, or a parameter that there has to be isn't there."""
    missing = isinstance(error, ValidationException) and isinstance(error.__cause__, KeyError)
    return missing or isinstance(error.__cause__, msgspec.ValidationError)


def _wrong(field: FieldError) -> tuple[str, int, str, str, list[FieldError]]:
    """What is said of a request whose content is wrong there."""
    if field.pointer.startswith("?") and "RFC3339" in field.detail:
        field = FieldError(field.pointer, f"{field.detail}: such as 2026-03-01T12:00:00Z, and with %2B for a +")
    detail = f"{field.pointer}: {field.detail}" if field.pointer else field.detail
    return _BY_STATUS[400][1], 400, detail, "invalid-request", [field]


def _hints(status: int) -> str:
    return {
        404: "There is nothing at this address. The API is described at /docs/api.",
        405: "The header Allow names the methods that this address takes.",
        413: "The body may have 256 KiB at the most, that of events 1 MiB.",
        415: "Send the body as application/json.",
    }.get(status, "")


def _field(cause: BaseException | None) -> FieldError:
    """What msgspec says of a value, as a pointer and a sentence: its path begins with the handler's own parameter."""
    if isinstance(cause, KeyError):  # by Litestar, of a parameter that there has to be
        return FieldError(f"?{cause.args[0]}", "This parameter is required.")
    message = str(cause)
    place = _PLACE.search(message)
    path, text = (place["path"], message[: place.start()]) if place else ("", message)
    known, inside, _ = path.partition(_ANY_NAME)
    names = [name for name in re.split(r"[.\[\]]+", known) if name]
    if inside:
        return FieldError(_pointer(names), text)
    if named := _UNKNOWN.fullmatch(text):
        return FieldError(_pointer(names, named["name"]), "There is no such field; leave it out.")
    if named := _MISSING.fullmatch(text):
        if not names and named["name"] == "data":
            return FieldError("", "The body is empty; send a JSON object.")
        return FieldError(_pointer(names, named["name"]), "This field is required.")
    return FieldError(_pointer(names), text)


def _pointer(names: list[str], *last: str) -> str:
    if names[:1] == ["data"] or last[-1:] == ("data",):
        parts = [*names[1:], *(each for each in last if each != "data" or names)]
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    # a query parameter is named as the handler's own: `min_position` is `minPosition`, `type_` is `type`
    return "?" + re.sub(r"_([a-z]?)", lambda match: match[1].upper(), ".".join([*names, *last]))


def _allowed(request: Request[Any, Any, Any]) -> str:
    matching = [route for route in request.app.routes if _matches(route.path_format, request.scope["path"])]
    # a route that spells the path out wins over one with parameters
    route = min(matching, key=lambda each: each.path_format.count("{"), default=None)
    return ", ".join(sorted(getattr(route, "methods", ())))


def _matches(path_format: str, path: str) -> bool:
    pattern = re.sub(r"\{[^}]+\}", "[^/]+", path_format)
    return re.fullmatch(pattern, path.rstrip("/") or "/") is not None
