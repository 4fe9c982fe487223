"""A partner's app: an unmodified NATS client.

What nats-py's ``connect`` returns isn't always connected: a line that is neither PONG nor an error, and the end of what
the server sends, pass for an answer there. Whoever asks whether somebody gets in asks the client itself.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors
from nats.aio.client import Client

from keyfold.bus.reaper import SWEEP

Connect = Callable[..., Awaitable[Client]]


async def ignore(_: Exception) -> None:
    return


async def connected(url: str, key: str, **options: Any) -> Client:
    """A client that is told once whether it gets in. To be closed by whoever asked for it."""
    return await _connected(url, {"token": key} | options)


async def gets_in(url: str, **options: Any) -> bool:
    try:
        client = await _connected(url, {"connect_timeout": 5} | options)
    except (nats.errors.Error, OSError):
        return False
    await client.close()
    return True


async def _connected(url: str, options: dict[str, Any]) -> Client:
    client = Client()
    try:
        await client.connect(url.split(","), **{"allow_reconnect": False, "error_cb": ignore, **options})
    except BaseException:
        await client.close()
        raise
    if not client.is_connected:
        await client.close()
        raise ConnectionAbortedError("the server ended the connection before it was one")
    return client


async def sent(client: Client, topic: str, payload: Any, **headers: str) -> Any:
    """The answer to an event."""
    subject = "events." + topic.replace("/", ".")
    answer = await client.request(subject, json.dumps(payload).encode(), timeout=10, headers=headers or None)
    return json.loads(answer.data)


async def until(condition: Callable[[], bool], seconds: float = SWEEP / 2) -> float:
    """The seconds that it took: fewer than the sweep would need, which closes what nothing else has."""
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
    return time.perf_counter() - began
