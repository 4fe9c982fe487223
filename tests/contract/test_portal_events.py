"""Events at the portal: topics, a test event under a key's rule, and all that a partner sends and may receive, live."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keyfold.domain.app_event import draft
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import Options, Receive, Send
from keyfold.web.v1 import portal_events

from .consuming import joined, publish, receiving
from .keys import Held, Partner, act, change, held, join, read
from .listening import Heard, Listener, listening
from .tenant import Clock, Tenant, problem

PORTAL = "/api/v1/portal"
STREAM = f"{PORTAL}/events/stream"
ORDER = {"type": "object", "required": ["orderId"], "properties": {"orderId": {"type": "string"}}}


async def trial(workspace: Tenant, partner: Partner, key: Held, topic: str = "app/order/created", **more: Any) -> Any:
    body = {"environment": key.data["environment"], "keyId": key.id, "topic": topic, **more}
    return await workspace.api.post(f"{PORTAL}/events/test", json=body, headers=partner.headers)


async def get(workspace: Tenant, partner: Partner, path: str, **query: Any) -> httpx.Response:
    return await workspace.api.get(f"{PORTAL}{path}", params=query, headers=partner.headers)


async def hear(listener: Listener, most: int) -> list[Heard]:
    """All events so far but the beginning, once there are so many."""
    assert listener.status == 200, listener.body
    async with asyncio.timeout(20):
        while len(heard := [each for each in listener.heard if each.event != "begin"]) < most:
            await asyncio.sleep(0.005)
    return heard


async def with_topic(workspace: Tenant, name: str = "app/order/created", **terms: Any) -> None:
    path = f"/api/v1/integrations/{workspace.integration_id}/topics"
    answer = await workspace.post(path, {"name": name, **terms})
    assert answer.status_code == 201, answer.text


async def test_topics_say_which_keys_send_and_receive_with_schema_and_examples(workspace: Tenant) -> None:
    rule = Options(send=Send(topics=("app/order/*",)), receive=Receive(topics=("app/return/*",)))
    partner = await join(workspace, dev=Offer(("send", "receive"), rule))
    await with_topic(workspace, schema=ORDER, examples=[{"orderId": "o_1"}])
    for name in ("app/return/created", "app/secret/created"):
        await with_topic(workspace, name)
    await workspace.services.lists.include("current", await workspace.services.journal.head())
    answer = await get(workspace, partner, "/topics", environment="dev")
    assert answer.headers["cache-control"] == "no-store"
    topics, key = {each["name"]: each for each in answer.json()["data"]}, partner.keys["dev"].id
    assert {name: (each["send"], each["receive"]) for name, each in topics.items()} == {
        "app/order/created": ([key], []),
        "app/return/created": ([], [key]),
    }
    assert (topics["app/order/created"]["schema"], topics["app/order/created"]["schemaVersion"]) == (ORDER, 1)
    assert topics["app/order/created"]["examples"] == [{"orderId": "o_1"}]
    assert (await get(workspace, partner, "/topics", environment="prod")).json()["data"] == []
    await act(workspace, "suspend", key)
    assert (await get(workspace, partner, "/topics", environment="dev")).json()["data"] == []
    problem(await get(workspace, partner, "/topics"), 400, "invalid-request")


async def test_a_test_event_is_sent_by_the_keys_own_rule_and_says_that_it_is_one(workspace: Tenant) -> None:
    offer = Offer(("send", "receive"), Options(send=Send(topics=("app/order/*",), autofill={"shop": 7})))
    partner = await join(workspace, dev=offer)
    key = partner.keys["dev"]
    await with_topic(workspace, schema=ORDER, examples=[{"orderId": "example"}])
    async with listening(workspace.services, STREAM, partner.headers, environment="dev") as live:
        answer = await trial(workspace, partner, key)
        assert answer.status_code == 201, answer.text
        [seen] = await hear(live, 1)
    event = seen.data["event"]
    assert event["data"] == {"orderId": "example", "shop": 7}
    assert (event["source"], event["keyid"], event["keyfoldtest"]) == (f"/partners/{partner.id}", key.id, True)
    assert event["id"] == answer.json()["data"]["id"]
    assert (seen.data["test"], seen.data["road"], seen.data["keyId"]) == (True, "portal", key.id)
    assert seen.id == str(answer.json()["data"]["sequence"])
    refused = await trial(workspace, partner, key, data={"orderId": 1})
    assert problem(refused, 422, "schema-violation")["errors"][0]["pointer"] == "/orderId"
    problem(await trial(workspace, partner, key, "app/return/created"), 403, "topic-not-permitted")
    assert problem(await trial(workspace, partner, key, "app//x"), 400, "invalid-request")["errors"][0]["pointer"] == (
        "/topic"
    )
    assert (await trial(workspace, partner, key, data=None)).json()["code"] == "autofill-impossible"


async def test_a_test_event_counts_against_the_rate_and_leaves_the_key_unused(workspace: Tenant) -> None:
    partner = await join(workspace, dev=Offer(("send", "receive"), policy=KeyPolicy(rate=Rate(2, 3600))))
    key = partner.keys["dev"]
    new = held(await act(workspace, "rotate", key.id, {"overlapStarts": "first-use"}))
    for _ in range(2):
        assert (await trial(workspace, partner, new)).status_code == 201
    limited = await trial(workspace, partner, new)
    problem(limited, 429, "rate-limited")
    await workspace.services.usage_store.flush(workspace.services.usage)
    assert (await read(workspace, new.id))["lastUsedAt"] is None
    assert (await read(workspace, key.id))["retiresAt"] is None  # the overlap waits for the app's own first use


@pytest.mark.parametrize("what", ["suspend", "revoke"])
async def test_a_key_that_is_no_good_sends_no_test_and_the_session_goes_on(workspace: Tenant, what: str) -> None:
    partner = await join(workspace)
    await act(workspace, what, partner.keys["dev"].id)
    problem(await trial(workspace, partner, partner.keys["dev"]), 409, "key-not-in-use")
    assert (await get(workspace, partner, "/")).status_code == 200


async def test_nobody_tests_with_another_partners_key(workspace: Tenant, neighbour: Tenant) -> None:
    partner, other, foreign = await join(workspace), await join(workspace), await join(neighbour)
    for key in (other.keys["dev"], foreign.keys["dev"]):
        problem(await trial(workspace, partner, key), 404, "not-found")
    elsewhere = partner.keys["dev"]._replace(data={"environment": "prod"})
    problem(await trial(workspace, partner, elsewhere), 404, "not-found")
    hostile = {"Cookie": partner.headers["Cookie"], "Origin": "https://evil.test"}
    body = {"environment": "dev", "keyId": partner.keys["dev"].id, "topic": "app/x"}
    answer = await workspace.api.post(f"{PORTAL}/events/test", json=body, headers=hostile)
    problem(answer, 403, "foreign-origin")


async def test_the_stream_shows_what_is_sent_and_what_may_be_received_and_nothing_else(workspace: Tenant) -> None:
    mine = await joined(workspace, receiving(topics=("app/order/*", "app/return/*")))
    theirs = await join(workspace)
    async with listening(workspace.services, STREAM, mine.headers, environment="dev") as live:
        await publish(workspace, theirs.keys["dev"], 1, topic="app/secret/told")
        await publish(workspace, theirs.keys["dev"], 2, topic="app/order/created")
        await publish(workspace, theirs.keys["dev"], 3, topic="app/order/created", to=theirs.id)
        await publish(workspace, theirs.keys["dev"], 4, topic="app/order/created", to=mine.id)
        await publish(workspace, theirs.keys["prod"], 5, topic="app/order/created")
        await publish(workspace, mine.keys["dev"], 6, topic="app/stock/counted")
        await publish(workspace, mine.keys["dev"], 7, topic="app/order/created", to=theirs.id)
        await publish(workspace, mine.keys["dev"], 8, topic="app/return/made")
        heard = [each.data for each in await hear(live, 5)]
    assert [(each["event"]["data"], each["direction"], each["keyId"], each["to"]) for each in heard] == [
        (2, ["received"], None, None),
        (4, ["received"], None, mine.id),
        (6, ["sent"], mine.keys["dev"].id, None),
        (7, ["sent"], mine.keys["dev"].id, theirs.id),
        (8, ["sent", "received"], mine.keys["dev"].id, None),
    ]
    assert {(each["road"], each["test"], each["environment"]) for each in heard} == {("http", False, "dev")}


async def test_the_stream_is_narrowed_and_goes_on_where_it_stopped(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key, query = partner.keys["dev"], {"environment": "dev", "from": "beginning"}
    first, second, third = [
        (await publish(workspace, key, n, topic=topic))[0]
        for n, topic in enumerate(("app/order/created", "app/return/made", "app/order/paid"))
    ]
    async with listening(workspace.services, STREAM, partner.headers, topics="app/order/*", **query) as live:
        assert [int(each.id) for each in await hear(live, 2)] == [first, third]
    for direction in ("sent", "received"):
        async with listening(workspace.services, STREAM, partner.headers, direction=direction, **query) as live:
            heard = await hear(live, 3)
        assert [each.data["direction"] for each in heard] == [[direction]] * 3
    headers = partner.headers | {"Last-Event-ID": str(first)}
    async with listening(workspace.services, STREAM, headers, **query) as live:
        assert [int(each.id) for each in await hear(live, 2)] == [second, third]
    for wrong in ({"from": "x"}, {"topics": "a//b"}, {"direction": "both"}, {"environment": "moon"}):
        answer = await get(workspace, partner, "/events/stream", **{"environment": "dev", **wrong})
        problem(answer, 400, "invalid-request")


async def test_a_key_for_another_network_shows_nothing_that_it_receives(workspace: Tenant) -> None:
    partner, other = await joined(workspace), await join(workspace)
    key = partner.keys["dev"]
    await change(workspace, key.id, {"sourceNetworks": ["10.0.0.0/8"]})
    query = {"environment": "dev", "from": "beginning"}
    await publish(workspace, other.keys["dev"], {"secret": 1})
    problem(await trial(workspace, partner, key), 409, "key-not-in-use")
    async with listening(workspace.services, STREAM, partner.headers, **query) as live:
        await change(workspace, key.id, {"sourceNetworks": None})
        [seen] = await hear(live, 1)
    assert seen.data["event"]["data"] == {"secret": 1}


async def test_the_stream_ends_with_the_session_the_partner_and_the_time(workspace: Tenant, clock: Clock) -> None:
    async def left(partner: Partner) -> Any:
        return await workspace.api.delete(f"{PORTAL}/session", headers=partner.headers)

    async def offboarded(partner: Partner) -> Any:
        return await workspace.delete(f"/api/v1/partners/{partner.id}")

    async def expired(partner: Partner) -> None:
        clock.advance(timedelta(hours=12))

    for end in (left, offboarded, expired):
        partner = await joined(workspace)
        async with listening(workspace.services, STREAM, partner.headers, environment="dev") as live:
            await end(partner)
            [last] = await hear(live, 1)
            assert (last.event, last.data) == ("end", {"code": "session-ended"}), end
        problem(await get(workspace, partner, "/events/stream", environment="dev"), 401, "unauthenticated")
        workspace.api.cookies.clear()


async def test_one_session_has_only_so_many_streams(workspace: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_events, "STREAMS", 2)
    partner, streams = await joined(workspace), AsyncExitStack()
    async with streams:
        both = []
        for _ in range(2):
            stream = listening(workspace.services, STREAM, partner.headers, environment="dev")
            both.append(await streams.enter_async_context(stream))
            await both[-1].hear(1)
        async with listening(workspace.services, STREAM, partner.headers, environment="dev") as one_too_many:
            assert not any(each.done.is_set() for each in both), [each.body for each in both]
            [refused] = await hear(one_too_many, 1)
        assert (refused.event, refused.data) == ("end", {"code": "too-many-streams"})
    async with listening(workspace.services, STREAM, partner.headers, environment="dev") as live:
        await publish(workspace, partner.keys["dev"], 1)
        assert (await hear(live, 1))[0].event == "message"


async def test_a_stream_that_breaks_before_anything_came_goes_on_where_it_began(workspace: Tenant) -> None:
    partner = await joined(workspace)
    await publish(workspace, partner.keys["dev"], 1)
    async with listening(workspace.services, STREAM, partner.headers, environment="dev") as live:
        [begin] = await live.hear(1)
    assert (begin.event, begin.id) == ("begin", "1")
    await publish(workspace, partner.keys["dev"], 2)
    headers = partner.headers | {"Last-Event-ID": begin.id}
    async with listening(workspace.services, STREAM, headers, environment="dev") as live:
        [seen] = await hear(live, 1)
    assert seen.data["event"]["data"] == 2


async def test_what_a_key_sends_over_nats_says_so(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = await workspace.services.verifier.find_id(partner.keys["dev"].id)
    assert key is not None
    sent = draft({"keyfoldtest": True}, data={"n": 1})  # whatever a sender says of itself
    await workspace.services.ingress.publish(key, sent, topic="app/x", address="192.0.2.9", road="nats")
    query = {"environment": "dev", "from": "beginning"}
    async with listening(workspace.services, STREAM, partner.headers, **query) as live:
        [seen] = await hear(live, 1)
    assert (seen.data["road"], seen.data["test"], seen.data["keyId"]) == ("nats", False, partner.keys["dev"].id)
    assert "192.0.2" not in json.dumps(seen.data)
