"""`keyfold_client` consumes, over either road with the same result."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

import keyfold_client
from keyfold_client import Delivery, KeyfoldError, KeyRefused

from .client_support import House, Partner
from .support import LIMIT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def sender(keyfold: House) -> AsyncIterator[keyfold_client.AsyncClient]:
    """The app of another partner."""
    async with (await keyfold.partner("http")).connect() as app:
        yield app


@pytest_asyncio.fixture(loop_scope="module", params=["http", "nats"])
async def partner(request: pytest.FixtureRequest, keyfold: House) -> Partner:
    return await keyfold.partner(request.param)


async def publish(sender: keyfold_client.AsyncClient, *numbers: int) -> None:
    for n in numbers:
        await sender.publish("app/order/created", {"n": n})


async def take(app: keyfold_client.AsyncClient, count: int, **options: Any) -> list[Delivery]:
    """Consumes this many events, and acknowledges each."""
    taken: list[Delivery] = []
    async with asyncio.timeout(20):
        async for event in app.consume(**options):
            taken.append(event)
            if len(taken) == count:
                await event.ack()
                break
    return taken


def numbers(events: list[Delivery]) -> list[Any]:
    return [event.data["n"] for event in events]


async def test_events_come_in_order_and_once(partner: Partner, sender: keyfold_client.AsyncClient) -> None:
    await publish(sender, *range(5))
    async with partner.connect() as app:
        first = await take(app, 5)
        later = asyncio.create_task(take(app, 2))
        await asyncio.sleep(0.1)
        await publish(sender, 5, 6)
        assert numbers(first + await later) == [*range(7)]
    event = first[0]
    assert (event.topic, event.type, event.sequence, event.deliveries) == (
        "app/order/created",
        "app.order.created",
        1,
        1,
    )
    assert event.source.startswith("/partners/prt_")
    assert event.time is not None
    assert abs((datetime.now(UTC) - event.time).total_seconds()) < 60


async def test_an_event_whose_handling_failed_comes_again_and_the_rest_at_once(
    partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    await publish(sender, 0, 1, 2)
    async with partner.connect() as app:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async for event in app.consume():
                _ = 1 / event.data["n"]
        again = await take(app, 3)
    assert sorted(numbers(again)) == [0, 1, 2]
    assert {event.data["n"]: event.deliveries for event in again} == {0: 2, 1: 2, 2: 2}


async def test_what_the_body_has_finished_is_acknowledged_and_a_break_gives_the_rest_back(
    partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    await publish(sender, *range(4))
    async with partner.connect() as app:
        async for event in app.consume():
            if event.data["n"] == 2:
                break
    async with partner.connect() as app:
        assert sorted(numbers(await take(app, 2))) == [2, 3]


async def test_an_app_answers_for_itself(partner: Partner, sender: keyfold_client.AsyncClient) -> None:
    await publish(sender, *range(4))
    seen: list[tuple[int, int]] = []
    async with partner.connect() as app, asyncio.timeout(10):
        async for event in app.consume():
            seen.append((event.data["n"], event.deliveries))
            match event.data["n"], event.deliveries:
                case 0, _:
                    await event.terminate()
                case 1, 1:
                    await event.nack(delay=1)
                case 2, _:
                    await event.extend()
                case 1, 2:
                    await event.ack()
                    break
    assert seen == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2)]


async def test_a_group_shares_its_events(partner: Partner, sender: keyfold_client.AsyncClient) -> None:
    """Made when it isn't there, from then on, for the topics that are named."""
    got: list[Any] = []

    async with partner.connect() as one, partner.connect() as other:
        shared = {"group": "workers", "topics": ["app/order/*"], "batch": 1}
        working = [asyncio.create_task(collect(each, got, **shared)) for each in (one, other)]
        await asyncio.sleep(1)
        await sender.publish("app/invoice/created", {"n": -1})
        await publish(sender, *range(10))
        async with asyncio.timeout(15):
            while len(got) < 10:
                await asyncio.sleep(0.02)
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        with pytest.raises(KeyfoldError) as refused:
            await take(one, 1, group="workers", topics=["app/**"])
    assert sorted(got) == [*range(10)]
    assert refused.value.code == "consumer-exists"


