"""A response that flows: as fast as its reader takes it, until its source, its reader or its right ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from enum import Enum, auto
from typing import Any

from litestar.types import Receive, Scope, Send

from keyfold.domain.refusals import Unavailable

HEARTBEAT = 15.0
"""Seconds between two comments that keep proxies, and a reader's own timeout, from giving up."""

RECHECK = 0.5
"""Seconds between two questions whether the reader may still read."""

GOODBYE = 0.5
"""Seconds that a reader gets to take the end."""

Headers = list[tuple[bytes, bytes]]


class Ending(Enum):
    """The source came to its end, something cut it off, or the reader is gone."""

    WHOLE = auto()
    CUT = auto()
    GONE = auto()


class Flow:
    """An ASGI application that answers with `chunks`. Whatever ends it, the chunks are closed, by the task that ran
    them: Litestar's own response leaves its generator open when a reader goes away.

    What was cut off, since `alive` said no or something raised `Unavailable`, is left without its last chunk, so that
    no client takes a part for the whole.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        headers: Headers,
        alive: Callable[[], Awaitable[bool]],
        beat: bytes | None = None,
    ) -> None:
        self._chunks = chunks
        self._headers = headers
        self._alive = alive
        self._heartbeat = beat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await self._flow(receive, send) is Ending.WHOLE:
            await self._finish(send)

    async def _finish(self, send: Send) -> None:
        with suppress(TimeoutError):  # a reader that takes nothing any more is left without a word
            async with asyncio.timeout(GOODBYE):
                await send(_body(b"", more=False))

    async def _flow(self, receive: Receive, send: Send) -> Ending:
        start: Any = {"type": "http.response.start", "status": 200, "headers": [*self._headers]}
        await send(start)
        gone, write = asyncio.create_task(_disconnected(receive)), asyncio.create_task(self._write(send))
        tasks = [write, gone, asyncio.create_task(self._until_dead())]
        if self._heartbeat is not None:
            tasks.append(asyncio.create_task(_beat(send, self._heartbeat)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if task is not gone:
                task.result()
        if gone in done:
            return Ending.GONE
        return Ending.WHOLE if write in done and write.result() else Ending.CUT

    async def _write(self, send: Send) -> bool:
        """Whether all of it went out."""
        chunks: Any = self._chunks
        async with aclosing(chunks):
            with suppress(Unavailable):
                async for chunk in chunks:
                    await send(_body(chunk))
                return True
        return False

    async def _until_dead(self) -> bool:
        with suppress(Unavailable):
            while await self._alive():  # noqa: ASYNC110  # there is no event for it: keys end by a clock, too
                await asyncio.sleep(RECHECK)
        return False


async def _disconnected(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return False


async def _beat(send: Send, comment: bytes) -> bool:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await send(_body(comment))


def _body(body: bytes, *, more: bool = True) -> Any:
    return {"type": "http.response.body", "body": body, "more_body": more}
