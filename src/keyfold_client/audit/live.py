"""A live log over HTTP: checkpoint and tiles for anybody (c2sp.org/tlog-tiles), records for a key that may read them.

Nothing is verified here. This alone needs httpx.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from ._strict import count_of, decimal
from .tiles import Tile
from .trust import LackingError

EXPORT = "/api/v1/audit/export"
_TIMEOUT = httpx.Timeout(30, read=120)
_KEY_ID = re.compile(r"kf_[a-z]+_([0-9a-z]{26})_")
_LARGEST_LINE = 1 << 20
_HASH = 32


class BeyondError(LackingError):
    """The log ends before the position that was named."""


class Server:
    """What a log says of itself over HTTP. Nothing of it is believed here. Raises `LackingError`."""

    def __init__(self, url: str, key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self.has_key = key is not None
        found = _KEY_ID.match(key or "")
        self.reader = found[1] if found else None
        self._key = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            # without TLS there are no certificates to read, which takes longer than all else
            verify = not self.url.startswith("http:")
            self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT, verify=verify, transport=transport)
        except httpx.InvalidURL as error:
            raise LackingError(f"{url} is no address: {error}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def checkpoint(self) -> bytes:
        return self._get("/log/checkpoint").content

    def keys(self) -> list[str]:
        """The verifier keys that it offers."""
        return self._get("/log/keys").text.split()

    def tile(self, tile: Tile) -> bytes:
        return self._get(f"/log/{tile.path}").content

    def position_of(self, event_id: str) -> int:
        """Where an event is."""
        try:
            return count_of(self.get(f"/api/v1/audit/events/{event_id}")["data"]["position"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise LackingError(f"{self.url} doesn't say where {event_id} is.") from None

    def get(self, path: str) -> Any:
        """JSON that takes the key."""
        return self._get(path, headers=self._key).json()

    @contextmanager
    def export(self, after: int, until: int, form: str = "records") -> Iterator[tuple[int, Iterator[bytes]]]:
        """Up to which position the server's log goes, at the most `until`, and the lines behind `after`, each as it
        comes."""
        params = {"format": form, "after": str(after), "until": str(until)}
        with self._reaching(), self._http.stream("GET", EXPORT, params=params, headers=self._key) as response:
            if not response.is_success:
                response.read()
                if _is_beyond(response):
                    raise BeyondError(f"The log ends before position {after + 1}.")
                _demand_success(response)
            try:
                end = decimal(response.headers.get("Keyfold-Position", ""))
            except ValueError:
                raise LackingError(f"{self.url} doesn't say up to which position its log goes.") from None
            yield end, _lines(response.iter_bytes())

    def _get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        with self._reaching():
            response = self._http.get(path, headers=headers)
        _demand_success(response)
        return response

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise LackingError(f"{self.url} doesn't answer, or broke off: {type(error).__name__}. Try again.") from None


def _is_beyond(response: httpx.Response) -> bool:
    try:
        return response.status_code in {400, 422} and response.json()["errors"][0]["pointer"] == "?after"
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False


def _demand_success(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = "it doesn't say why"
    raise LackingError(f"{response.url.path} was answered {response.status_code}: {detail}")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > _LARGEST_LINE:
            raise LackingError("The server sends lines without an end.")
    if rest:
        yield rest
