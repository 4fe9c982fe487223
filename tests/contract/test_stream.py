"""App events as server-sent events: from anywhere on, without a gap or anything twice, for as long as the key may."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from integration.support import LIMIT
from keyfold.domain.filters import Filter
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import History, Options, Receive
from keyfold.web.flow import HEARTBEAT

from .conftest import System
from .consuming import joined, publish, pulled, receiving
from .keys import Held, changed, done, eventually, held, issue, join
from .listening import Heard, Listener, listening
from .tenant import Tenant, bearer, problem

STREAM = "/api/v1/events/stream"
SOON = HEARTBEAT * 2 / 3
"""Seconds in which a stream ends that doesn't wait for anything to be said in it."""


def follow(workspace: Tenant, key: Held, last: str = "", **query: str) -> Any:
    headers = key.headers | ({"Last-Event-ID": last} if last else {})
    return listening(workspace.services, STREAM, headers, **query)


def values(heard: list[Heard]) -> list[Any]:
    return [each.data["data"] for each in heard]


async def consumers_of(system: System, workspace: Tenant) -> int:
    return len(await system.services.bus.jetstream().consumers_info(f"EV_{workspace.id}_prod"))


async def test_a_stream_gives_what_comes_from_now_on(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, "before")
    async with follow(workspace, key) as reader:
        assert reader.status == 200
        (sequence,) = await publish(workspace, key, "after")
        (event,) = await reader.hear(1)
    assert (event.id, event.event) == (str(sequence), "message")
    assert event.data["data"] == "after"
    assert event.data["topic"] == "app/order/created"


