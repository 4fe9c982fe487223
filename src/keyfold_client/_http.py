"""Requests over HTTP, each with the key of now."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from keyfold_client._keyring import Keyring
from keyfold_client.errors import KeyfoldError, Unreachable, of_response

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds until a request that doesn't wait on purpose counts as lost."""


class Http:
    """`transport` is for tests."""

    def __init__(self, url: str, keyring: Keyring, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._keyring = keyring
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            timeout=TIMEOUT,
            transport=transport,
            headers={"User-Agent": "keyfold-client"},
            limits=httpx.Limits(max_connections=100, keepalive_expiry=30),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, kind: type[T], **more: Any) -> T:
        """What the answer's `data` is. One try, and another if the key has turned meanwhile. `waits=False` doesn't wait
        for a rotation. Raises `KeyfoldError`."""
        response = await self._sent(method, path, **more)
        try:
            return msgspec.json.decode(response.content, type=Envelope[kind]).data  # type: ignore[valid-type]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Unreachable(f"What {path} answered with isn't of Keyfold's making.") from None

    async def _sent(
        self, method: str, path: str, *, body: Any = None, waits: bool = True, timeout: float = TIMEOUT, **more: Any
    ) -> httpx.Response:
        headers = more.pop("headers", {})
        if body is not None:
            more["content"] = msgspec.json.encode(body)
            headers = {"Content-Type": "application/json", **headers}
        while True:
            key = self._keyring.secret
            try:
                response = await self._client.request(
                    method, path, headers={**headers, **_authorization(key)}, timeout=timeout, **more
                )
            except httpx.HTTPError as error:
                raise Unreachable(f"Keyfold can't be reached over HTTP: {type(error).__name__}.") from None
            if response.is_success:
                return response
            if response.status_code == 401 and waits and await self._keyring.has_turned(key):
                continue
            raise of_response(response.status_code, response.content, response.headers)

    @asynccontextmanager
    async def stream(self, path: str, params: dict[str, str], headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """An answer that goes on. Raises as `call`; what breaks while it is read raises `Unreachable`, too."""
        key = self._keyring.secret
        # a server-sent stream has a heartbeat every 15 s
        timeout = httpx.Timeout(TIMEOUT, read=40.0)
        try:
            async with self._client.stream(
                "GET", path, params=params, headers={**headers, **_authorization(key)}, timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                    refused = of_response(response.status_code, response.content, response.headers)
                    turned = response.status_code == 401 and await self._keyring.has_turned(key)
                    raise Unreachable("The key has turned.") if turned else refused
                yield response
        except httpx.HTTPError as error:
            raise Unreachable(f"The stream has broken off: {type(error).__name__}.") from None

    async def refusal(self) -> KeyfoldError | None:
        """Why Keyfold won't have the key any more; None while it will, or can't be asked."""
        try:
            await self.call("GET", "/api/v1/keys/self", dict[str, Any])
        except KeyfoldError as error:
            return error if error.status in (401, 403) else None
        return None


class Envelope(msgspec.Struct, Generic[T]):
    data: T


def _authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
