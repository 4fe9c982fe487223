"""Records every invocation of its clients with what came of it, and carries out commands as the guide says."""

import asyncio
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, NamedTuple

import httpx
import nats.errors

from conftest import LOG_KEY
from integration.support import wait_until
from keyfold.audit.signing import Signer
from keyfold_client.audit.checkpoints import open_checkpoint

from .history import Call, Checkpoint, History, Result
from .system import Process, System

SIGNER = Signer.parse(LOG_KEY.decode())
REACHABLE = 3
"""Seconds that a client waits for an answer."""
PERMITTED = "app/order/created"
"""A topic that no key loses as long as it lives."""
USUAL = {"invite", "redeem", "revoke", "verify", "publish", "connect"}
OUTAGE = (nats.errors.Error, OSError, TimeoutError)


Role = Callable[[], Awaitable[None]]


class Held(NamedTuple):
    """An access key in a client's hands."""

    id: str
    secret: str


class Recorder(ABC):
    """Everything that its clients have asked for, until it is stopped. What they do follows from its name."""

    def __init__(self, system: System, apis: Sequence[Process], name: str) -> None:
        self.system = system
        self.history = History()
        self.checkpoints: list[Checkpoint] = []
        self.keys: deque[Held] = deque(maxlen=12)
        self.all_keys: list[Held] = []
        self.name = name
        self.dice = random.Random(f"clients {name}")
        self.apis = [httpx.AsyncClient(base_url=each.url, timeout=REACHABLE) for each in apis]
        self.stopping = False
        self.names = count(1)
        self._tasks: list[asyncio.Task[None]] = []

    @abstractmethod
    def roles(self) -> list[Role]:
        """What its clients do, again and again, each at the same time as the others."""

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Its clients are at work, until `stop`."""
        self._tasks = [asyncio.create_task(self._play(each), name=each.__name__) for each in self.roles()]
        try:
            yield
        finally:
            self.stopping, left = True, {each for each in self._tasks if not each.done()}
            while left:
                for each in left:
                    each.cancel()  # more than once: nats-py's own wait_for can swallow one
                _, left = await asyncio.wait(left, timeout=1)
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for api in self.apis:
                await api.aclose()

    async def works(self, seconds: float = 40) -> None:
        """Waits until each kind of thing was done that was begun from now on. Raises what a client has failed by."""
        now = time.monotonic()

        def done() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return {call.what for call in self.history.calls if call.result == "ok" and call.began > now} >= USUAL

        await wait_until(done, seconds)

    async def stop(self) -> None:
        """Everybody ends what they have begun."""
        self.stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

    async def _play(self, role: Role) -> None:
        while not self.stopping:
            await role()
            await asyncio.sleep(self.dice.uniform(0, 0.05))

    def noted(self, what: str, began: float, result: Result, **more: Any) -> None:
        self.history.calls.append(Call(what=what, began=began, ended=time.monotonic(), result=result, **more))

    async def command(self, what: str, method: str, path: str, body: Any, by: dict[str, str], **of: str) -> Any:
        """What is answered. None when it is refused, or given up after attempts that nobody answered."""
        command = f"{what}-{next(self.names)}-{secrets.token_hex(4)}"
        for attempt in count(1):
            request, began = f"{command}-{attempt}", time.monotonic()
            given = by | {"X-Request-Id": request, "Idempotency-Key": command, "If-Match": "*"}
            named = {**of, "command": command, "request": request}
            try:
                answer = await self.dice.choice(self.apis).request(method, f"/api/v1{path}", json=body, headers=given)
            except httpx.HTTPError as error:
                self.noted(what, began, "unknown", code=type(error).__name__, **named)
            else:
                if answer.is_success:
                    data, replayed = answer.json()["data"], "idempotency-replayed" in answer.headers
                    made = _made(what, data)
                    position = int(answer.headers["Keyfold-Position"])
                    self.noted(what, began, "ok", position=position, replayed=replayed, made=made, **named)
                    return data
                assert answer.headers["content-type"] == "application/problem+json", answer.text
                problem = answer.json()["code"]
                result: Result = "unknown" if answer.status_code == 503 else "refused"
                self.noted(what, began, result, code=problem, **named)
                assert answer.status_code < 500 or result == "unknown", answer.text
                if result == "refused":
                    return None
            if self.stopping or self.dice.random() < 0.1:
                return None
            await asyncio.sleep(0.05)
        raise AssertionError


def _made(what: str, data: Any) -> tuple[str, ...]:
    """The ids of what this command has made."""
    if what == "redeem":
        return tuple(each["id"] for each in data["keys"])
    return (data["id"],) if what in ("invite", "issue", "rotate") else ()


def opened(note: bytes) -> Checkpoint:
    """A checkpoint that the log has signed."""
    checkpoint = open_checkpoint(note, [SIGNER.verifier]).checkpoint
    return Checkpoint(checkpoint.size, checkpoint.root)
