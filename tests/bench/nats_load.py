"""Partners' apps in a process of their own: unmodified NATS clients, whose connections stay from question to question.

Takes questions on standard input, one JSON object a line with what to `do`, and answers each with one line.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import nats
import nats.errors
import uvloop
from nats.aio.client import Client

AT_ONCE = 20
"""Connections that are opened in parallel."""
ATTEMPTS = 5
"""To connect: on a machine that is busy with other things the callout may be too late for the server."""
BATCH = 100
"""Events that are asked for at a time."""


class Crowd:
    """Connections with one login."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.acknowledged = 0
        self._ends: list[list[float]] = []
        """When each connection ended, as Unix time."""
        self._fire: list[asyncio.Task[None]] = []

    async def join(self, url: str, login: dict[str, str], many: int) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> Client:
            ends: list[float] = []

            async def end() -> None:
                ends.append(time.time())

            for attempt in range(ATTEMPTS):
                with suppress(nats.errors.Error, TimeoutError):
                    async with gate:
                        client = await nats.connect(
                            url,
                            **login,
                            allow_reconnect=False,
                            connect_timeout=10,
                            error_cb=_ignore,
                            disconnected_cb=end,
                        )
                    self._ends.append(ends)
                    return client
                ends.clear()
                await asyncio.sleep(0.1 * 2**attempt)
            raise nats.errors.NoServersError

        self.clients += await asyncio.gather(*[one() for _ in range(many)])

    def fire(self, subject: str, pause: float) -> None:
        """Each publishes every so many seconds until it is gone."""

        async def publish(client: Client, delay: float) -> None:
            await asyncio.sleep(delay)
            while client.is_connected:
                try:
                    answer = await client.request(subject, b"{}", timeout=1)
                except (nats.errors.Error, asyncio.CancelledError):
                    continue
                self.acknowledged += b'"seq"' in answer.data
                await asyncio.sleep(pause)

        many = len(self.clients)
        self._fire = [asyncio.create_task(publish(each, pause * n / many)) for n, each in enumerate(self.clients)]

    async def all_gone(self) -> float:
        """When the last one went."""
        async with asyncio.timeout(30):
            while not all(self._ends):
                await asyncio.sleep(0.0005)
        await asyncio.gather(*self._fire)
        return max(ends[0] for ends in self._ends)

    async def leave(self) -> None:
        for client in self.clients:
            await client.close()


class Load:
    """Whatever there is `to do`, for crowds by name. A single connection is a crowd of one."""

    def __init__(self) -> None:
        self._crowds: dict[str, Crowd] = {}

    async def join(self, name: str, url: str, login: dict[str, str], many: int = 1) -> dict[str, object]:
        crowd = self._crowds[name] = Crowd()
        await crowd.join(url, login, many)
        return {"joined": many}

    async def publish(
        self, name: str, domain: str | None, subject: str, payload: str, headers: dict[str, str], **how: Any
    ) -> dict[str, object]:
        """Counts acknowledged events for so many `seconds`, with so many `at_once` under way. The header `Nats-Msg-Id`
        is a prefix: each event gets an id of its own."""
        js = self._crowds[name].clients[0].jetstream(domain=domain)
        body, ids = payload.encode(), _ids(headers.get("Nats-Msg-Id", ""))
        started = time.perf_counter()
        end = started + how["seconds"]

        async def write() -> int:
            done = 0
            while time.perf_counter() < end:
                named = {**headers, "Nats-Msg-Id": next(ids)} if headers else None
                await js.publish(subject, body, headers=named)
                done += 1
            return done

        done = sum(await asyncio.gather(*[write() for _ in range(how["at_once"])]))
        return {"count": done, "seconds": time.perf_counter() - started}

    async def consume(self, name: str, domain: str | None, stream: str, consumer: str, count: int) -> dict[str, object]:
        """Pulls and acknowledges so many events, which are all there."""
        client = self._crowds[name].clients[0]
        pull = await client.jetstream(domain=domain).pull_subscribe_bind(consumer=consumer, stream=stream)
        started, done = time.perf_counter(), 0
        while done < count:
            messages = await pull.fetch(min(BATCH, count - done), timeout=5)
            for message in messages:
                await message.ack()
            done += len(messages)
        await client.flush()
        took = time.perf_counter() - started
        await pull.unsubscribe()
        return {"count": done, "seconds": took}

    async def fire(self, name: str, subject: str, pause: float) -> dict[str, object]:
        self._crowds[name].fire(subject, pause)
        return {}

    async def acknowledged(self, name: str) -> dict[str, object]:
        """How many events of the crowd's fire were, so far."""
        return {"count": self._crowds[name].acknowledged}

    async def gone(self, name: str) -> dict[str, object]:
        """When the last connection ended, as Unix time."""
        return {"last": await self._crowds[name].all_gone()}

    async def serve(self) -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            question = json.loads(line)
            try:
                answer = await getattr(self, question.pop("do"))(**question)
            except (nats.errors.Error, TimeoutError) as error:
                answer = {"error": f"{type(error).__name__} {error}"}
            print(json.dumps(answer), flush=True)
        await asyncio.gather(*[each.leave() for each in self._crowds.values()])


def _ids(prefix: str) -> Iterator[str]:
    run, number = secrets.token_hex(4), 0
    while True:
        number += 1
        yield f"{prefix}{run}{number:018}"


async def _ignore(_: Exception) -> None:
    return


if __name__ == "__main__":
    uvloop.run(Load().serve())
