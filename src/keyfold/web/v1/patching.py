"""Changes by merge patch (RFC 7396), each made from what was read: the header `If-Match` says from which version."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import ValidationException

from keyfold.app.work import PreconditionFailed
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.merging import merge_patch
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.web.v1.common import etag, seen

S = TypeVar("S")
B = TypeVar("B", bound=msgspec.Struct)
_ETAGS = re.compile(r'\s*(?:\*|(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*)\s*')


class PreconditionRequired(Refusal):
    code, status, title = "precondition-required", 428, "Say what the change is made from"


async def patched(
    request: Request[Any, Any, Any],
    aggregate: Aggregate[S],
    of: str,
    patch: msgspec.Struct,
    document: Callable[[S], B],
) -> tuple[B, int]:
    """The document of a thing with the patch merged into it, and the version that it was at. Raises `NotFound`,
    `PreconditionRequired`, `PreconditionFailed`, `Invalid`."""
    state, version = await seen(request, aggregate, of)
    demand_match(request.headers.get("if-match"), version)
    given = msgspec.to_builtins(patch)
    current = document(state)
    return decoded(type(current), merge_patch(msgspec.to_builtins(current), given)), version


def demand_match(given: str | None, version: int) -> None:
    """That the header `If-Match` names this version. Raises `PreconditionRequired`, `PreconditionFailed`, `Invalid`."""
    if given is None:
        raise PreconditionRequired(
            "Send the ETag that the thing was read with in the header If-Match, so that nobody's change is undone."
        )
    if not _ETAGS.fullmatch(given):
        raise Invalid("The header If-Match takes the ETag as it was given, in its quotes.")
    if given.strip() != "*" and etag(version) not in re.findall(r'(?:W/)?"[^"]*"', given):
        raise PreconditionFailed("Somebody has changed it since. Read it again, and decide anew.")


def decoded(kind: type[B], merged: Any) -> B:
    """What came of the patch, judged like a body that came as a whole."""
    inside = msgspec.defstruct("Inside", [("data", kind)])
    try:
        found: Any = msgspec.convert({"data": merged}, inside)
    except msgspec.ValidationError as error:
        raise ValidationException from error
    else:
        whole: B = found.data
        return whole
