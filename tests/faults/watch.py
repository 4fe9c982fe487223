"""Looks all the time whether a process still calls a key valid, and for how long it did when it shouldn't have."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from integration.support import wait_until

from .system import Process

BOUND = 1.0
"""Seconds after a command's answer beyond which no process may go by what was before."""

Ask = Callable[[], Awaitable[str]]


class Look(NamedTuple):
    """One question: when it was sent and answered, by the machine's clock, and with which code."""

    sent: float
    answered: float
    code: str


class Watch:
    """Everything that was answered, while it asks."""

    def __init__(self, ask: Ask) -> None:
        self.looks: list[Look] = []
        self._ask = ask
        self._task = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while True:
            sent = time.time()
            code = await self._ask()
            self.looks.append(Look(sent, time.time(), code))

    async def says(self, *codes: str, seconds: float = 10) -> None:
        """Waits until a question that is asked from now on is answered so."""
        now = time.time()

        def said() -> bool:
            if self._task.done():
                self._task.result()
            return any(look.code in codes and look.sent >= now for look in self.looks[-20:])

        await wait_until(said, seconds, every=0.002)

    def lateness(self, moment: float, code: str = "valid") -> float:
        """Seconds from the moment to the last answer with this code, at the most; 0 when there was none after it."""
        return max((look.answered - moment for look in self.looks if look.code == code), default=0.0)

    def assert_in_time(self, moment: float, code: str = "valid") -> None:
        """No question was answered so that was sent when the bound had passed. (On a busy machine an answer may wait
        for its reader, so when it is read proves nothing.)"""
        assert [look for look in self.looks if look.code == code and look.sent > moment + BOUND] == []

    async def stop(self) -> None:
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), outcome


@asynccontextmanager
async def watching(*asking: Ask) -> AsyncIterator[list[Watch]]:
    """A watch for each, that has found it valid: so it is in memory, where memory is used."""
    watches = [Watch(ask) for ask in asking]
    try:
        for watch in watches:
            await watch.says("valid")
        yield watches
    finally:
        for watch in watches:
            await watch.stop()


@asynccontextmanager
async def clients(*processes: Process) -> AsyncIterator[list[httpx.AsyncClient]]:
    opened = [httpx.AsyncClient(base_url=each.url, timeout=10) for each in processes]
    try:
        yield opened
    finally:
        for each in opened:
            await each.aclose()


def verifying(client: httpx.AsyncClient, key: str, asking: dict[str, str], **asked: str) -> Ask:
    """Asks a process about a key, with the headers of whoever asks. A refusal to answer is its own code."""

    async def ask() -> str:
        body = (await client.post("/api/v1/keys/verify", json={"key": key, **asked}, headers=asking)).json()
        return str(body["data"]["code"] if "data" in body else body["code"])

    return ask
