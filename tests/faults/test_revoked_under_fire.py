"""A key is revoked while a thousand connections publish with it, and another key goes on as if nothing were."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from integration.partner import until
from keyfold.bus.reaper import SWEEP

from .system import System, onboard

LIVE = 1_000
PAUSE = 1.0
"""Seconds between two events of a connection."""


@asynccontextmanager
async def crowd(system: System, key: str, many: int) -> AsyncIterator[Process]:
    """So many connections of one key, all of which publish."""
    script = str(Path(__file__).with_name("crowd.py"))
    arguments = (sys.executable, script, system.nats.url, str(many), str(PAUSE))
    process = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{key}\n".encode())
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> tuple[int, float]:
    """How many events were acknowledged to the crowd, and when the last one was, once it is gone."""
    assert process.stdout is not None
    many, last = (await asyncio.wait_for(process.stdout.readline(), 20)).split()
    return int(many), float(last)


class Watch:
    """How many connections of a key there are, as the server tells by itself: asking for lists would keep it busy."""

    def __init__(self) -> None:
        self.live: Counter[str] = Counter()
        self.ended: dict[str, float] = {}

    async def start(self, accounts: Client) -> None:
        await accounts.subscribe("$SYS.ACCOUNT.*.CONNECT", cb=partial(self._on, 1))
        await accounts.subscribe("$SYS.ACCOUNT.*.DISCONNECT", cb=partial(self._on, -1))
        await accounts.flush()

    async def _on(self, change: int, message: Msg) -> None:
        key_id = json.loads(message.data)["client"].get("name_tag", "")
        self.live[key_id] += change
        self.ended[key_id] = time.time()


async def offer_connections(system: System, client: httpx.AsyncClient, many: int) -> None:
    policy = {"environments": {each: {"policy": {"connections": many}} for each in ("dev", "stage", "prod")}}
    path = f"/api/v1/integrations/{system.founded.integration.id}"
    answer = await client.patch(path, json=policy, headers=system.owner | {"If-Match": "*"})
    assert answer.status_code == 200, answer.text


def key_of(partner: dict[str, Any], environment: str) -> dict[str, Any]:
    (key,) = [each for each in partner["keys"] if each["environment"] == environment]
    return dict(key)


async def stored(worker: Client, system: System, key_id: str) -> list[float]:
    """When each event of the key was stored."""
    stream = f"EV_{system.founded.workspace_id}_prod"
    js = worker.jetstream()
    total = (await js.stream_info(stream)).state.messages
    pull = await js.pull_subscribe("ev.>", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    found: list[float] = []
    seen = 0
    while seen < total:
        batch = await pull.fetch(500, timeout=2)
        seen += len(batch)
        of_key = [message for message in batch if json.loads(message.data)["keyid"] == key_id]
        found += [message.metadata.timestamp.timestamp() for message in of_key]
    return found


async def test_a_thousand_live_connections_end_with_their_key(
    system: System, record_property: Callable[[str, object], None]
) -> None:
    logins = [str(system.nats.credentials(name)) for name in ("worker", "accounts")]
    worker, accounts = [await nats.connect(system.nats.url, user_credentials=each) for each in logins]
    async with system.client() as http, worker, accounts:
        watch = Watch()
        await watch.start(accounts)
        await offer_connections(system, http, LIVE)
        key = key_of(await onboard(system, http), "prod")
        bystander = key_of(await onboard(system, http), "prod")
        async with crowd(system, key["secret"], LIVE) as fire, crowd(system, bystander["secret"], 1):
            await until(lambda: watch.live[key["id"]] == LIVE)
            await asyncio.sleep(2)
            revoked = await http.post(f"/api/v1/keys/{key['id']}/revoke", json={"reason": "fire"}, headers=system.owner)
            answered = time.time()
            assert revoked.status_code == 200, revoked.text
            await until(lambda: watch.live[key["id"]] == 0)
            gone = watch.ended[key["id"]] - answered
            acknowledged, last = await said(fire)
            await asyncio.sleep(max(0.0, answered + 1.5 - time.time()))
            assert watch.live[bystander["id"]] == 1
        times = await stored(worker, system, key["id"])
    late = max(times) - answered
    record_property(
        "measured",
        f"{LIVE} connections gone {gone * 1000:.0f} ms after the answer, the last event stored {late * 1000:.0f} ms, "
        f"acknowledged {(last - answered) * 1000:.0f} ms after it",
    )
    assert len(times) >= acknowledged > LIVE / 2
    assert gone < SWEEP / 2, "that was the sweep"
    assert late < gone + PAUSE, "nothing comes from a connection that is gone"