async def test_a_key_with_filters_consumes_over_http_all_the_same(
    partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    """From the moment on when it has them."""
    rule = {"propertyName": "n", "operator": "gt", "propertyValue": 1}
    async with partner.connect() as app, consuming(app) as got:
        await publish(sender, 0)
        await arrived(got, 1)
        await partner.narrow(options={"receive": {"topics": ["app/**"], "filters": [rule]}})
        await asyncio.sleep(0.5)  # what goes over NATS goes by it a moment later
        await publish(sender, 1, 2, 3)
        await arrived(got, 3, 40)
        assert got == [0, 2, 3]
    await publish(sender, 1, 4)
    async with partner.connect() as app:
        assert numbers(await take(app, 1)) == [4]


async def collect(app: keyfold_client.AsyncClient, got: list[Any], **options: Any) -> None:
    async for event in app.consume(**options):
        got.append(event.data["n"])  # noqa: PERF401  # as it comes


@contextlib.asynccontextmanager
async def consuming(app: keyfold_client.AsyncClient) -> AsyncIterator[list[Any]]:
    """Consumes until the block ends."""
    got: list[Any] = []
    task = asyncio.create_task(collect(app, got))
    try:
        yield got
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def arrived(got: list[Any], count: int, seconds: float = LIMIT) -> None:
    async with asyncio.timeout(seconds):
        while len({*got}) < count:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("overlap", [0, 3600])
async def test_rotation_under_traffic_loses_nothing(
    keyfold: House, partner: Partner, sender: keyfold_client.AsyncClient, overlap: int
) -> None:
    await keyfold.policy(overlapSeconds=overlap)
    async with partner.connect() as app, consuming(app) as got:
        for n in range(30):
            await publish(sender, n)
            if n % 10 == 5:
                await app.rotate()
        await arrived(got, 30, 45)
    assert {*got} == {*range(30)}


async def test_it_goes_on_where_it_stopped_with_the_successor_of_its_key(
    partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    await publish(sender, 0, 1)
    async with partner.connect() as app:
        await take(app, 2)
        rotated = await app.rotate()
    await publish(sender, 2, 3)
    async with partner._replace(secret=rotated.secret).connect() as app:
        assert numbers(await take(app, 2)) == [2, 3]


async def test_a_revoked_key_ends_it_with_a_clear_error(partner: Partner, sender: keyfold_client.AsyncClient) -> None:
    async with partner.connect() as app:
        taking = asyncio.create_task(take(app, 1))
        await asyncio.sleep(0.3)
        await partner.tenant.post(f"/api/v1/keys/{partner.key_id}/revoke", {"reason": "test"})
        with pytest.raises(KeyRefused) as refused:
            await asyncio.wait_for(taking, LIMIT)
    assert refused.value.status == 401


async def test_an_api_that_is_away_is_waited_for(
    keyfold: House, partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    async with partner.connect() as app, consuming(app) as got:
        await publish(sender, 0)
        await arrived(got, 1)
        await keyfold.api.stop()
        await asyncio.sleep(0.3)
        await keyfold.api.start()
        await publish(sender, 1)
        await arrived(got, 2)


@pytest.mark.parametrize("wiped", [False, True])
async def test_a_nats_that_is_killed_is_waited_for(
    keyfold: House, partner: Partner, sender: keyfold_client.AsyncClient, wiped: bool
) -> None:
    async with partner.connect() as app, consuming(app) as got:
        await publish(sender, 0)
        await arrived(got, 1)
        keyfold.nats.kill()
        if wiped:
            keyfold.nats.wipe()
        await asyncio.sleep(0.3)
        await keyfold.nats.start()
        await publish(sender, 1)
        await arrived(got, 2)
        await publish(sender, 2)
        await arrived(got, 3)


async def test_a_replay_starts_where_it_is_told_and_goes_on(
    keyfold: House, partner: Partner, sender: keyfold_client.AsyncClient
) -> None:
    """Each once, in order, through an API that is restarted; what is consumed isn't moved by it."""
    await publish(sender, 0, 1)
    moment = datetime.now(UTC)
    await publish(sender, 2)
    async with partner.connect() as app, asyncio.timeout(20):
        seen = []
        async for event in app.replay(start="beginning"):
            seen.append(event.data["n"])
            if len(seen) == 3:
                await keyfold.api.stop()
                await keyfold.api.start()
                await publish(sender, 3)
            if len(seen) == 4:
                break
        assert seen == [0, 1, 2, 3]
        for start in (3, moment):
            async for event in app.replay(start=start, topics=["app/order/*"]):
                assert event.data["n"] == 2
                break
        assert numbers(await take(app, 4)) == [0, 1, 2, 3]


async def test_without_await_it_is_the_same(partner: Partner, sender: keyfold_client.AsyncClient) -> None:
    await publish(sender, *range(4))

    def consume() -> list[Any]:
        got = []
        with partner.connect_sync() as app:
            for event in app.consume():
                got.append(event.data["n"])
                if event.data["n"] == 2:
                    event.ack()
                    break
            for event in app.consume():
                got.append(event.data["n"])
                event.ack()
                break
            got += [event.data["n"] for event, _ in zip(app.replay(start=2), range(2), strict=False)]
        return got

    assert await asyncio.to_thread(consume) == [0, 1, 2, 3, 1, 2]
