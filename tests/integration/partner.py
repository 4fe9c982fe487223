"""A partner's app: an unmodified NATS client."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client

Connect = Callable[..., Awaitable[Client]]


async def ignore(_: Exception) -> None:
    return


async def connected(url: str, key: str, **options: Any) -> Client:
    """A client that is told once whether it gets in. To be closed by whoever asked for it."""
    client = Client()
    given = {"token": key} | options
    try:
        await client.connect(url.split(","), **{"allow_reconnect": False, "error_cb": ignore, **given})
    except BaseException:
        await client.close()
        raise
    return client


async def sent(client: Client, topic: str, payload: Any, **headers: str) -> Any:
    """The answer to an event."""
    subject = "events." + topic.replace("/", ".")
    answer = await client.request(subject, json.dumps(payload).encode(), timeout=3, headers=headers or None)
    return json.loads(answer.data)


async def until(condition: Callable[[], bool], seconds: float = 3) -> float:
    """The seconds that it took."""
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
    return time.perf_counter() - began
