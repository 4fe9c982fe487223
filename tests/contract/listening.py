"""A reader of server-sent events that can go away at any moment, and can stop reading without going away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from integration.support import LIMIT
from keyfold.web.services import Services

from .tenant import app_of


class Heard(NamedTuple):
    """One event: `data` as JSON."""

    id: str
    event: str
    data: Any


class Listener:
    """`status` and `body` are those of the answer as far as it has come; `done` is set when the answer is complete."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.done = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._left = asyncio.Event()
        self._asked = False
        self._taken = 0

    def leave(self) -> None:
        """The connection breaks."""
        self._left.set()

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if self._left.is_set():
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message["body"]
            if not message.get("more_body"):
                self.done.set()

    async def hear(self, most: int, *, seconds: float = LIMIT) -> list[Heard]:
        """The next events, as soon as there are so many."""
        async with asyncio.timeout(seconds):
            while len(heard := self.heard[self._taken :]) < most:
                await asyncio.sleep(0.005)
        self._taken += most
        return heard[:most]

    @property
    def heard(self) -> list[Heard]:
        return [_read(each) for each in self.body.decode().split("\n\n")[:-1] if "data: " in each]


def _read(text: str) -> Heard:
    fields = dict(line.split(": ", 1) for line in text.split("\n"))
    return Heard(fields.get("id", ""), fields.get("event", ""), msgspec.json.decode(fields["data"]))


@asynccontextmanager
async def listening(services: Services, path: str, headers: dict[str, str], **query: str) -> AsyncIterator[Listener]:
    """Gone at the end, when the answer's task must be over."""
    listener = Listener()
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [(b"host", b"keyfold.test"), *((n.lower().encode(), v.encode()) for n, v in headers.items())],
        "client": ("192.0.2.7", 4711),
        "server": ("keyfold.test", 443),
        "state": {},
    }
    answering: asyncio.Task[None] = asyncio.create_task(app_of(services)(scope, listener.receive, listener.send))
    try:
        while not listener.status and not answering.done():
            await asyncio.sleep(0.002)
        yield listener
    finally:
        listener.reads.set()
        listener.leave()
        async with asyncio.timeout(15):
            await answering
