"""What the OpenAPI document says of errors: one response for each status, with the codes that come with it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from keyfold.domain.link import LinkUnknown
from keyfold.domain.refusals import Refusal
from keyfold.web import problems

Json = dict[str, Any]

_TITLES = {
    400: "The request is not valid",
    401: "A valid access key is needed",
    403: "The key lacks a permission",
    404: "Not found",
    409: "In conflict with the state of things",
    410: "The link is over",
    412: "It has changed since it was read",
    413: "The request is too large",
    415: "The content type is not supported",
    422: "The request can't be carried out as it is",
    428: "Say what the change is made from",
    429: "Too many requests",
    503: "Temporarily unavailable",
}
UNKNOWN_LINK = "ProblemUnknownLink"
_FROM_THE_EDGE = {400: {"invalid-json"}, 413: {"body-too-large"}}
"""Codes that no refusal has, since the request never came as far as that."""
_RATES = {
    "RateLimit-Policy": "Each limit by its name, `key` or `workspace`: `q` requests in `w` seconds.",
    "RateLimit": "Of each: `r` requests remain, and `t` seconds are left.",
}
"""Headers of draft-ietf-httpapi-ratelimit-headers. Every answer has them where there is a limit."""


def problem_schemas() -> Json:
    """The shape of all errors."""
    _, schemas = msgspec.json.schema_components([problems.Problem], ref_template="#/components/schemas/{name}")
    schemas["Problem"]["description"] = "RFC 9457. `type` is the address of the section of /docs/errors on this `code`."
    return schemas


def problem_responses() -> Json:
    """One for each status, and one for those routes where there is but one thing that can be unknown."""
    unknown = {LinkUnknown.code}
    responses = {f"Problem{status}": _problem_response(status, codes_of(status) - unknown) for status in _TITLES}
    return {**responses, UNKNOWN_LINK: _problem_response(404, unknown)}


def _problem_response(status: int, codes: set[str]) -> Json:
    named = ", ".join(f"`{code}`" for code in sorted(codes))
    response: Json = {
        "description": f"{_TITLES[status]}: {named}",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if status == 429:
        response["headers"] |= {
            name: {"description": said, "schema": {"type": "string"}} for name, said in _RATES.items()
        }
    return response


def codes_of(status: int) -> set[str]:
    """Every code that comes with a status."""
    return _FROM_THE_EDGE.get(status, set()) | {refusal.code for refusal in refusals() if refusal.status == status}


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """Every refusal there is."""
    for each in kind.__subclasses__():
        yield each
        yield from refusals(each)
