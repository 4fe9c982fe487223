"""Consuming over HTTP: a key gets what it may receive, each event until it is acknowledged, and nothing else."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyfold.domain.filters import Filter
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import History, Options, Receive

from .conftest import System
from .consuming import CONSUMERS, call, consumers, data, joined, publish, pull, pulled, receiving, say
from .keys import act, change, changed, delegate, done, eventually, held, issue, join, rotated
from .tenant import Tenant, bearer, problem

LONG = 30
"""Seconds that a pull would wait, had it nothing to end for."""


async def test_a_key_pulls_what_was_sent_and_gets_it_no_more_once_it_is_acknowledged(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    sequences = await publish(workspace, key, {"n": 1}, {"n": 2})
    first, second = await pull(workspace, key)
    assert [first["sequence"], second["sequence"]] == sequences
    assert (first["topic"], first["deliveries"]) == ("app/order/created", 1)
    assert first["event"] | {"id": "", "time": ""} == {
        "specversion": "1.0",
        "id": "",
        "time": "",
        "type": "test",
        "source": first["event"]["source"],
        "keyid": key.id,
        "topic": "app/order/created",
        "data": {"n": 1},
    }
    assert abs(datetime.fromisoformat(first["storedAt"]) - datetime.now(UTC)) < timedelta(seconds=10)
    assert await say(workspace, key, "ack", [first, second]) == ["done", "done"]
    assert await pull(workspace, key) == []
    assert (await consumers(workspace, key))["own"]["ackPending"] == 0


async def test_a_pull_waits_for_the_first_event_and_for_no_more(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    waiting = asyncio.create_task(pull(workspace, key, wait=LONG))
    while not (await consumers(workspace, key))["own"]["waiting"]:
        await asyncio.sleep(0.01)
    await publish(workspace, key, 1)
    assert [each["event"]["data"] for each in await asyncio.wait_for(waiting, LONG / 2)] == [1]


async def test_a_pull_gives_up_when_its_time_is_over(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    began = time.monotonic()
    assert await pull(workspace, key, wait=1) == []
    assert 0.9 < time.monotonic() - began < LONG / 2


async def test_a_batch_has_no_more_than_was_asked_for_and_loses_nothing_of_the_rest(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    waiting = asyncio.create_task(pull(workspace, key, batch=2, wait=LONG))
    await publish(workspace, key, *range(5))
    got = [each["event"]["data"] for each in await waiting]
    while len(got) < 5:
        got += [each["event"]["data"] for each in await pull(workspace, key, batch=2)]
    assert got == [*range(5)]
    assert (await consumers(workspace, key))["own"] == (await consumers(workspace, key))["own"] | {
        "pending": 0,
        "ackPending": 5,
        "redelivered": 0,
    }


async def test_what_is_rejected_comes_again_after_its_delay(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    events = await pull(workspace, key)
    assert await say(workspace, key, "nack", events, delaySeconds=0) == ["done"]
    (again,) = await pull(workspace, key, wait=5)
    assert (again["deliveries"], again["sequence"]) == (2, events[0]["sequence"])
    assert await say(workspace, key, "nack", [again], delaySeconds=60) == ["done"]
    assert await pull(workspace, key, wait=1) == []


async def test_what_is_rejected_without_a_delay_comes_again_after_a_second(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    events = await pull(workspace, key)
    began = time.monotonic()
    assert await say(workspace, key, "nack", events) == ["done"]
    assert len(await pull(workspace, key, wait=10)) == 1
    assert time.monotonic() - began > 0.9


async def test_more_time_can_be_asked_for(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    assert await say(workspace, key, "extend", await pull(workspace, key)) == ["done"]


async def test_a_token_reaches_no_other_consumer_whatever_is_in_it(workspace: Tenant) -> None:
    one, other = (await joined(workspace)).keys["prod"], (await join(workspace)).keys["prod"]
    await publish(workspace, one, 1)
    (mine,), (theirs,) = await pull(workspace, one), await pull(workspace, other)
    own = (await consumers(workspace, other))["own"]["native"]
    forged = [
        theirs["token"],
        f"$JS.ACK.{own['stream']}.{own['consumer']}.{theirs['token']}",
        f"{own['consumer']}.{theirs['token']}",
        theirs["token"].rsplit(".", 1)[0] + ".>",
        theirs["token"] + "\r\nPUB x 1",
        "1.99999.99999.1.0",
        "",
    ]
    answers = await data(workspace, one, "/own/ack", {"tokens": forged})
    assert [each["status"] for each in answers][1:] == ["unknown"] * 6
    assert (await consumers(workspace, other))["own"]["ackPending"] == 1
    assert await say(workspace, other, "nack", [theirs], delaySeconds=0) == ["done"]
    assert len(await pull(workspace, other, wait=5)) == 1
    assert await say(workspace, one, "ack", [mine]) == ["done"]


async def test_only_topics_that_every_rule_above_the_key_has_are_received(workspace: Tenant) -> None:
    partner = await joined(workspace, receiving(topics=("app/order/*", "app/stock/**")))
    sender = partner.keys["prod"]
    receiver = held(
        await issue(
            workspace,
            kind="service",
            environment="prod",
            partnerId=partner.id,
            options={"receive": {"topics": ["app/order/*", "app/stock/eu/*"]}},
        )
    )
    smaller = held(await delegate(workspace, receiver.id, options={"receive": {"topics": ["app/order/paid"]}}))
    for topic in ("app/order/paid", "app/order/new", "app/stock/eu/low", "app/stock/us/low", "app/else"):
        await publish(workspace, sender, topic, topic=topic)
    assert await pulled(workspace, receiver) == ["app/order/paid", "app/order/new", "app/stock/eu/low"]
    assert await pulled(workspace, smaller) == ["app/order/paid"]


async def test_a_rule_that_becomes_smaller_holds_for_what_wasnt_delivered_yet(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    assert await pulled(workspace, key) == [1]
    await publish(workspace, key, "hidden", topic="app/hidden")
    await publish(workspace, key, "shown", topic="app/order/paid")
    patch = {"options": {"receive": {"topics": ["app/order/*"]}}}
    await changed(workspace, key.id, patch)
    assert await pulled(workspace, key) == ["shown"]
    await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/**"]}}})
    await publish(workspace, key, "later", topic="app/hidden")
    assert await pulled(workspace, key) == ["later"]


async def test_an_event_for_named_recipients_reaches_those_alone(workspace: Tenant) -> None:
    sender = await joined(workspace)
    one, other = await join(workspace), await join(workspace)
    await publish(workspace, sender.keys["prod"], "for one", to=one.id)
    await publish(workspace, sender.keys["prod"], "for all")
    assert await pulled(workspace, one.keys["prod"]) == ["for one", "for all"]
    assert await pulled(workspace, other.keys["prod"]) == ["for all"]


async def test_content_filters_of_every_level_are_kept_and_such_a_key_has_no_native_consumer(
    system: System, workspace: Tenant
) -> None:
    offer = receiving(filters=(Filter("customer.id", "eq", "c_1"),))
    partner = await joined(workspace, offer)
    sender = partner.keys["prod"]
    stricter = {"options": {"receive": {"filters": [
        {"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"},
        {"propertyName": "total", "operator": "gte", "propertyValue": 10},
    ]}}}  # fmt: skip
    receiver = held(await issue(workspace, kind="service", environment="prod", partnerId=partner.id, **stricter))
    mine, theirs = {"customer": {"id": "c_1"}}, {"customer": {"id": "c_2"}}
    await publish(workspace, sender, mine | {"total": 12}, mine | {"total": 1}, theirs | {"total": 99}, "text")
    assert await pulled(workspace, receiver) == [mine | {"total": 12}]
    assert await pulled(workspace, sender) == [mine | {"total": 12}, mine | {"total": 1}]
    own = (await consumers(workspace, receiver))["own"]
    assert (own["native"], own["why"]["code"]) == (None, "content-filters")
    assert (own["pending"], own["ackPending"]) == (0, 0), "what it may not see is settled"
    names = [each.name for each in await system.services.bus.jetstream().consumers_info(f"EV_{workspace.id}_prod")]
    assert f"h_{receiver.id[4:]}" in names
    assert f"k_{receiver.id[4:]}" not in names


async def test_a_key_that_gets_filters_goes_on_where_it_was_and_back_again(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, {"n": 1}, {"n": 2})
    first, _ = await pull(workspace, key)
    assert await say(workspace, key, "ack", [first]) == ["done"]
    native = (await consumers(workspace, key))["own"]["native"]
    assert native == {"stream": f"EV_{workspace.id}_prod", "consumer": f"k_{key.id[4:]}"}
    filters = [{"propertyName": "n", "operator": "gt", "propertyValue": 0}]
    await changed(workspace, key.id, {"options": {"receive": {"filters": filters}}})
    (second,) = await pull(workspace, key)
    assert second["event"]["data"] == {"n": 2}
    await changed(workspace, key.id, {"options": {"receive": {"filters": []}}})
    await publish(workspace, key, {"n": 0})
    assert await pulled(workspace, key) == [{"n": 2}, {"n": 0}]
    assert (await consumers(workspace, key))["own"]["native"] == native


async def test_only_what_lies_within_the_window_is_received(workspace: Tenant) -> None:
    partner = await joined(workspace, receiving(history=History(seconds=1)))
    key = partner.keys["prod"]
    await publish(workspace, key, "old")
    await asyncio.sleep(1.2)
    await publish(workspace, key, "new")
    assert await pulled(workspace, key) == ["new"]
    assert (await consumers(workspace, key))["own"]["why"]["code"] == "history-window"


async def test_a_window_that_has_ended_gives_nothing(workspace: Tenant) -> None:
    ended = History(until=datetime(2026, 1, 1, tzinfo=UTC))
    key = (await joined(workspace, receiving(history=ended))).keys["prod"]
    await publish(workspace, key, 1)
    assert await pulled(workspace, key) == []


async def test_a_key_gets_nothing_from_before_it_was_issued_unless_it_seeks(workspace: Tenant) -> None:
    sender = (await joined(workspace)).keys["prod"]
    await publish(workspace, sender, "before")
    await asyncio.sleep(0.01)
    receiver = (await join(workspace)).keys["prod"]
    await publish(workspace, sender, "after")
    assert await pulled(workspace, receiver) == ["after"]
    await data(workspace, receiver, "/own/seek", {"from": "beginning"})
    assert await pulled(workspace, receiver) == ["before", "after"]


async def test_a_consumer_is_moved_to_a_sequence_a_time_and_its_ends(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    sequences = await publish(workspace, key, 1, 2, 3)
    events = await pull(workspace, key)
    for place, left in (
        (sequences[1], [2, 3]),
        (str(sequences[2]), [3]),
        (events[1]["storedAt"], [2, 3]),
        ("beginning", [1, 2, 3]),
        ("end", []),
        ("2020-01-01T00:00:00Z", [1, 2, 3]),
        ("2999-01-01T00:00:00Z", []),
    ):
        moved = await data(workspace, key, "/own/seek", {"from": place})
        assert (moved["pending"], moved["ackPending"]) == (len(left), 0), place
        assert await pulled(workspace, key) == left, place
    await publish(workspace, key, 4)
    assert await pulled(workspace, key) == [4]


@pytest.mark.parametrize("place", ["", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "-1", 0, "9" * 30, [], None])
async def test_what_is_no_place_is_refused(workspace: Tenant, place: object) -> None:
    key = (await joined(workspace)).keys["prod"]
    answer = await call(workspace, key, "/own/seek", {"from": place})
    assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == ["/from"]


async def test_nobody_seeks_to_before_the_window(workspace: Tenant) -> None:
    (first,) = await publish(workspace, (await joined(workspace)).keys["prod"], "too early")
    offer = receiving(history=History(since=datetime.now(UTC)))
    key = (await joined(workspace, offer)).keys["prod"]
    await publish(workspace, key, "in time")
    for place in ("beginning", first, "2020-01-01T00:00:00Z"):
        await data(workspace, key, "/own/seek", {"from": place})
        assert await pulled(workspace, key) == ["in time"], place


async def test_a_successor_goes_on_where_its_predecessor_stopped(workspace: Tenant) -> None:
    old = (await joined(workspace)).keys["prod"]
    await publish(workspace, old, 1, 2)
    one, two = await pull(workspace, old)
    assert await say(workspace, old, "ack", [one]) == ["done"]
    new = await rotated(workspace, old.id)
    newest = await rotated(workspace, new.id)
    assert await say(workspace, newest, "nack", [two], delaySeconds=0) == ["done"], "the delivery is the line's"
    assert await pulled(workspace, newest, wait=5) == [2]
    await publish(workspace, newest, 3)
    assert await pulled(workspace, new) == [3], "the one before works on, on the same consumer"
    assert await pulled(workspace, newest) == []
    assert (await consumers(workspace, newest))["own"]["native"]["consumer"] == f"k_{old.id[4:]}"


async def test_what_replaces_a_compromised_key_takes_over_its_consumer(workspace: Tenant) -> None:
    old = (await joined(workspace)).keys["prod"]
    await publish(workspace, old, 1, 2)
    (one, _) = await pull(workspace, old)
    assert await say(workspace, old, "ack", [one]) == ["done"]
    answer = await act(workspace, "compromise", old.id, {"reason": "leaked", "replace": True})
    replacement = answer.json()["data"]["replacement"]
    headers = bearer(replacement["secret"])
    listed = await workspace.api.get(CONSUMERS, headers=headers)
    assert listed.json()["data"][0]["native"]["consumer"] == f"k_{old.id[4:]}"
    assert listed.json()["data"][0]["ackPending"] == 1


async def test_a_predecessor_with_a_smaller_rule_than_its_successor_gets_nothing_of_the_others(
    workspace: Tenant,
) -> None:
    old = (await joined(workspace)).keys["prod"]
    new = await rotated(workspace, old.id)
    await changed(workspace, old.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
    await publish(workspace, new, "order")
    refused = problem(await call(workspace, old, "/own/pull", {}), 403, "consumer-beyond-reach")
    assert [each["pointer"] for each in refused["errors"]] == ["/topics/0"]
    assert await pulled(workspace, new) == ["order"]
    assert [*(await consumers(workspace, old))] == []


async def test_a_predecessor_with_a_larger_rule_gets_what_its_successor_may(workspace: Tenant) -> None:
    old = (await joined(workspace)).keys["prod"]
    new = await rotated(workspace, old.id)
    await changed(workspace, new.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
    await publish(workspace, old, "hidden", topic="app/hidden")
    await publish(workspace, old, "order")
    assert await pulled(workspace, old) == ["order"]


@pytest.mark.parametrize("what", ["revoke", "suspend"])
async def test_a_pull_that_waits_ends_with_the_key(workspace: Tenant, what: str) -> None:
    partner = await joined(workspace)
    key, other = partner.keys["prod"], (await join(workspace)).keys["prod"]
    waiting = asyncio.create_task(call(workspace, key, "/own/pull", {"waitSeconds": LONG}))
    await asyncio.sleep(0.3)
    await done(workspace, what, key.id)
    problem(await asyncio.wait_for(waiting, LONG / 2), 401, "unauthenticated")
    await publish(workspace, other, "afterwards")
    problem(await call(workspace, key, "/own/pull", {}), 401, "unauthenticated")


async def test_a_pull_that_waits_gives_nothing_that_was_sent_after_the_rule_lost_it(workspace: Tenant) -> None:
    key, sender = (await joined(workspace)).keys["prod"], (await join(workspace)).keys["prod"]
    waiting = asyncio.create_task(pull(workspace, key, wait=4))
    await asyncio.sleep(0.3)
    await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
    await publish(workspace, sender, "hidden", topic="app/hidden")
    await publish(workspace, sender, "shown", topic="app/order/new")
    got = await waiting or await pull(workspace, key)
    assert [each["event"]["data"] for each in got] == ["shown"]


async def test_keys_that_may_not_receive_are_told_so(workspace: Tenant) -> None:
    sender = (await joined(workspace, Offer(("send",)))).keys["prod"]
    problem(await call(workspace, sender, "/own/pull", {}), 403, "action-not-permitted")
    owner = bearer(workspace.owner_key)
    problem(await workspace.api.post(f"{CONSUMERS}/own/pull", json={}, headers=owner), 403, "action-not-permitted")
    problem(await workspace.api.post(f"{CONSUMERS}/own/pull", json={}), 401, "unauthenticated")


async def test_a_key_whose_rules_have_no_topic_in_common_is_told_so(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
    rule = {"permitted": ["receive"], "options": {"receive": {"topics": ["app/else"]}}}
    changed_offer = await change(
        workspace, f"/api/v1/integrations/{partner.integration_id}", {"environments": {"prod": rule}}
    )
    assert changed_offer.status_code == 200, changed_offer.text
    problem(await call(workspace, key, "/own/pull", {}), 403, "nothing-to-receive")
    assert await data(workspace, key, "", method="GET") == []


async def test_a_pull_counts_against_the_rate_and_an_acknowledgement_doesnt(workspace: Tenant) -> None:
    limited = Offer(("send", "receive"), Options(receive=Receive()), KeyPolicy(rate=Rate(requests=2, seconds=3600)))
    key = (await joined(workspace, limited)).keys["prod"]
    await publish(workspace, key, 1)
    answer = await call(workspace, key, "/own/pull", {"waitSeconds": 0})
    events = answer.json()["data"]
    assert answer.headers["ratelimit"].startswith('"key";r=0')
    assert await say(workspace, key, "ack", events) == ["done"]
    refused = await call(workspace, key, "/own/pull", {"waitSeconds": 0})
    problem(refused, 429, "rate-limited")
    assert "retry-after" in refused.headers


@pytest.mark.parametrize("through_us", [False, True])
async def test_what_a_key_did_is_noted_once(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch, through_us: bool
) -> None:
    """Where NATS alone would do, JetStream's own numbers are sampled: here nobody counts the same again."""
    noted: list[tuple[str, str, int]] = []

    def note(key_id: str, outcome: str, *, count: int = 1, **_: object) -> None:
        noted.append((key_id, outcome, count))

    filters = (Filter("n", "exists", True),) if through_us else ()
    key = (await joined(workspace, receiving(filters=filters))).keys["prod"]
    await publish(workspace, key, {"n": 1}, {"n": 2}, {"n": 3})
    monkeypatch.setattr(workspace.services.event_usage, "note", note)
    one, two, three = await pull(workspace, key)
    await say(workspace, key, "ack", [one])
    await say(workspace, key, "nack", [two])
    await say(workspace, key, "terminate", [three])
    counted = [(key.id, "delivered", 3), (key.id, "acknowledged", 1)] if through_us else []
    assert noted == [*counted, (key.id, "rejected", 1), (key.id, "terminated", 1)]


