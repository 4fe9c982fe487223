"""Waits until a system is well again by itself, and looks at everything that there is then."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import httpx
import msgspec
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from integration.support import logged_in, projected, rows, value, verified, wait_until

from .apps import Taker
from .history import Checkpoint, Fact, Found, Stored
from .recorder import PERMITTED, Held, Recorder, opened
from .system import Process, System

HEAD = "SELECT max(position) FROM keyfold.log"


class _Head(msgspec.Struct, rename="camel"):
    type: str
    correlation_id: str


async def well_again(system: System, apis: Sequence[Process], seconds: float = 60) -> None:
    """Every API says so, every process runs, and whatever follows the log is at its end."""

    async def ready() -> bool:
        assert all(each.runs for each in (*apis, system.worker)), "a process has ended"
        return [await each.answers("/health/ready") for each in apis] == [200] * len(apis)

    await wait_until(ready, seconds, every=0.05)
    await projected(system.database.admin_url, seconds=seconds)
    behind = "SELECT max(position) - (SELECT max(size) FROM keyfold.checkpoints) = 0 FROM keyfold.log"
    await wait_until(lambda: value(system.database.admin_url, behind), seconds)
    head = await value(system.database.admin_url, HEAD)

    async def relayed() -> bool:
        with suppress(nats.errors.Error):
            async with logged_in(system.nats, "worker") as worker:
                return bool((await worker.jetstream().stream_info("LIFECYCLE")).state.last_seq == head)
        return False

    await wait_until(relayed, seconds)


class Beginning(NamedTuple):
    """Where the log and the stream of app events end before clients begin."""

    position: int
    sequence: int


async def beginning(system: System) -> Beginning:
    sequence = 0
    async with logged_in(system.nats, "worker") as worker:
        with suppress(NotFoundError):
            sequence = (await worker.jetstream().stream_info(stream_of(system))).state.last_seq
    return Beginning(await value(system.database.admin_url, HEAD), sequence)


async def found(system: System, apis: Sequence[Process], recorder: Recorder, began: Beginning, *takers: Taker) -> Found:
    """What there is at one moment, once consumers have all that is stored: what time brings to keys may come amid."""
    for _ in range(10):
        await well_again(system, apis)
        there = await _found(system, apis, recorder, began, takers)
        if (
            await value(system.database.admin_url, HEAD)
            == len(there.facts)
            == len(there.lifecycle)
            == there.newest.size
        ):
            break
    return there


async def _found(
    system: System, apis: Sequence[Process], recorder: Recorder, began: Beginning, takers: Sequence[Taker]
) -> Found:
    async with logged_in(system.nats, "worker") as worker:
        js = worker.jetstream()
        lifecycle = [(sequence, data) for sequence, data in await messages(js, "LIFECYCLE")]
        events = await messages(js, stream_of(system))
    stored = [_stored(*each) for each in events if each[0] > began.sequence]
    for taker in takers:
        await taker.has([each.event for each in stored])
    async with httpx.AsyncClient(base_url=system.api.url, timeout=10) as api:
        newest = opened((await api.get("/log/checkpoint")).content)
    return Found(
        asked_from=began.position + 1,
        facts=await facts(system.database.admin_url),
        lifecycle=lifecycle,
        stored=stored,
        received={taker.name: frozenset(taker.taken) for taker in takers},
        differences=await differences(system),
        checkpoints=[*recorder.checkpoints, *await signed(system.database.admin_url)],
        newest=newest,
        standing=await standing(system, apis, recorder.all_keys),
    )


async def standing(system: System, apis: Sequence[Process], keys: Sequence[Held]) -> dict[str, list[str]]:
    """What each API says of each key."""
    codes: dict[str, list[str]] = {key.id: [] for key in keys}
    for each in apis:
        async with httpx.AsyncClient(base_url=each.url, timeout=10, headers=system.owner) as api:
            for key in keys:
                body = {"key": key.secret, "action": "send", "topic": PERMITTED}
                codes[key.id].append((await api.post("/api/v1/keys/verify", json=body)).json()["data"]["code"])
    return codes


def stream_of(system: System) -> str:
    return f"EV_{system.founded.workspace_id}_prod"


async def facts(url: str) -> list[Fact]:
    """The whole log."""
    found: list[Fact] = []
    for position, stream, version, text in await rows(
        url, "SELECT position, stream, version, record FROM keyfold.log ORDER BY position"
    ):
        head = msgspec.json.decode(text, type=_Head)
        found.append(Fact(position, stream, version, head.type, head.correlation_id, text.encode()))
    return found


async def messages(js: JetStreamContext, stream: str) -> list[tuple[int, bytes]]:
    """All that a stream has, with the sequences."""
    left, got = (await js.stream_info(stream)).state.messages, list[tuple[int, bytes]]()
    pull = await js.pull_subscribe(">", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
    while len(got) < left:
        batch = await pull.fetch(min(left - len(got), 500), timeout=5)
        got += [(message.metadata.sequence.stream, message.data) for message in batch]
    return got


async def differences(system: System) -> Mapping[str, Sequence[object]]:
    return {name: each.differences for name, each in (await verified(system.database.worker_url)).items()}


async def signed(url: str) -> list[Checkpoint]:
    """Every checkpoint that the log has ever signed."""
    return [opened(note.encode()) for (note,) in await rows(url, "SELECT note FROM keyfold.checkpoints")]


def _stored(sequence: int, data: bytes) -> Stored:
    event = json.loads(data)
    return Stored(sequence, event["keyid"], event["id"])
