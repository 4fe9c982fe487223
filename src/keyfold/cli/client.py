"""Keyfold over HTTP, for commands: JSON in, the answer's data out, and every refusal as one line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import click
import httpx
import msgspec

TIMEOUT = httpx.Timeout(30, read=None)
"""Reading waits for as long as the answer takes: a bulk command of thousands streams its progress."""
PAGE = 200


class Refused(click.ClickException):
    """What the server said no with. `code` is the problem's, `status` that of HTTP."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        detail = problem.get("detail") or f"The server answered {status}."
        errors = [f"{_place(each['pointer'])}: {each['detail']}" for each in problem.get("errors", [])]
        super().__init__(" ".join([detail, *errors]))


class Client:
    """A client with a key. Raises `click.ClickException` when the server refuses or can't be reached."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        headers = {"Authorization": f"Bearer {key}"}
        with self._reaching():
            # without TLS there are no certificates to read, which takes longer than most commands
            self._http = httpx.Client(
                base_url=url, headers=headers, timeout=TIMEOUT, verify=not url.startswith("http:")
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **params: object) -> Any:
        return self._answer("GET", path, params=_given(params))["data"]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer("POST", path, json=body)["data"]

    def delete(self, path: str) -> Any:
        return self._answer("DELETE", path)["data"]

    def read(self, path: str) -> tuple[Any, str]:
        """A thing and its ETag."""
        with self._reaching():
            response = self._http.get(path)
        return _checked(response)["data"], response.headers["ETag"]

    def patch(self, path: str, body: dict[str, Any], etag: str) -> Any:
        """A merge patch of what was read with this ETag."""
        return self._answer("PATCH", path, json=body, headers={"If-Match": etag})["data"]

    def pages(self, path: str, limit: int | None, **params: object) -> Iterator[Any]:
        """The items of a list, `limit` at the most, read a page at a time."""
        cursor = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(PAGE, limit)
            page = self._answer("GET", path, params=_given({**params, "limit": size, "cursor": cursor}))
            yield from page["data"]
            limit = None if limit is None else limit - len(page["data"])
            cursor = page["nextCursor"]
            if cursor is None:
                return

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[Any]:
        """The lines of an answer in NDJSON, each as it comes."""
        headers = {"Accept": "application/x-ndjson"}
        with self._reaching(), self._http.stream("POST", path, json=body, headers=headers) as response:
            if response.is_error:
                response.read()
                _checked(response)
            for line in response.iter_lines():
                if line:
                    yield msgspec.json.decode(line)

    @contextmanager
    def download(self, path: str, **params: object) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The position up to which an answer goes, and its body as it comes."""
        with self._reaching(), self._http.stream("GET", path, params=_given(params)) as response:
            if response.is_error:
                response.read()
                _checked(response)
            try:
                yield int(response.headers["Keyfold-Position"]), response.iter_bytes()
            except httpx.RemoteProtocolError as error:
                raise click.ClickException("It was cut off. What is whole is kept: run it again to go on.") from error

    def follow(self, path: str, after: int | None, **params: object) -> Iterator[Any]:
        """What a stream of server-sent events tells, behind a position or from now on, again and again after breaks."""
        while True:
            try:
                for each in self._told(path, _given({**params, "after": after})):
                    after = each["position"]
                    yield each
            except httpx.TransportError:
                pass
            time.sleep(1)

    def _told(self, path: str, params: dict[str, Any]) -> Iterator[Any]:
        with self._http.stream("GET", path, params=params) as response:
            if response.is_error:
                response.read()
                _checked(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield msgspec.json.decode(line[6:])

    def _answer(self, method: str, path: str, **more: Any) -> Any:
        with self._reaching():
            response = self._http.request(method, path, **more)
        return _checked(response)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise click.ClickException(f"{self.url} doesn't answer: {type(error).__name__}.") from error


def _checked(response: httpx.Response) -> Any:
    try:
        content = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        content = {}
    if response.is_success and isinstance(content, dict) and "data" in content:
        return content
    raise Refused(response.status_code, content if isinstance(content, dict) else {})


def _given(params: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _place(pointer: str) -> str:
    return pointer.lstrip("/?")
