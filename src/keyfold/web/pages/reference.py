"""The API reference: the OpenAPI document turned into what its template shows."""

import json
from typing import Any
from urllib.parse import urlsplit

import msgspec
from markupsafe import Markup, escape

from keyfold.web.auth import PUBLIC, SESSION
from keyfold.web.pages.handbook import inline, prose
from keyfold.web.sessions import SESSION_COOKIE

Json = dict[str, Any]

_REF = "#/components/schemas/"


class Field(msgspec.Struct, frozen=True):
    """A parameter, or a field of a body. `kind` and `description` are HTML."""

    name: str
    place: str
    required: bool
    kind: Markup
    description: Markup


class Answer(msgspec.Struct, frozen=True):
    status: str
    description: Markup
    kind: Markup


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `permission` is None for a route that needs no key."""

    id: str
    method: str
    path: str
    summary: str
    description: Markup
    permission: str | None
    parameters: list[Field]
    body: "Shape | None"
    answers: list[Answer]
    curl: str

    @property
    def refusals(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status >= "400"]

    @property
    def successes(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status < "400"]


class Shape(msgspec.Struct, frozen=True):
    """An object that the API takes or gives."""

    name: str
    description: Markup
    fields: list[Field]


def operations_by_tag(document: Json, url: str) -> dict[str, list[Operation]]:
    """Every operation, in the order of the document, under the name of its group."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(document, url, path, method, operation))
    return groups


def shapes(document: Json) -> list[Shape]:
    """Every object that isn't a mere envelope."""
    schemas = document["components"]["schemas"]
    return [_shape(name, schema) for name, schema in sorted(schemas.items()) if not _is_envelope(name)]


def _operation(document: Json, url: str, path: str, method: str, operation: Json) -> Operation:
    contents: Json = operation.get("requestBody", {}).get("content", {})
    media_type, content = next(iter(contents.items()), ("", None))
    body = None
    if content:
        name = content["schema"]["$ref"].removeprefix(_REF)
        body = _shape(name, document["components"]["schemas"][name])
    permission = operation["x-permission"]
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=prose(operation["description"]),
        permission=None if permission == PUBLIC else permission,
        parameters=[_parameter(each) for each in operation.get("parameters", [])],
        body=body,
        answers=[_answer(document, status, answer) for status, answer in operation["responses"].items()],
        curl=_curl(url + path, method.upper(), permission, media_type, content),
    )


def _parameter(parameter: Json) -> Field:
    return Field(
        name=parameter["name"],
        place=parameter["in"],
        required=parameter.get("required", False),
        kind=_kind(parameter["schema"]),
        description=inline(parameter.get("description") or ""),
    )


def _shape(name: str, schema: Json) -> Shape:
    required = schema.get("required", [])
    fields = [
        Field(field, "body", field in required, _kind(of), inline(of.get("description") or ""))
        for field, of in schema.get("properties", {}).items()
    ]
    return Shape(name, inline(schema.get("description") or ""), fields)


def _answer(document: Json, status: str, answer: Json) -> Answer:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    kinds = [_kind(content["schema"], document) for content in answer.get("content", {}).values()]
    return Answer(status, inline(answer["description"]), kinds[0] if kinds else Markup())


def _kind(schema: Json, document: Json | None = None) -> Markup:
    """A schema in words, such as `array of string` or `string, 1 to 256 characters, or null`."""
    if "$ref" in schema:
        return _named(schema["$ref"].removeprefix(_REF), document)
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        words = Markup(" or ").join(_kind(each, document) for each in choices)
    elif "enum" in schema:
        words = Markup(" or ").join(Markup("<code>{}</code>").format(json.dumps(each)) for each in schema["enum"])
    elif schema.get("type") == "array":
        words = Markup("array of {}").format(_kind(schema["items"], document))
    elif isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        words = Markup("object of {}").format(_kind(schema["additionalProperties"], document))
    else:
        words = escape(schema.get("format") or schema.get("type", "any value"))
    return words + escape(_limits(schema))


def _named(name: str, document: Json | None) -> Markup:
    """A link to a shape. An envelope is shown as what it holds."""
    if document and _is_envelope(name):
        properties = document["components"]["schemas"][name]["properties"]
        inside = Markup(", ").join(
            Markup('"{}": {}').format(field, _kind(schema, document)) for field, schema in properties.items()
        )
        return Markup("{{{}}}").format(inside)
    return Markup('<a href="#{0}">{0}</a>').format(name)


def _limits(schema: Json) -> str:
    least, most = schema.get("minLength"), schema.get("maxLength")
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = ""
    if most is not None:
        limits += f", {least} to {most} characters" if least else f", at most {most} characters"
    if low is not None or high is not None:
        limits += f", {low:.0f} to {high:.0f}" if low is not None and high is not None else f", {low or 0:.0f} or more"
    if "default" in schema:
        limits += f", {json.dumps(schema['default'])} by default"
    return limits


def _is_envelope(name: str) -> bool:
    return name.startswith(("Envelope_", "ListEnvelope_"))


def _curl(url: str, method: str, permission: str, media_type: str, content: Json | None) -> str:
    """A request that can be pasted into a shell, in which the key is a variable."""
    lines = [f"curl '{url}'" if method in ("GET", "POST") else f"curl -X {method} '{url}'"]
    if permission == SESSION:
        lines.append(f'-b "{SESSION_COOKIE}=$SESSION"')
        if method != "GET":
            lines.append(f"-H 'Origin: {'://'.join(urlsplit(url)[:2])}'")
    elif permission != PUBLIC:
        lines.append('-H "Authorization: Bearer $KEY"')
    if content:
        body = json.dumps(content["example"], ensure_ascii=False)
        lines += [f"-H 'Content-Type: {media_type}'", f"-d '{body}'"]
    return " \\\n  ".join(lines)
