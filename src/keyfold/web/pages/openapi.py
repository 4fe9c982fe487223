"""The OpenAPI 3.1 document: what Litestar derives from the controllers, and what only Keyfold knows.

That is who may call a route, which errors it answers with, which headers it takes and gives, an example of each body,
and names that don't tell how our modules are laid out.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from keyfold.web.auth import EVENTS, MERGE_PATCH, PUBLIC, SESSION
from keyfold.web.pages.errors import UNKNOWN_LINK, problem_responses, problem_schemas
from keyfold.web.pages.examples import EXAMPLES
from keyfold.web.sse import MEDIA_TYPE as EVENT_STREAM
from keyfold.web.v1.common import POSITION
from keyfold.web.v1.event_bodies import CLOUD_EVENT

Json = dict[str, Any]

_GENERIC = re.compile(r"_keyfold\.[a-z0-9_.]+\.([A-Za-z]+)_")


class Route(NamedTuple):
    """One method of one path, with the handler behind it."""

    path: str
    method: str
    handler: HTTPRouteHandler

    @property
    def permission(self) -> str:
        return str(self.handler.opt["permission"])

    @property
    def is_of_link(self) -> bool:
        return "/onboarding/" in self.path

    @property
    def creates(self) -> bool:
        """Whether it makes something, and so takes an Idempotency-Key; a report of a lost key may make another one."""
        return self.handler.status_code == 201 or self.path.endswith("/compromise")

    @property
    def shows_version(self) -> bool:
        """Whether it reads one thing that can be changed."""
        is_one = self.path.endswith(("_id}", "/self", "/workspace")) and "/audit/" not in self.path
        return self.method == "get" and is_one

    @property
    def streams(self) -> bool:
        """Whether it answers with events as they come."""
        return self.handler.media_type == EVENT_STREAM

    @property
    def asks_of_moment(self) -> bool:
        """Whether it can be asked of a moment, which may not have come yet."""
        return "as_of" in self.handler.parsed_fn_signature.parameters or self.path.endswith("/changes")

    @property
    def body(self) -> type[msgspec.Struct] | None:
        field = self.handler.parsed_fn_signature.parameters.get("data")
        inner = field.inner_types[0].annotation if field and field.inner_types else field and field.annotation
        return inner if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else None


def document(app: Litestar) -> Json:
    """The description of the API as plain JSON values."""
    encoded = msgspec.json.encode(app.openapi_schema.to_schema())
    described: Json = _without_ellipses(msgspec.json.decode(_GENERIC.sub(r"_\1", encoded.decode())))
    components = described["components"]
    components["schemas"] |= problem_schemas() | {"CloudEvent": CLOUD_EVENT}
    components["responses"] = problem_responses()
    for at in _routes(app):
        _complete(described["paths"][at.path][at.method], at, components["schemas"])
    described["paths"] = {camel_path(path): item for path, item in described["paths"].items()}
    return described


def _routes(app: Litestar) -> Iterator[Route]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.resolve_include_in_schema() and "permission" in handler.opt:
                    for method in sorted(handler.http_methods):
                        yield Route(route.path_format, method.lower(), handler)


def _complete(operation: Json, at: Route, schemas: Json) -> None:
    operation["operationId"] = _operation_id(operation["summary"])
    operation["description"] = inspect.getdoc(at.handler.fn) or ""
    operation["x-permission"] = at.permission
    if at.permission == PUBLIC:
        operation["security"] = []
    elif at.permission == SESSION:
        operation["security"] = [{"portalSession": []}]
    for parameter in operation.get("parameters", []):
        parameter["name"] = _camel(parameter["name"])
    if taken := [*_request_headers(at)]:
        operation.setdefault("parameters", []).extend(taken)
    if content := at.handler.opt.get("content"):
        operation["requestBody"] = {"required": True, "content": content}
    if at.body is not None:
        _complete_body(operation, at, at.body, schemas)
    success = {status: answer for status, answer in operation["responses"].items() if status < "300"}
    for answer in success.values():
        answer["description"] = "Done" if at.method != "get" else "As it is now"
        if headers := _headers(at):
            answer["headers"] = headers
        answer["content"] |= at.handler.opt.get("also", {})
    problems_of = {
        status: UNKNOWN_LINK if status == 404 and at.is_of_link else f"Problem{status}" for status in _problems(at)
    }
    refused = {str(status): {"$ref": f"#/components/responses/{name}"} for status, name in problems_of.items()}
    operation["responses"] = {**success, **refused}


def _complete_body(operation: Json, at: Route, body: type[msgspec.Struct], schemas: Json) -> None:
    content = operation["requestBody"]["content"]
    content["application/json"]["example"] = EXAMPLES[body]
    if at.method == "patch":
        content[MERGE_PATCH] = content["application/json"]
    schemas[body.__name__]["description"] = inspect.getdoc(body) or ""
    names = {body.__name__}
    while names:  # an unknown field is refused on every level that is ours
        schema = schemas[names.pop()]
        schema["additionalProperties"] = False
        names |= {
            name
            for name in re.findall(r"#/components/schemas/(\w+)", str(schema["properties"]))
            if schemas[name].get("additionalProperties") is not False
        }


def _problems(at: Route) -> Iterator[int]:
    """The statuses of the errors that a route can answer with."""
    yield 400
    if at.permission != PUBLIC:
        yield from (401, 403, 429)
    yield 404
    if _writes(at) or at.path.endswith("/events/test"):
        yield 409
    if at.is_of_link or at.path.endswith(("/withdraw", "/redrive")):
        yield 410
    if at.method in ("post", "patch"):
        yield from (413, 415)
    if at.method == "patch":
        yield from (412, 422, 428)
    if at.creates or at.asks_of_moment:
        yield 422
    yield 503


def _writes(at: Route) -> bool:
    return (
        at.method != "get"
        and (at.permission not in (EVENTS, SESSION) or "records" in at.handler.opt)
        and not at.path.endswith(("/verify", "/explain", "/preview", "/check"))
    )


def _headers(at: Route) -> Json:
    """The headers of an answer to a request that was done."""
    headers = {POSITION: _position_header()} if _writes(at) else {}
    if at.path.endswith("/export"):
        headers = {POSITION: {**_position_header(), "description": "The position up to which it goes."}}
    return {**headers, "ETag": _version_header()} if at.shows_version else headers


def _request_headers(at: Route) -> Iterator[Json]:
    """What a route takes in headers."""
    if at.creates:
        yield _idempotency_key(at)
    if at.method == "patch":
        yield _if_match()
    if at.streams:
        yield _last_event_id()


def _idempotency_key(at: Route) -> Json:
    once = "The same request with the same key is done once, and gets the same answer for 24 hours."
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The id of an event that has none." if at.path.endswith(("/events", "/events/test")) else once,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }


def _if_match() -> Json:
    return {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The `ETag` that the thing was read with: 412 if it has changed since, 428 without this header.",
        "schema": {"type": "string"},
    }


def _last_event_id() -> Json:
    return {
        "name": "Last-Event-ID",
        "in": "header",
        "required": False,
        "description": "The `id` of the last event that came: it goes on behind it. Browsers send it by themselves.",
        "schema": {"type": "string"},
    }


def _version_header() -> Json:
    return {"description": "The version, for `If-Match` of a change.", "schema": {"type": "string"}}


def _position_header() -> Json:
    return {
        "description": "The log's position of this write: lists asked with it as `minPosition` include the write.",
        "schema": {"type": "integer", "minimum": 0},
    }


def _operation_id(summary: str) -> str:
    """`Invite a partner` becomes `invitePartner`."""
    return _camel("_".join(word for word in summary.lower().split() if word not in ("a", "an", "the")))


def _without_ellipses(value: Any) -> Any:
    """Litestar reads the `...` of `tuple[str, ...]` as one more type of item, which would be anything at all."""
    match value:
        case {"oneOf": [one, {**nothing}]} if not nothing:
            return _without_ellipses(one)
        case dict():
            return {name: _without_ellipses(each) for name, each in value.items()}
        case list():
            return [_without_ellipses(each) for each in value]
        case _:
            return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(each.capitalize() for each in rest)


def camel_path(path: str) -> str:
    """A path as clients see it: `{key_id}` becomes `{keyId}`."""
    return re.sub(r"\{(\w+)\}", lambda match: "{" + _camel(match[1]) + "}", path)
