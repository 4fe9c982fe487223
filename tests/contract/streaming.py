"""A reader of server-sent events, straight on the application: httpx would wait for an end that doesn't come."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from integration.support import LIMIT
from keyfold.web.services import Services

from .tenant import app_of


class Event(NamedTuple):
    id: str
    data: Any
    name: str = ""


class Reading:
    """What has come so far, and what comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = asyncio.Event()
        self._came = asyncio.Event()
        self._takes = asyncio.Event()
        self._takes.set()

    def pause(self) -> None:
        """Takes nothing any more."""
        self._takes.clear()

    def resume(self) -> None:
        self._takes.set()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            await self._takes.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                self.ended.set()
        self._came.set()

    @property
    def events(self) -> list[Event]:
        return [_event(each) for each in self.body.decode().split("\n\n")[:-1] if "data:" in each]

    async def until(self, count: int, seconds: float = LIMIT) -> list[Event]:
        """The events so far, once there are so many."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count or not self.status:
                self._came.clear()
                await self._came.wait()
        return self.events

    async def replayed(self) -> list[Event]:
        """All events of a stream that isn't live: it ends by saying up to where it has told, as its header did."""
        *told, last = await self.end()
        assert last == Event(self.headers["keyfold-position"], {"position": int(last.id)}, "end")
        return told

    async def end(self, seconds: float = LIMIT) -> list[Event]:
        """All events, once the server has ended it."""
        async with asyncio.timeout(seconds):
            await self.ended.wait()
        return self.events


@asynccontextmanager
async def reading(services: Services, path: str, headers: Mapping[str, str], **query: Any) -> AsyncIterator[Reading]:
    """A GET that goes on until the block ends, and with it the connection."""
    this, gone, asked = Reading(), asyncio.Event(), False

    async def receive() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.7", 4711),
        "server": ("keyfold.test", 443),
        "state": {},
    }
    app = app_of(services)
    served = asyncio.create_task(app(scope, receive, this.send))
    try:
        yield this
    finally:
        gone.set()
        async with asyncio.timeout(LIMIT):
            await served


def _event(text: str) -> Event:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return Event(fields.get("id", ""), json.loads(fields["data"]), fields.get("event", ""))
