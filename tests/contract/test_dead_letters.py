"""Dead letters: what a consumer gave up on is there to be seen, given again or discarded, by whoever may use it."""

import asyncio
from typing import Any

import pytest

from keyfold.bus import durables, pulling

from .conftest import System
from .consuming import CONSUMERS, call, consumers, data, joined, publish, pull, pulled, say
from .keys import Held, changed, eventually, join
from .tenant import Tenant, problem


async def letters(workspace: Tenant, key: Held, name: str = "own", query: str = "") -> Any:
    return await data(workspace, key, f"/{name}/dead-letters{query}", method="GET")


async def terminated(workspace: Tenant, key: Held, *events: Any, name: str = "own", **more: Any) -> Any:
    """The dead letters of these events."""
    await publish(workspace, key, *events)
    assert {*await say(workspace, key, "terminate", await pull(workspace, key, name), name, **more)} == {"done"}

    async def there() -> int:
        return len(await letters(workspace, key, name))

    await eventually(there, len(events))
    return await letters(workspace, key, name)


async def test_a_rejected_event_is_a_dead_letter_with_the_reason_that_was_given(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, {"n": 1}, reason="no such customer")
    assert letter["event"]["data"] == {"n": 1}
    assert (letter["reason"], letter["detail"], letter["deliveries"]) == ("terminated", "no such customer", 1)
    assert letter["topic"] == "app/order/created"
    assert await pull(workspace, key) == []


async def test_an_event_that_was_given_six_times_is_a_dead_letter(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    await publish(workspace, key, 1)
    for delivery in range(1, durables.MOST_DELIVERIES + 1):
        (event,) = await pull(workspace, key, wait=5)
        assert event["deliveries"] == delivery
        await say(workspace, key, "nack", [event], delaySeconds=0)
    assert await pull(workspace, key, wait=1) == []
    (letter,) = await letters(workspace, key)
    assert (letter["reason"], letter["detail"], letter["deliveries"]) == ("max-deliveries", None, 6)
    assert letter["eventSequence"] == event["sequence"]
    assert pulling.NACK_DELAYS == (1.0, 5.0, 30.0, 120.0, 600.0)


async def test_a_dead_letter_is_given_again_to_its_consumer_alone(workspace: Tenant) -> None:
    partner = await joined(workspace)
    key, other = partner.keys["prod"], (await join(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, {"n": 1})
    assert await pulled(workspace, other) == [{"n": 1}]
    await data(workspace, key, f"/own/dead-letters/{letter['sequence']}/redrive")
    (again,) = await pull(workspace, key)
    assert again["event"] == letter["event"]
    assert (again["topic"], again["deliveries"]) == ("app/order/created", 1)
    assert await letters(workspace, key) == []
    assert await pull(workspace, other) == []
    problem(await call(workspace, key, f"/own/dead-letters/{letter['sequence']}/redrive"), 404, "not-found")


async def test_a_dead_letter_that_is_given_again_by_many_at_once_is_given_once(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, 1)
    path = f"/own/dead-letters/{letter['sequence']}/redrive"
    answers = await asyncio.gather(*[call(workspace, key, path) for _ in range(5)])
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert any(answer.status_code == 200 for answer in answers)
    assert await pulled(workspace, key) == [1]


async def test_a_dead_letter_is_discarded(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, 1)
    await data(workspace, key, f"/own/dead-letters/{letter['sequence']}", method="DELETE")
    assert await letters(workspace, key) == []
    problem(await call(workspace, key, f"/own/dead-letters/{letter['sequence']}", method="DELETE"), 404, "not-found")


async def test_dead_letters_come_in_pages_the_oldest_first(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    everything = await terminated(workspace, key, *range(5))
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        query = f"?limit=2&cursor={cursor}" if cursor else "?limit=2"
        answer = await call(workspace, key, f"/own/dead-letters{query}", method="GET")
        found += answer.json()["data"]
        cursor = answer.json()["nextCursor"]
    assert found == everything
    assert sorted(each["event"]["data"] for each in found) == [*range(5)]


async def test_nobody_sees_or_touches_dead_letters_of_another_consumer(workspace: Tenant, neighbour: Tenant) -> None:
    partner = await joined(workspace)
    key = partner.keys["prod"]
    await data(workspace, key, "", {"name": "billing"})
    (letter,) = await terminated(workspace, key, 1)
    strangers = [
        (key, "billing"),
        (partner.keys["dev"], "own"),
        ((await join(workspace)).keys["prod"], "own"),
        ((await joined(neighbour)).keys["prod"], "own"),
    ]
    for stranger, name in strangers:
        assert await letters(workspace, stranger, name) == []
        path = f"/{name}/dead-letters/{letter['sequence']}"
        problem(await call(workspace, stranger, f"{path}/redrive"), 404, "not-found")
        problem(await call(workspace, stranger, path, method="DELETE"), 404, "not-found")
    assert await letters(workspace, key) == [letter]


async def test_an_event_that_isnt_stored_any_more_can_only_be_discarded(system: System, workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, 1)
    await system.services.bus.jetstream().delete_msg(f"EV_{workspace.id}_prod", letter["eventSequence"])
    (gone,) = await letters(workspace, key)
    assert (gone["event"], gone["topic"]) == (None, None)
    path = f"/own/dead-letters/{letter['sequence']}"
    problem(await call(workspace, key, f"{path}/redrive"), 410, "event-gone")
    await data(workspace, key, path, method="DELETE")
    assert await letters(workspace, key) == []


async def test_what_a_key_may_not_see_any_more_isnt_shown_as_a_dead_letter(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, 1)
    await changed(workspace, key.id, {"options": {"receive": {"topics": ["app/else"]}}})
    assert [each["event"] for each in await letters(workspace, key)] == [None]
    problem(await call(workspace, key, f"/own/dead-letters/{letter['sequence']}/redrive"), 410, "event-gone")


async def test_dead_letters_stay_with_a_key_that_gets_filters(workspace: Tenant) -> None:
    key = (await joined(workspace)).keys["prod"]
    (letter,) = await terminated(workspace, key, {"n": 1})
    filters = [{"propertyName": "n", "operator": "eq", "propertyValue": 1}]
    await changed(workspace, key.id, {"options": {"receive": {"filters": filters}}})
    assert await letters(workspace, key) == [letter]
    await data(workspace, key, f"/own/dead-letters/{letter['sequence']}/redrive")
    assert await pulled(workspace, key) == [{"n": 1}]
    assert (await consumers(workspace, key))["own"]["native"] is None


@pytest.mark.parametrize("sequence", ["0", "-1", "x", "99999999999999999999", "1.5"])
async def test_what_is_no_dead_letter_is_404(workspace: Tenant, sequence: str) -> None:
    key = (await joined(workspace)).keys["prod"]
    answer = await workspace.api.delete(f"{CONSUMERS}/own/dead-letters/{sequence}", headers=key.headers)
    problem(answer, 404, "not-found")
