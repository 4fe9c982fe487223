"""All pairs of two workspaces, two partners in each and three environments, over NATS and over HTTP: nobody gets,
reads, acknowledges or moves what isn't his, and a key for dev nothing of prod."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from itertools import product
from typing import Any, NamedTuple

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contract.streaming import reading
from contract.tenant import Clock, Tenant, bearer, make_tenant, running
from keyfold.settings import Settings

from .partner import Connect, sent

ENVIRONMENTS = ("dev", "stage", "prod")
API = "$JS.keyfold.API.CONSUMER"
CONSUMERS = "/api/v1/consumers"
GROUP = "shared"
"""Every partner has a consumer of this name, in each environment."""
TOPIC = "app/order/created"
SILENCE = 0.2
"""Seconds that a request at NATS gets which nobody should answer."""


class App:
    """An app of a partner in one environment: its key, its connection, and what it has under way."""

    def __init__(self, tenant: Tenant, partner_id: str, key: dict[str, Any]) -> None:
        self.tenant = tenant
        self.partner_id = partner_id
        self.key = key
        self.environment: str = key["environment"]
        self.name = f"{tenant.id}/{partner_id}/{self.environment}"
        self.stream = f"EV_{tenant.id}_{self.environment}"
        self.own = "k_" + key["id"].removeprefix("key_")
        self.group = f"g_{partner_id.removeprefix('prt_')}_{GROUP}"
        self.client: Client
        self.message: Msg
        self.pulled: Any
        self.letter: Any

    @property
    def room(self) -> tuple[str, str]:
        """Those of one workspace and one environment receive what is for everyone there."""
        return self.tenant.id, self.environment

    async def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        headers = bearer(self.key["secret"])
        return await self.tenant.api.request(method, path, json=body, params=params, headers=headers)

    async def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """What it is answered, where it is at home."""
        answer = await self.call(method, CONSUMERS + path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["data"]

    async def letters(self, name: str = GROUP) -> Any:
        return await self.ask(f"/{name}/dead-letters", method="GET")

    async def publish(self, data: Any, event_id: str, *, to: str = "") -> Any:
        """Over HTTP. The answer."""
        body = {"specversion": "1.0", "id": event_id, "type": "test", "data": data} | ({"to": to} if to else {})
        headers = bearer(self.key["secret"]) | {"Content-Type": "application/cloudevents+json"}
        return await self.tenant.api.post("/api/v1/events", params={"topic": TOPIC}, json=body, headers=headers)


class Town(NamedTuple):
    apps: list[App]

    def expected(self, app: App) -> Counter[str]:
        """What an app receives: from each of its room an event over each road, fillers, and one for it by name."""
        names = Counter[str]()
        for each in self.apps:
            if each.room == app.room:
                names.update([f"http {each.name}", f"nats {each.name}"])
        names.update({f"filler {app.room}": self.fillers(app)} if self.fillers(app) else {})
        names[f"named {app.name}"] += 1
        return names

    def fillers(self, app: App) -> int:
        """Different in each room, so that no two apps wait for the same sequence in their streams."""
        return 2 * sorted({each.room for each in self.apps}).index(app.room)

    async def state(self) -> dict[str, Any]:
        """All that is stored, and how far each consumer is."""
        js = self.apps[0].tenant.services.bus.jetstream()
        found: dict[str, Any] = {}
        for app in self.apps:
            found[app.stream] = (await js.stream_info(app.stream)).state.messages
            for consumer in (app.own, app.group):
                info = await js.consumer_info(app.stream, consumer)
                ends = info.delivered.consumer_seq, info.ack_floor.consumer_seq, info.num_ack_pending
                found[f"{app.name} {consumer}"] = (*ends, info.num_pending, info.num_redelivered, info.created)
            found[f"{app.name} dead"] = [each["event"]["data"] for each in await app.letters() if each["event"]]
        return found


@pytest.fixture
async def town(settings: Settings, connect: Connect) -> AsyncIterator[Town]:
    """Twelve apps, connected, each with a consumer of its partner's; nothing is published."""
    async with running(settings, Clock()) as (services, api):
        apps: list[App] = []
        for name in ("Acme", "Umbrella"):
            tenant = await make_tenant(api, services, name)
            for _ in range(2):
                partner_id, keys = await tenant.onboard()
                apps += [App(tenant, partner_id, keys[environment]) for environment in ENVIRONMENTS]
        for app in apps:
            await app.ask("", {"name": GROUP, "start": "beginning"})
            app.client = await connect(app.key["secret"])
        yield Town(apps)


