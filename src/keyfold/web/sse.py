"""Server-sent events (WHATWG HTML, 9.2): a response that goes on until its source, its reader or its right ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

from litestar.types import Receive, Scope, Send

from keyfold.domain.refusals import Unavailable

HEARTBEAT = 15.0
"""Seconds between two comments that keep proxies, and a reader's own timeout, from giving up."""

RECHECK = 0.5
"""Seconds between two questions whether the reader may still read."""

GOODBYE = 0.5
"""Seconds that a reader gets to take the end."""

RETRY = 1_000
"""Milliseconds after which a reader comes back."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect them
]


class Item(NamedTuple):
    """One event of a stream. `data` is UTF-8; `id` comes back as Last-Event-ID; it and `event` are one line each."""

    id: str | None
    event: str | None
    data: bytes


class EventStream:
    """An ASGI application that answers with `items`; a handler of Litestar returns it as its `ASGIApp`.

    It ends with the items, when `alive` says no, or when the reader is gone. Whichever it is, the items are closed, by
    the task that ran them. Where `alive` or the items raise `Unavailable` it ends as well: the reader comes back with
    its Last-Event-ID, and is told then. Litestar's own response leaves its generator open when a reader goes away.
    """

    def __init__(self, items: AsyncIterator[Item], *, alive: Callable[[], Awaitable[bool]]) -> None:
        self._items = items
        self._alive = alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send(_body(b"retry: %d\n\n" % RETRY))
        is_gone = await self._flow(receive, send)
        if not is_gone:
            with suppress(TimeoutError):  # a reader that takes nothing any more is left without a word
                async with asyncio.timeout(GOODBYE):
                    await send(_body(b"", more=False))

    async def _flow(self, receive: Receive, send: Send) -> bool:
        """Until something ends it; whether that was the reader."""
        gone = asyncio.create_task(_disconnected(receive))
        tasks = [
            asyncio.create_task(self._write(send)),
            gone,
            asyncio.create_task(self._until_dead()),
            asyncio.create_task(_beat(send)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if task is not gone:
                task.result()
        return gone in done

    async def _write(self, send: Send) -> None:
        items: Any = self._items
        async with aclosing(items):
            with suppress(Unavailable):
                async for item in items:
                    await send(_body(encoded(item)))

    async def _until_dead(self) -> None:
        with suppress(Unavailable):
            while await self._alive():  # noqa: ASYNC110  # there is no event for it: keys end by a clock, too
                await asyncio.sleep(RECHECK)


def encoded(item: Item) -> bytes:
    """The event as it goes over the line, of data with several lines too."""
    fields = [(b"id", item.id), (b"event", item.event)]
    head = b"".join(b"%s: %s\n" % (name, value.encode()) for name, value in fields if value is not None)
    lines = item.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return head + b"".join(b"data: %s\n" % line for line in lines) + b"\n"


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _beat(send: Send) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await send(_body(b": heartbeat\n\n"))


def _body(body: bytes, *, more: bool = True) -> Any:
    return {"type": "http.response.body", "body": body, "more_body": more}