async def test_a_stream_begins_where_it_is_asked_to(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    sequences = await publish(workspace, key, 1, 2)
    await asyncio.sleep(0.01)
    second = (await workspace.api.post("/api/v1/consumers/own/pull", json={}, headers=key.headers)).json()["data"][1]
    for query, wanted in (
        ({"from": "beginning"}, [1, 2, 3]),
        ({"from": str(sequences[1])}, [2, 3]),
        ({"from": second["storedAt"]}, [2, 3]),
        ({"from": "end"}, [3]),
        ({"from": "2999-01-01T00:00:00Z"}, [3]),
    ):
        async with follow(workspace, key, **query) as reader:
            (last,) = await publish(workspace, key, 3)
            assert values(await reader.hear(len(wanted))) == wanted, query
            js = workspace.services.bus.jetstream()
            await js.delete_msg(f"EV_{workspace.id}_prod", last)


async def test_a_reader_that_is_dropped_again_and_again_misses_nothing_and_gets_nothing_twice(
    workspace: Tenant,
) -> None:
    key = (await joined(workspace)).keys["prod"]

    async def write() -> None:
        for n in range(120):
            await publish(workspace, key, n)

    writing, got, last, breaks = asyncio.create_task(write()), list[Heard](), "", 0
    while len(got) < 120:
        async with follow(workspace, key, last, **({} if last else {"from": "beginning"})) as reader:
            got += await reader.hear(min(7, 120 - len(got)))
            last, breaks = got[-1].id, breaks + 1
    await writing
    assert values(got) == [*range(120)]
    assert breaks > 15


async def test_a_stream_goes_on_over_a_reconnection_to_nats(system: System, workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 0)
    async with follow(workspace, key, **{"from": "beginning"}) as reader:
        assert values(await reader.hear(1)) == [0]
        js = system.services.bus.jetstream()
        for each in await js.consumers_info(f"EV_{workspace.id}_prod"):
            await js.delete_consumer(f"EV_{workspace.id}_prod", each.name)
        system.services.bus.generation += 1
        await publish(workspace, key, 1, 2)
        assert values(await reader.hear(2, seconds=10)) == [1, 2]


async def test_a_reader_of_a_stream_that_was_lost_gets_all_of_the_new_one(system: System, workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    sequences = await publish(workspace, key, 1, 2, 3)
    await system.services.bus.jetstream().delete_stream(f"EV_{workspace.id}_prod")
    await publish(workspace, key, 4)
    async with follow(workspace, key, str(sequences[-1])) as reader:
        assert values(await reader.hear(1)) == [4]


@pytest.mark.parametrize(("what", "code"), [("revoke", "revoked"), ("suspend", "suspended")])
async def test_a_stream_ends_with_its_key_and_says_why(workspace: Tenant, what: str, code: str) -> None:
    key, other = (await joined(workspace)).keys["prod"], (await join(workspace)).keys["prod"]
    async with follow(workspace, key) as reader:
        await done(workspace, what, key.id)
        await publish(workspace, other, "afterwards")
        async with asyncio.timeout(SOON):
            await reader.done.wait()
        assert [(each.event, each.data) for each in reader.heard] == [("end", {"code": code})]


async def test_a_stream_ends_for_a_reader_that_takes_nothing(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    async with asyncio.timeout(SOON), listening(workspace.services, STREAM, key.headers) as reader:
        reader.reads.clear()
        await publish(workspace, key, *range(5))
        await done(workspace, "revoke", key.id)


async def test_a_rule_that_becomes_smaller_holds_at_once_and_one_that_grows_too(workspace: Tenant) -> None:
    key, sender = (await joined(workspace)).keys["prod"], (await join(workspace)).keys["prod"]
    async with follow(workspace, key) as reader:
        await publish(workspace, sender, 1, topic="app/hidden")
        assert values(await reader.hear(1)) == [1]
        await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/order/*"]}}})
        await publish(workspace, sender, "hidden", topic="app/hidden")
        await publish(workspace, sender, 2)
        assert values(await reader.hear(1)) == [2]
        await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/**"]}}})
        await asyncio.sleep(0.6)
        await publish(workspace, sender, 3, topic="app/hidden")
        assert values(await reader.hear(1)) == [3]
        await changed(workspace, key.id, {"permitted": ["send"]})
        async with asyncio.timeout(SOON):
            await reader.done.wait()
        assert reader.heard[-1].data == {"code": "action-not-permitted"}


async def test_a_stream_gives_only_what_the_key_may_receive_and_asked_for(workspace: Tenant) -> None:
    partner = await joined(workspace, receiving(topics=("app/order/*", "app/stock/*")))
    key = partner.keys["prod"]
    filters = [{"propertyName": "n", "operator": "gt", "propertyValue": 0}]
    picky = held(
        await issue(
            workspace,
            kind="service",
            environment="prod",
            partnerId=partner.id,
            options={"receive": {"filters": filters}},
        )
    )
    async with (
        follow(workspace, key, topics="app/order/new,app/else/**") as narrow,
        follow(workspace, key) as wide,
        follow(workspace, picky) as chosen,
    ):
        for topic in ("app/else/a", "app/stock/low", "app/order/new"):
            await publish(workspace, key, {"n": 0, "topic": topic}, {"n": 1, "topic": topic}, topic=topic)
        assert [each["topic"] for each in values(await narrow.hear(2))] == ["app/order/new"] * 2
        assert [each["topic"] for each in values(await wide.hear(4))] == ["app/stock/low"] * 2 + ["app/order/new"] * 2
        assert [each["n"] for each in values(await chosen.hear(2))] == [1, 1]
        for reader, most in ((narrow, 2), (wide, 4), (chosen, 2)):
            assert len(reader.heard) == most


async def test_a_stream_keeps_to_the_window(workspace: Tenant) -> None:
    await publish(workspace, (await joined(workspace)).keys["prod"], "old")
    offer = receiving(history=History(since=datetime.now(UTC)))
    key = (await joined(workspace, offer)).keys["prod"]
    (sequence,) = await publish(workspace, key, "new")
    for query in ({"from": "beginning"}, {"from": "1"}, {"from": "2020-01-01T00:00:00Z"}):
        async with follow(workspace, key, **query) as reader:
            assert [each.id for each in await reader.hear(1)] == [str(sequence)]
    async with follow(workspace, key, "1") as reader:
        assert [each.id for each in await reader.hear(1)] == [str(sequence)]


async def test_a_reader_that_is_gone_leaves_nothing_behind(system: System, workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await pulled(workspace, key)
    before = await consumers_of(system, workspace)
    async with follow(workspace, key) as one, follow(workspace, key) as other:
        await publish(workspace, key, 1)
        await one.hear(1)
        await other.hear(1)
        assert await consumers_of(system, workspace) == before + 2

    async def left() -> int:
        return await consumers_of(system, workspace)

    await eventually(left, before, seconds=2)


async def test_a_slow_reader_costs_little_and_holds_nobody_up(
    system: System, workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await joined(workspace)).keys["prod"]
    async with follow(workspace, key) as slow, follow(workspace, key) as quick:
        slow.reads.clear()
        await publish(workspace, key, *range(150))
        assert values(await quick.hear(150)) == [*range(150)]
        assert slow.heard == []
        given = [
            each.delivered.stream_seq if each.delivered else 0
            for each in await system.services.bus.jetstream().consumers_info(f"EV_{workspace.id}_prod")
        ]
        assert len(given) < 2 or min(given) < max(given), "what the slow one hasn't read waits at the server"
        slow.reads.set()
        assert values(await slow.hear(150)) == [*range(150)]


@pytest.mark.parametrize(
    ("query", "last", "pointer"),
    [
        ({"from": "soon"}, "", "?from"),
        ({"from": "0"}, "", "?from"),
        ({"topics": "a//b"}, "", "?topics"),
        ({"topics": ",".join(["a"] * 101)}, "", "?topics"),
        ({}, "x", "Last-Event-ID"),
        ({}, "9" * 30, "Last-Event-ID"),
    ],
)
async def test_what_cant_be_followed_is_refused_by_its_name(
    workspace: Tenant, query: dict[str, str], last: str, pointer: str
) -> None:
    key = (await joined(workspace)).keys["prod"]
    headers = key.headers | ({"Last-Event-ID": last} if last else {})
    answer = await workspace.api.get(STREAM, params=query, headers=headers)
    assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == [pointer]


async def test_who_may_not_receive_is_told_so(workspace: Tenant) -> None:
    sender = (await joined(workspace, Offer(("send",)))).keys["prod"]
    problem(await workspace.api.get(STREAM, headers=sender.headers), 403, "action-not-permitted")
    problem(await workspace.api.get(STREAM, headers=bearer(workspace.owner_key)), 403, "action-not-permitted")
    problem(await workspace.api.get(STREAM), 401, "unauthenticated")
    key = (await joined(workspace, receiving(topics=("app/order/*",)))).keys["prod"]
    answer = await workspace.api.get(STREAM, params={"topics": "app/else"}, headers=key.headers)
    problem(answer, 403, "nothing-to-receive")


async def test_a_stream_counts_once_against_the_rate(workspace: Tenant) -> None:
    limited = Offer(("receive",), Options(receive=Receive()), KeyPolicy(rate=Rate(requests=1, seconds=3600)))
    key, sender = (await joined(workspace, limited)).keys["prod"], (await joined(workspace)).keys["prod"]
    async with follow(workspace, key) as reader:
        await publish(workspace, sender, 1, 2)
        assert values(await reader.hear(2)) == [1, 2]
    problem(await workspace.api.get(STREAM, headers=key.headers), 429, "rate-limited")


async def test_a_quiet_stream_is_kept_alive(workspace: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.web.flow.HEARTBEAT", 0.1)
    key = (await joined(workspace)).keys["prod"]
    async with follow(workspace, key) as reader:
        async with asyncio.timeout(LIMIT):
            while reader.body.count(b": heartbeat\n\n") < 3:
                await asyncio.sleep(0.01)


async def test_environments_partners_and_workspaces_hear_nothing_of_one_another(
    workspace: Tenant, neighbour: Tenant
) -> None:
    mine, theirs = await joined(workspace), await joined(neighbour)
    other = await join(workspace)
    filtered = await joined(workspace, receiving(filters=(Filter("n", "exists", True),)))
    keys = {
        "mine": mine.keys["prod"],
        "dev": mine.keys["dev"],
        "theirs": theirs.keys["prod"],
        "other": other.keys["prod"],
        "filtered": filtered.keys["prod"],
    }
    readers: dict[str, Listener] = {}
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()

        async def hold(name: str, key: Held) -> None:
            async with follow(workspace, key) as readers[name]:
                await ready.wait()

        tasks = [group.create_task(hold(name, key)) for name, key in keys.items()]
        while len(readers) < len(keys):
            await asyncio.sleep(0.01)
        await publish(workspace, mine.keys["prod"], {"n": 1}, to=other.id)
        for name, key in keys.items():
            await publish(workspace, key, {"n": name})
        await asyncio.sleep(0.5)
        ready.set()
        assert tasks
    got = {name: [each["n"] for each in values(reader.heard)] for name, reader in readers.items()}
    assert got == {
        "mine": ["mine", "other", "filtered"],
        "dev": ["dev"],
        "theirs": ["theirs"],
        "other": [1, "mine", "other", "filtered"],
        "filtered": ["mine", "other", "filtered"],
    }
