"""Whatever a partner's client tries at NATS beside what its key allows: nothing stored, nothing acknowledged, nothing
read. NATS checks no permissions on reply subjects, so most of these put somebody else's subject there."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contract.tenant import Clock, Tenant, make_tenant, running
from keyfold.settings import Settings

from .partner import Connect, sent
from .support import LIMIT

API = "$JS.keyfold.API.CONSUMER"


class Scene(NamedTuple):
    """A forger, and a victim that has received an event and not acknowledged it. Twelve events are stored, in order."""

    tenant: Tenant
    forger: Client
    victim: Client
    stream: str
    own: str
    theirs: str
    pulled: Msg

    async def state(self) -> tuple[int, int, int]:
        """Events stored, and of the victim's consumer what was delivered and how many wait for acknowledgement."""
        js = self.tenant.services.bus.jetstream()
        info = await js.consumer_info(self.stream, self.theirs)
        stored = (await js.stream_info(self.stream)).state.messages
        return stored, info.delivered.consumer_seq, info.num_ack_pending or 0


@pytest.fixture
async def scene(settings: Settings, connect: Connect) -> AsyncIterator[Scene]:
    async with running(settings, Clock()) as (services, api):
        tenant = await make_tenant(api, services)
        _, forging = await tenant.onboard()
        _, sound = await tenant.onboard()
        forger, victim = await connect(forging["prod"]["secret"]), await connect(sound["prod"]["secret"])
        for n in range(12):
            stream = (await sent(victim, "app/order/created", {"n": n}))["stream"]
        own, theirs = ("k_" + each["prod"]["id"].removeprefix("key_") for each in (forging, sound))
        pull = await victim.jetstream(domain="keyfold").pull_subscribe_bind(consumer=theirs, stream=stream)
        (pulled,) = await pull.fetch(1, timeout=LIMIT)
        yield Scene(tenant, forger, victim, stream, own, theirs, pulled)


async def own_message(scene: Scene) -> Msg:
    """An event that the forger received by right."""
    pull = await scene.forger.jetstream(domain="keyfold").pull_subscribe_bind(consumer=scene.own, stream=scene.stream)
    (message,) = await pull.fetch(1, timeout=LIMIT)
    await pull.unsubscribe()
    return message


async def by_next(scene: Scene, target: str) -> None:
    await scene.forger.publish(f"{API}.MSG.NEXT.{scene.stream}.{scene.own}", b"1", reply=target)


async def by_info(scene: Scene, target: str) -> None:
    await scene.forger.publish(f"{API}.INFO.{scene.stream}.{scene.own}", b"", reply=target)


async def by_publish(scene: Scene, target: str) -> None:
    """The answer to an event that is refused, so that it isn't stored itself."""
    await scene.forger.publish("events.app.order.created", b"{", reply=target)


async def by_acknowledging(scene: Scene, target: str) -> None:
    await scene.forger.publish((await own_message(scene)).reply, b"+ACK", reply=target)


async def by_acknowledging_for_the_next(scene: Scene, target: str) -> None:
    await scene.forger.publish((await own_message(scene)).reply, b"+NXT", reply=target)


ROADS = [by_next, by_info, by_publish, by_acknowledging, by_acknowledging_for_the_next]


@pytest.mark.parametrize("road", ROADS, ids=[each.__name__ for each in ROADS])
async def test_no_answer_is_led_into_somebody_elses_subject(
    scene: Scene, road: Callable[[Scene, str], Awaitable[None]]
) -> None:
    inbox = scene.victim.new_inbox()
    heard = await scene.victim.subscribe(inbox)
    await scene.victim.flush()
    before = await scene.state()
    base = f"ev.{scene.tenant.id}.prod._"
    for target in (
        "events.app.order.forged",
        f"{base}.app.order.forged",
        scene.pulled.reply,
        scene.pulled.reply.replace("$JS.ACK", "$JS.keyfold.ACK"),
        inbox,
        f"$JS.API.CONSUMER.MSG.NEXT.{scene.stream}.{scene.theirs}",
        f"{API}.MSG.NEXT.{scene.stream}.{scene.theirs}",
        "keyfold.appended",
        "lc.forged",
    ):
        await road(scene, target)
    await scene.forger.flush()
    await asyncio.sleep(0.3)
    assert await scene.state() == before
    with pytest.raises(nats.errors.TimeoutError):
        await heard.next_msg(timeout=0.05)
    assert (await sent(scene.forger, "app/order/created", {}))["seq"] == before[0] + 1


