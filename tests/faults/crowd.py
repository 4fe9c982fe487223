"""Partners' clients in a process of their own: `python crowd.py URL CONNECTIONS PAUSE`, the key on standard input.

Says `ready` when all are connected, then publishes with each of them every PAUSE seconds until it is gone, and in the
end says how many events were acknowledged, and when the last one was (Unix time).
"""

import asyncio
import sys
import time

import nats
import nats.errors
from nats.aio.client import Client

AT_ONCE = 50


async def ignore(_: Exception) -> None:
    return


async def main(url: str, many: int, pause: float, key: str) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    acknowledged, last = 0, 0.0

    async def join() -> Client:
        async with gate:
            return await nats.connect(url, token=key, allow_reconnect=False, connect_timeout=10, error_cb=ignore)

    async def publish(client: Client, delay: float) -> None:
        nonlocal acknowledged, last
        await asyncio.sleep(delay)
        while client.is_connected:
            try:
                answer = await client.request("events.app.order.created", b"{}", timeout=1)
            except (nats.errors.Error, asyncio.CancelledError):
                continue
            if b'"seq"' in answer.data:
                acknowledged, last = acknowledged + 1, time.time()
            await asyncio.sleep(pause)

    clients = await asyncio.gather(*[join() for _ in range(many)])
    print("ready", flush=True)
    await asyncio.gather(*[publish(client, pause * n / many) for n, client in enumerate(clients)])
    print(acknowledged, last, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.stdin.readline().strip()))
