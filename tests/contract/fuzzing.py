"""Requests made up from the OpenAPI document by schemathesis, half of them wrong, and sent to the running system.

They are made before any is sent, from a seed, so that all callers send the same ones and a failure comes again.
"""

import asyncio
import copy
import math
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from schemathesis import APIOperation, Case
from schemathesis import GenerationMode as Mode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from keyfold.domain.cloudevents import BATCH_MEDIA_TYPE
from keyfold.web.services import Services

from .routes import NOWHERE, Things
from .tenant import ORIGIN, app_of

Operation = APIOperation[Any, Any, Any, Any]
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_TIMES = {"since", "until", "from", "to", "at", "issuedBefore", "notBefore", "expiresAt", "time"}
PATIENCE = 20
"""Seconds in which there is an answer to anything that waits for nothing."""
QUIET = 0.03
"""Seconds after which nobody listens to a stream any longer."""


class Asked(NamedTuple):
    """A request as it was sent, and its answer."""

    case: Case[Any]
    request: requests.PreparedRequest
    answer: httpx.Response

    @property
    def succeeded(self) -> bool:
        return self.answer.is_success

    @property
    def _must_fail(self) -> bool:
        """Whether nobody may carry it out, if it is wrong, unless something else is refused first.

        A batch is taken, and each of its events refused for itself; and a number is taken for a time, in Unix seconds,
        though the document doesn't offer it.
        """
        values = [*self.case.query.items(), *(self.case.body.items() if isinstance(self.case.body, dict) else ())]
        has_lax_time = any(name in _TIMES and _is_number(value) for name, value in values)
        has_another_fault = self.answer.status_code in (412, 413)
        return self.case.media_type != BATCH_MEDIA_TYPE and not has_lax_time and not has_another_fault

    def wrong(self) -> str | None:
        """What the document says otherwise."""
        answer = schemathesis.Response(
            status_code=self.answer.status_code,
            headers={name: self.answer.headers.get_list(name) for name in self.answer.headers},
            content=self.answer.content,
            request=self.request,
            elapsed=0.0,
            verify=False,
            encoding=self.answer.encoding,
        )
        try:
            self.case.validate_response(
                answer, checks=[*CHECKS, *([negative_data_rejection] if self._must_fail else [])]
            )
        except FailureGroup as error:
            return f"{error}\n{self.answer.status_code} {self.answer.text[:400]}"
        return None


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Everything that the document describes."""
    schema = schemathesis.openapi.from_dict(dict(document))
    schema.config.generation.update(with_security_parameters=False)
    found: Iterator[Any] = schema.get_all_operations()
    return [each.ok() for each in found]


def cases(operation: Operation, mode: Mode, number: int, *, start: int) -> list[Case[Any]]:
    """Requests for one operation that its description permits, or doesn't."""
    made: list[Case[Any]] = []
    if mode is Mode.NEGATIVE and not _refuses(operation):
        return made

    @seed(start)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(operation.as_strategy(generation_mode=mode))
    def make(case: Case[Any]) -> None:
        made.append(case)

    make()
    return made


def _refuses(operation: Operation) -> bool:
    """Whether anything that it takes can be wrong: any text is the name of something, which may be nowhere."""
    takes = [
        each
        for each in operation.iter_parameters()
        if f"{{{each.name}}}" not in operation.path or each.definition["schema"]["type"] != "string"
    ]
    return bool(takes or [*operation.body])


