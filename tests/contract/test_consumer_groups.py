"""Consumer groups: consumers that a partner's keys in one environment share, none of which gets more by it."""

from datetime import UTC, datetime

import pytest

from keyfold.domain.filters import Filter
from keyfold.domain.rule import History

from .conftest import System
from .consuming import CONSUMERS, call, consumers, data, joined, publish, pull, pulled, receiving, say
from .keys import Held, Partner, changed, delegate, excess, held, issue, join, trail
from .tenant import Tenant, position_of, problem


async def make(workspace: Tenant, key: Held, name: str = "billing", **wanted: object) -> object:
    return await data(workspace, key, "", {"name": name, **wanted})


async def second_key(workspace: Tenant, partner: Partner, **wanted: object) -> Held:
    return held(await issue(workspace, kind="service", environment="prod", partnerId=partner.id, **wanted))


async def test_each_event_goes_to_one_of_those_who_share_a_consumer(workspace: Tenant) -> None:
    partner = await joined(workspace)
    one, other = partner.keys["prod"], await second_key(workspace, partner)
    made = await make(workspace, one, start="beginning")
    assert made == {
        "name": "billing",
        "environment": "prod",
        "topics": ["**"],
        "filters": [],
        "history": {},
        "start": None,
    }
    await publish(workspace, one, 1, 2, 3)
    (first,) = await pull(workspace, one, "billing", batch=1)
    assert await pulled(workspace, other, "billing") == [2, 3]
    assert await say(workspace, other, "ack", [first], "billing") == ["done"]
    assert await pulled(workspace, one, "billing") == []
    assert await pulled(workspace, one) == [1, 2, 3], "its own consumer has nothing to do with it"


