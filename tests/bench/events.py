"""App events: published and consumed as a partner's app does, against JetStream without Keyfold in between."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import nats
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from keyfold.bus.topology import DOMAIN

from . import disconnection
from .load import request
from .measure import Outcome, Side, compared
from .peers import APPS, Peer
from .profiling import show
from .stage import Stage
from .system import ServiceKey, System, running

AT_ONCE = {"publish-nats": 64, "publish-nats-1": 1}
"""Events of one connection that are under way, by row."""
CONNECTIONS = 32
"""To the HTTP server, each with a key of its own."""
TOPIC = "app/order/created"
ORDER = {"orderId": "o_48213", "customer": {"id": "c_1", "country": "DE"}, "total": 129.9, "lines": [{"sku": "A-1"}]}
_SUBJECT = "events." + TOPIC.replace("/", ".")
_PLAIN = "PLAIN"
"""A stream and a consumer that no account of a key reaches."""


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted, on one NATS. One API serves; two when keys are revoked."""
    await stage.renew_nats()
    database = await stage.database("app_events")
    worker = stage.settings(database, role="worker")
    async with stage.serving("worker", worker):
        async with running(stage.settings(database)) as system:  # ends before the rest: it would serve as well
            await system.allow_connections(disconnection.LIVE)
            keys = await system.keys(3 * CONNECTIONS)
            doomed = await system.keys(disconnection.keys_needed(stage))
        async for outcome in _moving(stage, system, database, keys):
            yield outcome
        async for outcome in disconnection.measure(stage, system, database, doomed):
            yield outcome


async def _moving(stage: Stage, system: System, database: str, keys: Sequence[ServiceKey]) -> AsyncIterator[Outcome]:
    """What one API process and clients in another one make of events."""
    if not stage.options.wants(*AT_ONCE, "publish-http", "consume-native"):
        return
    settings = stage.settings(database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(stage.serving("api", settings))
        clients = await stack.enter_async_context(Peer(APPS).started(stage))
        plain = await stack.enter_async_context(_plain(stage))
        if stage.options.wants(*AT_ONCE):
            for outcome in await _publish(stage, system, clients, plain, keys[0]):
                yield outcome
        if stage.options.wants("publish-http"):
            yield await _publish_http(stage, settings.port, keys)
        if stage.options.wants("consume-native"):
            yield await _consume(stage, system, clients, plain, keys[1])
    if stage.options.profile:
        show("api", stage.folder / "api.profile")


@asynccontextmanager
async def _plain(stage: Stage) -> AsyncIterator[Client]:
    """A user of CORE who may do everything, and needs no import for it. Its credentials are in `plain.creds`."""
    credentials = stage.folder / "plain.creds"
    credentials.write_text(stage.nats.generations[0].login("CORE", "plain").file())
    async with await nats.connect(stage.nats.url, user_credentials=str(credentials)) as client:
        yield client


async def _join(stage: Stage, clients: Peer, key: ServiceKey) -> None:
    """One connection with the key and one without, both in the other process."""
    await clients.ask(do="join", name="plain", url=stage.nats.url, login=_credentials(stage))
    await clients.ask(do="join", name=key.id, url=stage.nats.url, login={"token": key.secret})


def _credentials(stage: Stage) -> dict[str, str]:
    return {"user_credentials": str(stage.folder / "plain.creds")}


async def _publish(stage: Stage, system: System, clients: Peer, plain: Client, key: ServiceKey) -> list[Outcome]:
    """Against the same bytes as Keyfold stores, in a stream like the one that it stores them in."""
    await _join(stage, clients, key)
    ours = partial(clients.rate, do="publish", name=key.id, domain=DOMAIN, subject=_SUBJECT, payload=json.dumps(ORDER))
    await ours(headers={}, at_once=1, seconds=0.5)
    theirs = partial(clients.rate, do="publish", name="plain", domain=None, **await _twin(system, plain, key))
    sides: dict[str, Side] = {}
    for row, many in AT_ONCE.items():
        if stage.options.wants(row):
            sides[row] = partial(ours, headers={}, at_once=many, seconds=stage.options.seconds)
            sides[f"{row} straight"] = partial(theirs, at_once=many, seconds=stage.options.seconds)
    figures = await stage.interleaved(sides)
    return [compared(row, figures[row], figures[f"{row} straight"]) for row in AT_ONCE if row in figures]


async def _twin(system: System, plain: Client, key: ServiceKey) -> dict[str, Any]:
    """A stream that is the key's but for its subjects; what to publish to it."""
    js = plain.jetstream()
    stream = system.stream_of(key)
    ours = (await js.stream_info(stream)).config
    await js.add_stream(ours.evolve(name=_PLAIN, subjects=["plain.>"]))
    stored = await js.get_last_msg(stream, f"ev.{system.workspace_id}.>")
    headers = dict(stored.headers or {})
    headers["Nats-Msg-Id"] = headers["Nats-Msg-Id"][:-26]  # each event's own comes in the place of the rest
    return {
        "subject": str(stored.subject).replace("ev.", "plain.", 1),
        "payload": (stored.data or b"").decode(),
        "headers": headers,
    }


async def _publish_http(stage: Stage, port: int, keys: Sequence[ServiceKey]) -> Outcome:
    """By itself: there is nothing that it would be compared with."""
    of_one = [each for each in keys if each.environment == keys[0].environment][:CONNECTIONS]
    path, body = f"/api/v1/events?topic={TOPIC}", json.dumps(ORDER)
    async with Peer([sys.executable, "-m", f"{__package__}.load"]).started(stage) as load:
        ours = partial(
            load.rate,
            port=port,
            requests=[request("POST", path, {"Authorization": f"Bearer {key.secret}"}, body) for key in of_one],
            status=201,
            expects='"sequence":',
            connections=CONNECTIONS,
            seconds=stage.options.seconds,
        )
        rates = (await stage.interleaved({"keyfold": ours}))["keyfold"]
    return Outcome(row="publish-http", ours=rates)


async def _consume(stage: Stage, system: System, clients: Peer, plain: Client, key: ServiceKey) -> Outcome:
    """The same events, from consumers of the same settings that both begin anew in each round."""
    await _join(stage, clients, key)
    js, stream = plain.jetstream(), system.stream_of(key)
    consumer = "k_" + key.id.removeprefix("key_")
    config = (await js.consumer_info(stream, consumer)).config
    subject = f"ev.{system.workspace_id}.{key.environment}._.{TOPIC.replace('/', '.')}"
    count = 5_000 if stage.options.quick else 20_000
    event = json.dumps({"specversion": "1.0", "type": "app.order.created", "data": ORDER}).encode()
    for _ in range(count // 500):
        await asyncio.gather(*[js.publish(subject, event) for _ in range(500)])

    async def rate(login: str, domain: str | None, name: str) -> float:
        await js.delete_consumer(stream, name)
        await js.add_consumer(stream, _named(config, name))
        return await clients.rate(do="consume", name=login, domain=domain, stream=stream, consumer=name, count=count)

    await js.add_consumer(stream, _named(config, _PLAIN))
    sides: dict[str, Side] = {
        "keyfold": partial(rate, key.id, DOMAIN, consumer),
        "plain": partial(rate, "plain", None, _PLAIN),
    }
    figures = await stage.interleaved(sides)
    return compared("consume-native", figures["keyfold"], figures["plain"])


def _named(config: ConsumerConfig, name: str) -> ConsumerConfig:
    return config.evolve(name=name, durable_name=name)