@pytest.mark.long
async def test_each_app_has_what_is_its_own_and_no_other_gets_at_it(town: Town) -> None:
    """Events with the same ids and topics, and consumers with the same names, everywhere."""
    await publish_everywhere(town)
    for app in town.apps:
        assert await over_nats(town, app) == town.expected(app), app.name
        assert await over_http(town, app) == town.expected(app), app.name
        assert await over_sse(town, app) == town.expected(app), app.name
    await dead_letters_are_their_consumers(town)
    before = await town.state()
    assert sum(each for name, each in before.items() if name.startswith("EV_")) == sum(stored(town))
    await asyncio.gather(*[intrude_over_nats(app, others(town, app)) for app in town.apps])
    await asyncio.gather(*[intrude_over_http(app, others(town, app)) for app in town.apps])
    await asyncio.gather(*[name_strangers(app, others(town, app)) for app in town.apps])
    for app, neighbour in ((each, neighbour_of(town, each)) for each in town.apps):
        await reject_what_never_came(app, neighbour.pulled["sequence"])
    assert await town.state() == before
    for app in town.apps:  # what the others tried to acknowledge is still there to be acknowledged
        await app.message.ack_sync(timeout=5)
        (answer,) = await app.ask(f"/{GROUP}/ack", {"tokens": [app.pulled["token"]]})
        assert answer["status"] == "done"


def neighbour_of(town: Town, app: App) -> App:
    (neighbour,) = [each for each in others(town, app) if each.room == app.room]
    return neighbour


def others(town: Town, app: App) -> list[App]:
    return [each for each in town.apps if each is not app]


def stored(town: Town) -> Iterable[int]:
    """How many events there are of each app; what is for everyone in a room is stored once."""
    for app in town.apps:
        yield 3 + town.fillers(app) // 2


