"""Reads that share their way: whatever is asked for while a query is under way goes together into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

from keyfold.app.patience import Patience
from keyfold.store.postgres import PATIENCE, unavailable

V = TypeVar("V")


class Grouped(Generic[V]):
    """Turns many single reads into few queries, each begun after the last of its askers asked: never stale.

    `fetch` takes the distinct keys and gives what it found; what it didn't is None to the asker. An exception among
    what it found is raised to those who asked for that key, and to nobody else.
    """

    def __init__(self, fetch: Callable[[list[str]], Awaitable[Mapping[str, V | Exception]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[str, list[asyncio.Future[V | None]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: str) -> V | None:
        """What there is under the key. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        patience = Patience(PATIENCE, partial(_give_up, future))  # costs half of asyncio.wait_for
        try:
            return await future
        finally:
            patience.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever is about to ask comes along
                group, self._waiting = self._waiting, {}
                await self._answer(group)
        finally:
            self._running = None

    async def _answer(self, group: dict[str, list[asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._fetch(list(group))
        except Exception as error:  # noqa: BLE001  # handed to those who asked
            found = dict.fromkeys(group, error)
        for key, futures in group.items():
            answer = found.get(key)
            for future in futures:
                if future.done():  # its asker has given up
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


def _give_up(future: asyncio.Future[V | None]) -> None:
    if not future.done():
        future.set_exception(unavailable())