async def test_a_consumer_is_listed_with_what_a_nats_client_binds_to(system: System, workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    await make(workspace, key, topics=["app/order/*"])
    listed = (await consumers(workspace, key))["billing"]
    name = f"g_{partner.id[4:]}_billing"
    assert listed["native"] == {"stream": f"EV_{workspace.id}_prod", "consumer": name}
    assert listed["topics"] == ["app/order/*"]
    known = await system.services.verifier.find_id(key.id)
    assert known is not None
    assert (f"EV_{workspace.id}_prod", name) in await system.services.consumers.natives(known)


async def test_a_consumer_starts_where_it_is_told_to(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1, 2)
    _, second = await pull(workspace, key)
    for name, start in (
        ("all", "beginning"),
        ("new", "end"),
        ("some", second["storedAt"]),
        ("future", "2999-01-01T00:00:00Z"),
    ):
        await make(workspace, key, name, start=start)
    await publish(workspace, key, 3)
    for name, wanted in (("all", [1, 2, 3]), ("new", [3]), ("some", [2, 3]), ("future", [3])):
        assert await pulled(workspace, key, name) == wanted, name


async def test_nobody_makes_a_consumer_that_gives_more_than_the_key_may_have(workspace: Tenant) -> None:
    mine = Filter("customer.id", "eq", "c_1")
    partner = await joined(workspace, receiving(topics=("app/order/*",), filters=(mine,), history=History(seconds=60)))
    key = partner.keys["prod"]
    wanted = {"topics": ["app/order/new", "app/**"], "filters": [], "history": {"seconds": 61}}
    refused = await call(workspace, key, "", {"name": "more", **wanted})
    assert excess(refused) == ["/topics/1", "/filters", "/history/seconds"]
    made = await data(workspace, key, "", {"name": "same"})
    assert made["topics"] == ["app/order/*"]
    assert made["filters"] == [{"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"}]
    assert made["history"] == {"seconds": 60}
    assert (await consumers(workspace, key))["same"]["native"] is None
    await publish(workspace, key, {"customer": {"id": "c_1"}}, {"customer": {"id": "c_2"}}, topic="app/order/new")
    await data(workspace, key, "/same/seek", {"from": "beginning"})
    assert await pulled(workspace, key, "same") == [{"customer": {"id": "c_1"}}]


async def test_a_key_that_may_have_less_than_the_consumer_gives_doesnt_use_it(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    small = held(await delegate(workspace, key.id, options={"receive": {"topics": ["app/order/*"]}}))
    await make(workspace, key, "wide")
    await make(workspace, key, "narrow", topics=["app/order/new"])
    assert [*await consumers(workspace, small)] == ["own", "narrow"]
    for path, body in (("pull", {}), ("ack", {"tokens": ["1.1.1.1.1"]}), ("seek", {"from": "end"})):
        problem(await call(workspace, small, f"/wide/{path}", body), 403, "consumer-beyond-reach")
    problem(await call(workspace, small, "/wide", method="DELETE"), 403, "consumer-beyond-reach")
    await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
    problem(await call(workspace, key, "/wide/pull", {}), 403, "consumer-beyond-reach")
    known = await workspace.services.verifier.find_id(small.id)
    assert known is not None
    names = [name.rpartition("_")[2] for _, name in await workspace.services.consumers.natives(known)]
    assert names == [small.id[4:], "narrow"]


@pytest.mark.parametrize("name", ["", "own", "Billing", "a_b", "a.b", "x" * 33, "*", "a b", "é"])
async def test_a_name_that_cant_be_one_is_refused(workspace: Tenant, name: str) -> None:
    key = (await joined(workspace)).keys["prod"]
    answer = await call(workspace, key, "", {"name": name})
    assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == ["/name"]


async def test_what_cant_be_kept_is_refused_by_its_place(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    for body, pointer in (
        ({"topics": ["no//pattern"]}, "/topics/0"),
        ({"topics": []}, "/topics"),
        ({"filters": [{"propertyName": "a..b", "operator": "eq", "propertyValue": 1}]}, "/filters/0/propertyName"),
        ({"history": {"seconds": 0}}, "/history/seconds"),
        ({"start": "5"}, "/start"),
        ({"start": "soon"}, "/start"),
    ):
        answer = await call(workspace, key, "", {"name": "x", **body})
        assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == [pointer]


async def test_a_name_is_taken_once_in_an_environment_and_there_are_twenty(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    for n in range(20):
        await make(workspace, key, f"group-{n}")
    problem(await call(workspace, key, "", {"name": "group-0"}), 409, "consumer-exists")
    problem(await call(workspace, key, "", {"name": "one-more"}), 409, "too-many-consumers")
    await make(workspace, partner.keys["dev"], "group-0")
    await data(workspace, key, "/group-7", method="DELETE")
    await make(workspace, key, "one-more")


async def test_a_consumer_that_is_removed_is_gone_with_what_it_had(system: System, workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    await make(workspace, key, start="beginning")
    await publish(workspace, key, 1, 2)
    await say(workspace, key, "terminate", (await pull(workspace, key, "billing"))[:1], "billing")
    removed = await call(workspace, key, "/billing", method="DELETE")
    assert position_of(removed) == await workspace.services.journal.head()
    for path, body, method in (
        ("/billing", None, "DELETE"),
        ("/billing/pull", {}, "POST"),
        ("/billing/dead-letters", None, "GET"),
    ):
        problem(await call(workspace, key, path, body, method), 404, "not-found")
    names = [each.name for each in await system.services.bus.jetstream().consumers_info(f"EV_{workspace.id}_prod")]
    assert not any(name.startswith("g_") for name in names)
    await make(workspace, key, start="beginning")
    assert await pulled(workspace, key, "billing") == [1, 2]
    assert await data(workspace, key, "/billing/dead-letters", method="GET") == []


async def test_a_keys_own_consumer_cant_be_removed(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    problem(await call(workspace, key, "/own", method="DELETE"), 400, "invalid-request")


async def test_other_partners_environments_and_workspaces_have_other_consumers(
    workspace: Tenant, neighbour: Tenant
) -> None:
    partner = await joined(workspace)
    await make(workspace, partner.keys["prod"])
    strangers = [
        partner.keys["dev"],
        (await join(workspace)).keys["prod"],
        (await joined(neighbour)).keys["prod"],
    ]
    await publish(workspace, partner.keys["prod"], 1)
    (event,) = await pull(workspace, partner.keys["prod"], "billing")
    for stranger in strangers:
        assert [*await consumers(workspace, stranger)] == ["own"]
        for path, body in (
            ("pull", {}),
            ("ack", {"tokens": [event["token"]]}),
            ("nack", {"tokens": [event["token"]]}),
            ("terminate", {"tokens": [event["token"]]}),
            ("extend", {"tokens": [event["token"]]}),
            ("seek", {"from": "beginning"}),
            ("dead-letters/1/redrive", None),
        ):
            answer = await workspace.api.post(f"{CONSUMERS}/billing/{path}", json=body, headers=stranger.headers)
            problem(answer, 404, "not-found")
        problem(await call(workspace, stranger, "/billing", method="DELETE"), 404, "not-found")
        await make(workspace, stranger)
    assert (await consumers(workspace, partner.keys["prod"]))["billing"]["ackPending"] == 1


async def test_a_partners_stream_says_who_made_and_removed_a_consumer(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    since = datetime(2026, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    await make(workspace, key, topics=["app/*"], history={"since": since})
    await data(workspace, key, "/billing", method="DELETE")
    head = await workspace.services.journal.head()
    answer = await workspace.get("/api/v1/audit/events", partnerId=partner.id, minPosition=head, order="asc", limit=200)
    added, removed = [each for each in answer.json()["data"] if each["type"].startswith("partner.consumer")]
    assert [added["actor"]["id"], removed["actor"]["id"]] == [key.id] * 2
    assert added["data"]["topics"] == ["app/*"]
    assert added["data"]["history"] == {"since": since}
    assert removed["data"]["name"] == "billing"
    assert await trail(workspace, key.id)


async def test_a_request_that_is_repeated_with_its_key_makes_one_consumer(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    headers = key.headers | {"Idempotency-Key": "once"}
    answers = [await workspace.api.post(CONSUMERS, json={"name": "billing"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"