async def publish_everywhere(town: Town) -> None:
    for app in town.apps:
        for n in range(town.fillers(app) // 2):  # by each of two
            assert (await app.publish(f"filler {app.room}", f"filler-{n}")).status_code == 201
        answer = await app.publish(f"http {app.name}", "over-http")
        assert (answer.status_code, answer.json()["data"]["duplicate"]) == (201, False)
        answer = await sent(app.client, TOPIC, f"nats {app.name}", **{"ce-specversion": "1.0", "ce-id": "over-nats"})
        assert (answer["stream"], "duplicate" in answer) == (app.stream, False)
    for app in town.apps:
        answer = await neighbour_of(town, app).publish(f"named {app.name}", "by-name", to=app.partner_id)
        assert answer.status_code == 201, answer.text


async def over_nats(town: Town, app: App) -> Counter[str]:
    """All that its own consumer gives; the one that is for the app by name stays unacknowledged."""
    js = app.client.jetstream(domain="keyfold")
    pull = await js.pull_subscribe_bind(consumer=app.own, stream=app.stream)
    messages = await pull.fetch(town.expected(app).total(), timeout=20)
    for message in messages:
        if json.loads(message.data)["data"].startswith("named"):
            app.message = message
        else:
            await message.ack_sync(timeout=5)
    info = await pull.consumer_info()
    assert (info.num_pending, info.num_ack_pending) == (0, 1)  # there is no more
    await pull.unsubscribe()
    return Counter(json.loads(message.data)["data"] for message in messages)


async def over_http(town: Town, app: App) -> Counter[str]:
    """All that its partner's consumer gives: one event is rejected for good, and the one by name stays under way."""
    events = await app.ask(f"/{GROUP}/pull", {"batch": 100, "waitSeconds": 0})
    assert await app.ask(f"/{GROUP}/pull", {"batch": 100, "waitSeconds": 0}) == []
    (app.pulled,) = [each for each in events if each["event"]["data"].startswith("named")]
    first, *rest = [each["token"] for each in events if each is not app.pulled]
    answers = await app.ask(f"/{GROUP}/terminate", {"tokens": [first], "reason": app.name})
    answers += await app.ask(f"/{GROUP}/ack", {"tokens": rest})
    assert {each["status"] for each in answers} == {"done"}
    return Counter(each["event"]["data"] for each in events)


async def over_sse(town: Town, app: App) -> Counter[str]:
    headers = bearer(app.key["secret"])
    path = "/api/v1/events/stream"
    async with reading(app.tenant.services, path, headers, **{"from": "beginning"}) as stream:
        events = await stream.until(town.expected(app).total(), 20)
    return Counter(each.data["data"] for each in events)


async def dead_letters_are_their_consumers(town: Town) -> None:
    """JetStream notes them a moment later."""
    for app in town.apps:
        async with asyncio.timeout(20):
            while not (letters := await app.letters()):
                await asyncio.sleep(0.01)
        (app.letter,) = letters
        assert app.letter["detail"] == app.name


async def intrude_over_nats(app: App, theirs: list[App]) -> None:
    """Their consumers, and their acknowledgements in both forms: nobody answers."""
    subjects = [
        subject
        for other in theirs
        for subject in (
            *(
                f"{API}.{what}.{other.stream}.{name}"
                for what in ("MSG.NEXT", "INFO")
                for name in (other.own, other.group)
            ),
            other.message.reply,
            other.message.reply.replace("$JS.ACK", "$JS.keyfold.ACK"),
            f"$JS.ACK.{other.stream}.{other.group}.{other.pulled['token']}",
        )
    ]

    async def hears_nothing(subject: str) -> None:
        with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
            await app.client.request(subject, b"+ACK" if "ACK" in subject else b"1", timeout=SILENCE)

    await asyncio.gather(*[hears_nothing(subject) for subject in subjects])


async def intrude_over_http(app: App, theirs: list[App]) -> None:
    """Their consumers by the names that these have at JetStream, and their deliveries by tokens, which are numbers
    alone and can at most hit something that was the app's own and is done with."""
    for other in theirs:
        for name, what, body in (
            (other.own, "seek", {"from": "beginning"}),
            (other.group, "pull", {"batch": 1, "waitSeconds": 0}),
        ):
            answer = await app.call("POST", f"{CONSUMERS}/{name}/{what}", body)
            assert answer.status_code == 404, answer.text
    tokens = [token for other in theirs for token in (other.pulled["token"], _token(other.message))]
    for name, what in product(("own", GROUP), ("ack", "nack", "extend")):
        await app.ask(f"/{name}/{what}", {"tokens": tokens})
    for other in theirs:
        for method, path in (
            ("POST", f"{other.letter['sequence']}/redrive"),
            ("DELETE", f"{other.letter['sequence']}"),
        ):
            answer = await app.call(method, f"{CONSUMERS}/{GROUP}/dead-letters/{path}")
            assert answer.status_code == 404, answer.text


async def reject_what_never_came(app: App, sequence: int) -> None:
    """A made up delivery of another's event, rejected over each road: JetStream notes it as a dead letter."""
    answers = await app.ask("/own/terminate", {"tokens": [f"1.{sequence}.1.{sequence}.0"]})
    assert answers[0]["status"] in ("done", "unknown")
    reply = app.message.reply.split(".")
    await app.client.publish(".".join([*reply[:-5], "1", str(sequence), "1", "1", "0"]), b"+TERM")
    async with asyncio.timeout(20):
        while len(letters := await app.letters("own")) < 2:
            await asyncio.sleep(0.01)
    assert [(each["eventSequence"], each["event"], each["topic"]) for each in letters] == [(sequence, None, None)] * 2
    for each in letters:
        answer = await app.call("POST", f"{CONSUMERS}/own/dead-letters/{each['sequence']}/redrive")
        assert (answer.status_code, answer.json()["code"]) == (410, "event-gone")


async def name_strangers(app: App, theirs: list[App]) -> None:
    """A partner of another workspace is no recipient, alone or beside one that is; over neither road."""
    for other in {each.partner_id: each for each in theirs if each.tenant is not app.tenant}.values():
        for to in (other.partner_id, f"{app.partner_id},{other.partner_id}"):
            answer = await app.publish("forged", f"forged-{to}", to=to)
            assert (answer.status_code, answer.json()["code"]) == (422, "unknown-recipient")
            answer = await sent(app.client, TOPIC, "forged", **{"ce-specversion": "1.0", "ce-to": to})
            assert answer["code"] == "unknown-recipient"


def _token(message: Msg) -> str:
    return ".".join(message.reply.split(".")[-5:])