class Grounding:
    """Puts what there is in the place of what was made up, where a name tells what is meant: most of it would be
    nowhere, and nothing behind the first look would ever be tried."""

    def __init__(self, things: Things, *, seed: int, **known: list[Any]) -> None:
        self._random = random.Random(seed)
        ids = {f"{head}Id": [*[value] * 5, f"{value.partition('_')[0]}_{NOWHERE}"] for head, value in _heads(things)}
        self._known: dict[str, list[Any]] = {**_ANYWHERE, **ids, **known}

    def ground(self, case: Case[Any]) -> Case[Any]:
        """A copy of a case. What is meant to be wrong stays as it is, but is wrong about something that there is."""
        is_right = case.meta is not None and case.meta.generation.mode.is_positive
        headers = case.headers.copy()
        if is_right and "If-Match" in headers and self._random.random() < 0.8:
            headers["If-Match"] = "*"
        filled = self._filled if is_right else self._hurried
        query, body = filled(case.query), filled(case.body)
        if isinstance(body, dict) and case.path.endswith("/pull"):
            body.setdefault("waitSeconds", 0)
        return Case(
            case.operation,
            case.method,
            case.path,
            path_parameters=self._filled(case.path_parameters),
            headers=headers,
            cookies=case.cookies,
            query=query,
            body=body,
            media_type=case.media_type,
            meta=copy.deepcopy(case.meta),
        )

    def _hurried(self, value: Any) -> Any:
        """Without what it would wait for."""
        if not isinstance(value, dict):
            return value
        return {name: _WAITS[name] if name in _WAITS and _is_count(each) else each for name, each in value.items()}

    def _filled(self, value: Any, name: str = "") -> Any:
        match value:
            case dict():
                return {each: self._filled(inner, each) for each, inner in value.items()}
            case list() if value and all(isinstance(each, str) for each in value):
                return [self._filled(each, name.removesuffix("s")) for each in value]
            case list():
                return [self._filled(each) for each in value]
            case _ if name in _WAITS and _is_count(value):
                return _WAITS[name]
            case str() | int() if name in self._known and not isinstance(value, bool) and self._random.random() < 0.9:
                return self._random.choice(self._known[name])
            case _:
                return value


_WAITS = {"minPosition": 1, "waitSeconds": 0}
"""What would have a request wait for something that nobody does."""
_ANYWHERE: dict[str, list[Any]] = {
    "topic": ["app/order/created", "app/order/*", "app/**"],
    "asOf": ["1", "2026-03-01T12:00:00Z", "2999-01-01T00:00:00Z"],
    "after": ["1", 1],
    "cursor": [f"key_{NOWHERE}", f"prt_{NOWHERE}"],
    "since": ["2026-03-01T12:00:00Z"],
    "until": ["2999-01-01T00:00:00Z"],
    "from": ["beginning", "end", "now", "0", "2026-03-01T12:00:00Z"],
    "role": ["viewer", "owner"],
    "consumerName": ["own", "billing"],
    "consumer": ["own", "billing"],
    "sequence": [1],
    "address": ["192.0.2.7", "2001:db8::1"],
    "sourceNetwork": ["192.0.2.0/24", "2001:db8::/32"],
    "expiresAt": ["2031-03-01T12:00:00Z"],
    "notBefore": ["2030-03-01T12:00:00Z"],
}


def _is_number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _is_count(value: Any) -> bool:
    return _is_number(value) and float(value) > 0


def _heads(things: Things) -> list[tuple[str, str]]:
    """`keyId` is a name of the thing `key_id`, and there are others."""
    named = [(name.removesuffix("_id"), value) for name, value in things._asdict().items()]
    other = {"toKey": things.target_id, "parent": things.key_id, "resource": things.partner_id}
    return [*named, *other.items()]


class Impatient:
    """Goes away from a stream that says nothing for a moment, and comes from another address every time: whoever tries
    many unknown keys from one must wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._addresses = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = next(self._addresses)
        scope["client"] = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 4711)
        streams, ended, asked = asyncio.Event(), False, False

        async def listen() -> Any:
            nonlocal asked
            if not asked:
                message = await receive()
                asked = not message.get("more_body", False)
                return message
            await streams.wait()
            await asyncio.sleep(QUIET)
            return {"type": "http.disconnect"}

        async def answer(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                if any(value.startswith(b"text/event-stream") for _, value in message["headers"]):
                    streams.set()
            else:
                ended = not message.get("more_body", False)
            await send(message)

        await self._app(scope, listen, answer)
        if not ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """Sends what is made up to the application as it runs."""
    transport = httpx.ASGITransport(Impatient(app_of(services)))  # type: ignore[arg-type]  # ASGI all the same
    async with httpx.AsyncClient(transport=transport) as opened:
        yield opened


async def ask(api: httpx.AsyncClient, case: Case[Any], headers: Mapping[str, str]) -> Asked:
    """The request as schemathesis would send it, by somebody."""
    said = case.as_transport_kwargs(base_url=ORIGIN, headers=dict(headers))
    request = requests.Request(**said).prepare()
    body: Any = request.body
    sent = httpx.Request(
        request.method or "",
        request.url or "",
        headers=[(name.encode("latin-1"), _bytes(value)) for name, value in request.headers.items()],
        content=body,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            return Asked(case, request, await api.send(sent))
    except TimeoutError:
        raise AssertionError(f"no answer to {case.as_curl_command()}") from None


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
