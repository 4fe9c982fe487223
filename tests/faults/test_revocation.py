"""What is changed through one process holds at every other: at once as a rule, within a second whatever is broken."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from keyfold.cli.embedded import Nats

from .proxy import Proxy, proxying
from .system import Process, System, another_api, onboard
from .test_hearing import paused
from .test_postgres_down import without_postgres
from .watch import clients, verifying, watching

Fault = Callable[[], AbstractAsyncContextManager[None]]


async def changed(
    client: httpx.AsyncClient, system: System, method: str, path: str, body: Any, etag: str = ""
) -> float:
    """Carries it out, and gives the moment of the answer."""
    headers = system.owner | ({"If-Match": etag} if etag else {})
    answer = await client.request(method, f"/api/v1{path}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return time.time()


async def revoked(client: httpx.AsyncClient, system: System, key: dict[str, Any]) -> float:
    return await changed(client, system, "POST", f"/keys/{key['id']}/revoke", {"reason": "a test"})


async def keys_of_partners(system: System, client: httpx.AsyncClient, wanted: int) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = []
    while len(keys) < wanted:
        keys += (await onboard(system, client))["keys"]
    return keys[:wanted]


@pytest.mark.long
async def test_a_key_that_is_revoked_at_one_process_is_refused_at_the_other(
    system: System, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    """Each asked all the time, and so from memory. `--rounds 1000` is the full number."""
    times = pytestconfig.getoption("rounds", default=None) or 60
    late: list[float] = []
    async with another_api(system) as other, clients(system.api, other) as (one, two):
        for number, key in enumerate(await keys_of_partners(system, one, times)):
            here, there = (one, two) if number % 2 else (two, one)
            async with watching(verifying(there, key["secret"], system.owner)) as (watch,):
                answered = await revoked(here, system, key)
                await watch.says("revoked")
                watch.assert_in_time(answered)
                late.append(watch.lateness(answered))
                assert {look.code for look in watch.looks} == {"valid", "revoked"}
    late.sort()
    worst, middle = (f"{1000 * seconds:.1f} ms" for seconds in (late[-1], late[len(late) // 2]))
    said = f"{times} revocations: valid elsewhere for {worst} after the answer at the worst, {middle} in the middle"
    record_property("measured", said)


def faults(system: System, nats: Nats, proxy: Proxy) -> dict[str, Fault]:
    """What may be between a process and what it must hear."""

    @asynccontextmanager
    async def without_worker() -> AsyncIterator[None]:
        with system.worker.paused():
            yield

    @asynccontextmanager
    async def without_nats() -> AsyncIterator[None]:
        nats.kill()
        try:
            yield
        finally:
            await nats.start()

    return {
        "NATS hangs": lambda: paused(nats),
        "NATS is killed": without_nats,
        "the worker hangs": without_worker,
        "one hears nothing": lambda: proxy.swallowing("to client"),
        "one isn't heard": lambda: proxy.swallowing("to server"),
        "one is cut off": proxy.cut,
    }


async def assert_in_time(
    system: System, here: httpx.AsyncClient, everywhere: list[httpx.AsyncClient], key: dict[str, Any], pause: float
) -> None:
    """Revoked at one process after the pause, and asked at all of them meanwhile."""
    async with watching(*[verifying(each, key["secret"], system.owner) for each in everywhere]) as watches:
        await asyncio.sleep(pause)  # any moment: this is what is tested
        answered = await revoked(here, system, key)
        for watch in watches:
            await watch.says("revoked")
            watch.assert_in_time(answered)
            assert {look.code for look in watch.looks} == {"valid", "revoked"}


@pytest.mark.long
async def test_whatever_is_cut_off_no_process_says_valid_a_second_after_the_answer(
    system: System, nats_server: Nats, rounds: int, seed: int
) -> None:
    """And a key that nobody has touched stays valid all the while: without NATS, from the truth."""
    dice = random.Random(seed)
    async with (
        proxying(nats_server.port) as proxy,
        another_api(system, nats_url=proxy.url) as other,
        clients(system.api, other) as everywhere,
    ):
        named = faults(system, nats_server, proxy)
        spare, *keys = await keys_of_partners(system, everywhere[0], 1 + 2 * len(named) * max(1, rounds // 4))
        async with watching(*[verifying(each, spare["secret"], system.owner) for each in everywhere]) as bystanders:
            for fault in dice.sample([*named] * (len(keys) // (2 * len(named))), len(keys) // 2):
                async with named[fault](), asyncio.TaskGroup() as group:
                    for here in everywhere:
                        pause = dice.uniform(0, 0.5)
                        group.create_task(assert_in_time(system, here, everywhere, keys.pop(), pause))
                for process in (system.api, other):
                    await ready(process)
        for watch in bystanders:
            assert {look.code for look in watch.looks} == {"valid"}


async def ready(process: Process) -> None:
    async with asyncio.timeout(20):
        while await process.answers("/health/ready") != 200:
            await asyncio.sleep(0.02)


@pytest.mark.long
async def test_without_nats_and_postgres_nothing_is_called_valid_and_then_all_is_well_by_itself(
    mortal_system: System, nats_server: Nats
) -> None:
    system = mortal_system
    async with another_api(system) as other, clients(system.api, other) as everywhere:
        (key,) = await keys_of_partners(system, everywhere[0], 1)
        async with watching(*[verifying(each, key["secret"], system.owner) for each in everywhere]) as watches:
            for how in ("SIGKILL", "SIGSTOP"):
                async with paused(nats_server), without_postgres(system, how):
                    gone = time.time()
                    for watch in watches:
                        await watch.says("unavailable", seconds=6)
                        watch.assert_in_time(gone)
                for watch in watches:
                    await watch.says("valid", seconds=20)
        for watch in watches:
            assert {look.code for look in watch.looks} == {"valid", "unavailable"}


@pytest.mark.long
async def test_what_a_judgement_depends_on_is_heard_of_as_well(system: System) -> None:
    """A suspension, what the integration offers, the role of whoever asks: each in a stream of its own."""
    async with another_api(system) as other, clients(system.api, other) as (one, two):
        keys = await keys_of_partners(system, one, 3)
        prod = next(key for key in keys if key["environment"] == "prod")
        await assert_suspension_is_heard_of(system, one, two, prod)
        await assert_offer_is_heard_of(system, one, two, prod)
        await assert_role_is_heard_of(system, one, two, prod)


async def assert_suspension_is_heard_of(
    system: System, one: httpx.AsyncClient, two: httpx.AsyncClient, key: dict[str, Any]
) -> None:
    async with watching(verifying(two, key["secret"], system.owner)) as (watch,):
        answered = await changed(one, system, "POST", f"/keys/{key['id']}/suspend", {"reason": "a test"})
        await watch.says("suspended")
        watch.assert_in_time(answered)
        answered = await changed(one, system, "POST", f"/keys/{key['id']}/reinstate", {})
        await watch.says("valid")
        watch.assert_in_time(answered, "suspended")


async def assert_offer_is_heard_of(
    system: System, one: httpx.AsyncClient, two: httpx.AsyncClient, key: dict[str, Any]
) -> None:
    path = f"/integrations/{system.founded.integration.id}"
    etag = (await one.get(f"/api/v1{path}", headers=system.owner)).headers["ETag"]
    narrower = {"environments": {"prod": {"options": {"send": {"topics": ["app/order/*"]}}}}}
    asked = {"action": "send", "topic": "app/invoice/sent"}
    async with watching(verifying(two, key["secret"], system.owner, **asked)) as (watch,):
        answered = await changed(one, system, "PATCH", path, narrower, etag)
        await watch.says("beyond-integration")
        watch.assert_in_time(answered)


async def assert_role_is_heard_of(
    system: System, one: httpx.AsyncClient, two: httpx.AsyncClient, key: dict[str, Any]
) -> None:
    made = await one.post(
        "/api/v1/roles", json={"name": "gateway", "permissions": ["keys:verify"]}, headers=system.owner
    )
    role = made.json()["data"]["id"]
    wanted = {"kind": "account", "name": "gateway", "role": role}
    secret = (await one.post("/api/v1/keys", json=wanted, headers=system.owner)).json()["data"]["secret"]
    etag = (await one.get(f"/api/v1/roles/{role}", headers=system.owner)).headers["ETag"]
    asking = {"Authorization": f"Bearer {secret}"}
    async with watching(verifying(two, key["secret"], asking)) as (watch,):
        answered = await changed(one, system, "PATCH", f"/roles/{role}", {"permissions": []}, etag)
        await watch.says("permission-missing")
        watch.assert_in_time(answered)
