"""Partners' apps at NATS: a plain client with the access key as its token."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest

from contract.tenant import Clock, Tenant, make_tenant, running
from keyfold.domain.record import read_record
from keyfold.settings import Settings

from .partner import Connect, sent
from .support import LIMIT


@pytest.fixture
async def tenant(settings: Settings) -> AsyncIterator[Tenant]:
    async with running(settings, Clock()) as (services, api):
        yield await make_tenant(api, services)


async def test_a_plain_client_publishes_with_its_key_as_the_token(tenant: Tenant, connect: Connect) -> None:
    """By a request, and by its own `js.publish`; the answer comes when the event is stored, and says where."""
    partner_id, keys = await tenant.onboard()
    client = await connect(keys["prod"]["secret"])
    first = await sent(client, "app/order/created", {"n": 1})
    second = await sent(client, "app/order/created", {"n": 2})
    third = await client.jetstream(domain="keyfold").publish("events.app.order.created", b'{"n": 3}')
    assert first["stream"] == f"EV_{tenant.id}_prod"
    assert [first["seq"], second["seq"], third.seq] == [1, 2, 3]
    stored = await tenant.services.bus.jetstream().get_msg(first["stream"], seq=1)
    event = json.loads(stored.data or b"")
    assert stored.subject == f"ev.{tenant.id}.prod._.app.order.created"
    assert (event["source"], event["keyid"]) == (f"/partners/{partner_id}", keys["prod"]["id"])
    assert (event["id"], event["data"]) == (first["id"], {"n": 1})


async def test_a_client_that_knows_no_tokens_gives_its_key_as_the_password(tenant: Tenant, connect: Connect) -> None:
    _, keys = await tenant.onboard()
    client = await connect("", token=None, user="any", password=keys["dev"]["secret"])
    assert (await sent(client, "app/order/created", {}))["stream"] == f"EV_{tenant.id}_dev"


async def test_a_plain_client_consumes_what_its_key_may_receive(tenant: Tenant, connect: Connect) -> None:
    """Its own durable consumer is there when it connects: pulled and acknowledged with nothing but the client."""
    _, sender = await tenant.onboard()
    _, receiver = await tenant.onboard()
    publisher = await connect(sender["prod"]["secret"])
    stream = (await sent(publisher, "app/order/created", {"n": 1}))["stream"]
    client = await connect(receiver["prod"]["secret"])
    consumer = "k_" + receiver["prod"]["id"].removeprefix("key_")
    pull = await client.jetstream(domain="keyfold").pull_subscribe_bind(consumer=consumer, stream=stream)
    (message,) = await pull.fetch(1, timeout=LIMIT)
    assert json.loads(message.data)["data"] == {"n": 1}
    await message.ack_sync(timeout=LIMIT)
    await sent(publisher, "app/order/created", {"n": 2})
    (message,) = await pull.fetch(1, timeout=LIMIT)
    assert json.loads(message.data)["data"] == {"n": 2}
    assert message.metadata.sequence.stream == 2


async def test_events_come_in_each_mode_of_cloudevents(tenant: Tenant, connect: Connect) -> None:
    """Structured, binary, and plain JSON, which is wrapped. What the sender says of itself is replaced."""
    partner_id, keys = await tenant.onboard()
    structured = {"specversion": "1.0", "id": "a", "source": "/me", "type": "made", "keyid": "key_no", "data": [1]}
    binary = {"ce-specversion": "1.0", "ce-id": "b", "ce-source": "/me", "ce-type": "made"}
    client = await connect(keys["prod"]["secret"])
    js = client.jetstream(domain="keyfold")
    subject = "events.app.order.created"
    await js.publish(subject, json.dumps(structured).encode(), headers={"content-type": "application/cloudevents+json"})
    await js.publish(subject, b"[1]", headers=binary)
    await js.publish(subject, b"[1]", headers={"Nats-Msg-Id": "c"})
    again = await js.publish(subject, b"[1]", headers={"Nats-Msg-Id": "c"})
    assert (again.seq, again.duplicate) == (3, True)
    for seq, name, kind in ((1, "a", "made"), (2, "b", "made"), (3, "c", "app.order.created")):
        event = json.loads((await tenant.services.bus.jetstream().get_msg(f"EV_{tenant.id}_prod", seq=seq)).data or b"")
        assert (event["id"], event["type"], event["data"]) == (name, kind, [1])
        assert (event["source"], event["keyid"]) == (f"/partners/{partner_id}", keys["prod"]["id"])


async def test_whatever_the_key_may_not_send_is_refused_where_it_is_tried(tenant: Tenant, connect: Connect) -> None:
    """With the code and the reason in the answer, as `js.publish` raises them."""
    _, keys = await tenant.onboard()
    key = keys["prod"]
    rule = {"options": {"send": {"topics": ["app/order/*"]}}}
    changed = await tenant.api.patch(
        f"/api/v1/keys/{key['id']}", json=rule, headers={"Authorization": f"Bearer {tenant.owner_key}", "If-Match": "*"}
    )
    assert changed.status_code == 200, changed.text
    client = await connect(key["secret"])
    assert "seq" in await sent(client, "app/order/created", {})
    refused = await sent(client, "app/invoice/created", {})
    assert (refused["code"], refused["error"]["code"]) == ("topic-not-permitted", 403)
    assert "app/invoice/created" in refused["error"]["description"]
    with pytest.raises(nats.js.errors.APIError, match="app/invoice/created"):
        await client.jetstream(domain="keyfold").publish("events.app.invoice.created", b"{}")
    answer = await client.request("events.app.order.created", b"{", timeout=LIMIT)
    assert json.loads(answer.data)["code"] == "invalid-request"
    assert (await sent(client, "app/order/created", {}, **{"ce-to": "prt_no"}))["error"]["code"] in (400, 422)
    assert (await tenant.services.bus.jetstream().stream_info(f"EV_{tenant.id}_prod")).state.messages == 1


async def test_what_waits_too_long_and_too_much_of_one_key_is_refused_and_others_go_on(
    tenant: Tenant, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.bus.ingress.OF_ONE", 4)
    monkeypatch.setattr("keyfold.bus.ingress.PATIENCE", 0.5)
    _, keys = await tenant.onboard()
    one, other = [await connect(keys[each]["secret"]) for each in ("prod", "dev")]
    find = tenant.services.verifier.find_id

    async def slow(key_id: str) -> Any:
        if key_id == keys["prod"]["id"]:
            await asyncio.sleep(0.6)
        return await find(key_id)

    monkeypatch.setattr(tenant.services.verifier, "find_id", slow)
    flood = asyncio.gather(*[sent(one, "app/order/created", {"n": n}) for n in range(6)])
    await asyncio.sleep(0.1)
    assert "seq" in await sent(other, "app/order/created", {})
    first, *waited, fifth, sixth = await flood
    assert "seq" in first
    assert [each["error"]["code"] for each in waited] == [503] * 3
    assert all("took too long" in each["error"]["description"] for each in waited)
    assert all("Too many" in each["error"]["description"] for each in (fifth, sixth))
    assert (await tenant.services.bus.jetstream().stream_info(f"EV_{tenant.id}_prod")).state.messages == 1


@pytest.mark.parametrize("what", ["nothing", "no key", "a wrong secret", "an account key", "revoked", "suspended"])
async def test_nobody_else_gets_in(tenant: Tenant, connect: Connect, what: str) -> None:
    _, keys = await tenant.onboard()
    token = keys["prod"]["secret"]
    if what in ("revoked", "suspended"):
        await tenant.post(
            f"/api/v1/keys/{keys['prod']['id']}/{what.removesuffix('ed').replace('revok', 'revoke')}",
            {"reason": "test"},
        )
    other = {
        "nothing": "",
        "no key": "hunter2",
        "a wrong secret": token[:-7] + "xxxxxxx",
        "an account key": tenant.integration_key,
    }
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await connect(other.get(what, token))


async def test_the_audit_trail_says_why_somebody_wasnt_let_in(tenant: Tenant, connect: Connect) -> None:
    """Which the client isn't told. Many alike are one record; an unknown key is nobody's."""
    _, keys = await tenant.onboard()
    key = keys["prod"]
    await tenant.post(f"/api/v1/keys/{key['id']}/suspend", {"reason": "test"})
    for _ in range(3):
        with pytest.raises(nats.errors.Error):
            await connect(key["secret"])
    await tenant.services.attempts.flush()
    await tenant.services.attempts.flush()
    with pytest.raises(nats.errors.Error):
        await connect(key["secret"])
    head = await tenant.services.journal.head()
    await tenant.services.attempts.flush()
    assert await tenant.services.journal.head() == head
    rows = await tenant.services.postgres.fetch("SELECT record FROM keyfold.log WHERE position = $1", head)
    record = json.loads(rows[0]["record"])
    assert (record["type"], record["actor"]["id"]) == ("access.refused.v1", key["id"])
    assert (record["data"]["code"], record["data"]["count"], record["data"]["road"]) == ("suspended", 3, "nats")
    assert "127.0.0.1" not in rows[0]["record"]  # it is sealed
    (opened,) = await tenant.services.opener.open(tenant.services.postgres.fetch, [read_record(rows[0]["record"])])
    assert opened.actor.address == json.loads(bytes(opened.data))["address"] == "127.0.0.1"
