"""Reads that share their way: whatever is asked for while a query is under way goes together into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from keyfold.store.postgres import PATIENCE, unavailable

V = TypeVar("V")


class Grouped(Generic[V]):
    """Turns many single reads into few queries, each begun after the last of its askers asked: never stale.

    `fetch` takes the distinct keys and gives what it found; what it didn't is None to the asker. An exception among
    what it found is raised to those who asked for that key, and to nobody else.
    """

    def __init__(self, fetch: Callable[[list[str]], Awaitable[Mapping[str, V | Exception]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[str, asyncio.Future[V | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: str) -> V | None:
        """What there is under the key. Raises `Unavailable`."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            # shielded: one asker that gives up must not cancel the others
            return await asyncio.wait_for(asyncio.shield(future), PATIENCE)
        except TimeoutError:
            raise unavailable() from None

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, {}
                await self._answer(group)
        finally:
            self._running = None

    async def _answer(self, group: dict[str, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._fetch(list(group))
        except Exception as error:  # noqa: BLE001  # handed to those who asked
            found = dict.fromkeys(group, error)
        for key, future in group.items():
            answer = found.get(key)
            if isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()  # an asker that has given up doesn't collect it
            else:
                future.set_result(answer)