async def test_the_sender_is_who_the_server_says(scene: Scene) -> None:
    """A client's own Nats-Request-Info counts for nothing."""
    fake = json.dumps({"acc": "A", "user": "key_01h455vb4pex5vsknk084sn02q", "host": "192.0.2.1"})
    answer = await sent(scene.forger, "app/order/created", {}, **{"Nats-Request-Info": fake})
    message = await scene.tenant.services.bus.jetstream().get_msg(scene.stream, seq=answer["seq"])
    assert json.loads(message.data or b"")["keyid"] == "key_" + scene.own.removeprefix("k_")


async def test_nothing_else_is_reached_by_publishing(scene: Scene) -> None:
    """Not another's consumer, not the API of JetStream, not our own subjects: nobody answers."""
    before = await scene.state()
    stream, theirs = scene.stream, scene.theirs
    dev = stream.replace("_prod", "_dev")
    subjects = [
        f"{api}.{what}"
        for api in ("$JS.API", "$JS.keyfold.API")
        for what in (
            f"CONSUMER.MSG.NEXT.{stream}.{theirs}",
            f"CONSUMER.INFO.{stream}.{theirs}",
            f"CONSUMER.MSG.NEXT.{dev}.{scene.own}",
            f"CONSUMER.CREATE.{stream}",
            f"CONSUMER.CREATE.{stream}.forged",
            f"CONSUMER.DURABLE.CREATE.{stream}.forged",
            f"CONSUMER.DELETE.{stream}.{theirs}",
            f"STREAM.MSG.GET.{stream}",
            f"STREAM.INFO.{stream}",
            f"STREAM.PURGE.{stream}",
            "STREAM.NAMES",
            f"DIRECT.GET.{stream}",
            f"DIRECT.GET.{stream}.ev.{scene.tenant.id}.prod._.app.order.created",
        )
    ]
    subjects += [
        scene.pulled.reply,
        f"ev.{scene.tenant.id}.prod._.app.order.forged",
        "keyfold.verify",
        "keyfold.appended",
        "in.forged.app.order.created",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.CLAIMS.UPDATE",
    ]
    for subject in subjects:
        with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
            await scene.forger.request(subject, b'{"seq": 1}', timeout=0.1)
    assert await scene.state() == before


async def test_nothing_is_overheard(scene: Scene) -> None:
    """Whatever it subscribes to, it hears of nobody else."""
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    for subject in (">", "events.>", "ev.>", "in.>", "_INBOX.>", "$JS.>", "$SYS.>", "lc.>", "keyfold.>", "_R_.>"):
        await scene.forger.subscribe(subject, cb=hear)
    await scene.forger.flush()
    await sent(scene.victim, "app/order/created", {})
    await scene.pulled.ack_sync(timeout=LIMIT)
    await scene.victim.request(f"{API}.INFO.{scene.stream}.{scene.theirs}", b"", timeout=1)
    await asyncio.sleep(0.1)
    assert heard == []


async def test_two_keys_of_one_partner_are_strangers_too(scene: Scene, connect: Connect) -> None:
    """Each key has an account of its own: another environment's topics are not there at all."""
    tenant = scene.tenant
    _, keys = await tenant.onboard()
    dev = await connect(keys["dev"]["secret"])
    assert (await sent(dev, "app/order/created", {}))["stream"] == f"EV_{tenant.id}_dev"
    own = "k_" + keys["prod"]["id"].removeprefix("key_")
    with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
        await dev.request(f"{API}.INFO.{scene.stream}.{own}", b"", timeout=0.2)