async def test_environments_and_workspaces_see_nothing_of_one_another(workspace: Tenant, neighbour: Tenant) -> None:
    """All pairs: whoever sends, only those in the same place receive it."""
    partners = [await joined(workspace), await joined(neighbour)]
    keys = [key for partner in partners for key in partner.keys.values()]
    for n, key in enumerate(keys):
        await publish(workspace, key, n)
    for n, key in enumerate(keys):
        assert await pulled(workspace, key) == [n]


async def test_a_consumer_that_nats_has_lost_is_made_again_on_demand(system: System, workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    assert await pulled(workspace, key) == [1]
    js, stream = system.services.bus.jetstream(), f"EV_{workspace.id}_prod"
    await js.delete_consumer(stream, f"k_{key.id[4:]}")
    assert await pulled(workspace, key) == [1]
    await js.delete_stream(stream)
    assert await pulled(workspace, key) == []
    await publish(workspace, key, 2)
    assert await pulled(workspace, key) == [2]


async def test_a_pull_costs_one_request_when_the_consumer_is_known(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1, 2)
    await pull(workspace, key, batch=1)
    asked: list[str] = []
    client = workspace.services.bus.client
    sending = client._send_publish

    async def spy(subject: str, *args: Any) -> None:
        asked.append(subject)
        await sending(subject, *args)

    monkeypatch.setattr(client, "_send_publish", spy)
    await pull(workspace, key, batch=1)
    assert [each for each in asked if each.startswith("$JS")] == [
        f"$JS.API.CONSUMER.MSG.NEXT.EV_{workspace.id}_prod.k_{key.id[4:]}"
    ]


async def test_the_consumers_that_nats_clients_may_use_are_there(workspace: Tenant) -> None:
    native, filtered = (
        await joined(workspace),
        await joined(workspace, receiving(filters=(Filter("n", "exists", True),))),
    )
    of = workspace.services
    for partner, wanted in ((native, True), (filtered, False)):
        key = partner.keys["prod"]
        known = await of.verifier.find_id(key.id)
        assert known is not None
        stream = f"EV_{workspace.id}_prod"
        assert await of.consumers.natives(known) == ([(stream, f"k_{key.id[4:]}")] if wanted else [])
        assert await of.consumers.own(known) == f"{'k' if wanted else 'h'}_{key.id[4:]}"
    owner = await of.verifier.find(workspace.owner_key, "192.0.2.7")
    assert owner is not None
    assert await of.consumers.natives(owner) == []


async def test_a_client_that_goes_away_leaves_no_request_behind(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await pull(workspace, key)
    waiting = asyncio.create_task(pull(workspace, key, wait=30))

    async def asking() -> int:
        return int((await consumers(workspace, key))["own"]["waiting"])

    await eventually(asking, 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await eventually(asking, 0)
    await publish(workspace, key, 1)
    (event,) = await pull(workspace, key)
    assert event["deliveries"] == 1
