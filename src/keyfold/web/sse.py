"""Server-sent events (WHATWG HTML, 9.2): a response that goes on until its source, its reader or its right ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from litestar.types import Receive, Scope, Send

from keyfold.web.flow import Ending, Flow

MEDIA_TYPE = "text/event-stream"
RETRY = 1_000
"""Milliseconds after which a reader comes back."""

_HEADERS = [
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect them
]


class Item(NamedTuple):
    """One event of a stream. `data` is UTF-8; `id` comes back as Last-Event-ID; it and `event` are one line each."""

    id: str | None
    event: str | None
    data: bytes


class EventStream(Flow):
    """An ASGI application that answers with `items`; a handler of Litestar returns it as its `ASGIApp`.

    It ends with the items, when `alive` says no, or when the reader is gone. Where `alive` or the items raise
    `Unavailable` it ends as well: the reader comes back with its Last-Event-ID, and is told then. A header tells
    `position`, the last one of the log by now.
    """

    def __init__(
        self, items: AsyncIterator[Item], *, alive: Callable[[], Awaitable[bool]], position: int | None = None
    ) -> None:
        headers = [*_HEADERS, *([] if position is None else [(b"keyfold-position", str(position).encode())])]
        super().__init__(_encoded_all(items), headers=headers, alive=alive, beat=b": heartbeat\n\n")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await self._flow(receive, send) is not Ending.GONE:
            await self._finish(send)


async def _encoded_all(items: Any) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY
    async with aclosing(items):
        async for item in items:
            yield encoded(item)


def encoded(item: Item) -> bytes:
    """The event as it goes over the line, of data with several lines too."""
    fields = [(b"id", item.id), (b"event", item.event)]
    head = b"".join(b"%s: %s\n" % (name, value.encode()) for name, value in fields if value is not None)
    lines = item.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return head + b"".join(b"data: %s\n" % line for line in lines) + b"\n"
