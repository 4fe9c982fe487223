"""Postgres stopped: 503 soon, never a hang, never a false `valid`; and afterwards all is well."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from integration.support import cursors, logged_in, projected, value, wait_until
from keyfold.bus.hearing import LEASE
from keyfold.bus.subjects import VERIFY

from .load import Load
from .system import System, onboard
from .watch import BOUND


def signal_all(system: System, number: signal.Signals) -> None:
    """The server with all of its sessions, as on a machine that hangs."""
    process = system.database.server.process
    assert process is not None
    top = psutil.Process(process.pid)
    for each in (top, *top.children(recursive=True)):
        each.send_signal(number)


async def timed(asking: Any) -> tuple[float, Any]:
    began = time.monotonic()
    answer = await asking
    return time.monotonic() - began, answer


async def ask_everything(system: System, client: httpx.AsyncClient, partner: dict[str, Any]) -> float:
    """Verify, commands and reads at the same time: each must be refused, properly and soon. The most seconds of all."""
    key = partner["keys"][0]
    requests = {
        "verify": client.post("/api/v1/keys/verify", json={"key": key["secret"]}, headers=system.owner),
        "verify a wrong one": client.post("/api/v1/keys/verify", json={"key": "kf_x"}, headers=system.owner),
        "invite": client.post("/api/v1/external/partner", json={}, headers=system.inviter),
        "preview": client.post("/api/v1/onboarding/preview", json={"token": partner["token"]}),
        "redeem": client.post("/api/v1/onboarding/redeem", json={"token": partner["token"]}),
        "revoke": client.post(f"/api/v1/keys/{key['id']}/revoke", json={"reason": "r"}, headers=system.owner),
        "read": client.get(f"/api/v1/keys/{key['id']}", headers=system.owner),
        "list": client.get("/api/v1/keys", headers=system.owner),
        "audit": client.get("/api/v1/audit/events", headers=system.owner),
    }
    ready = asyncio.create_task(timed(client.get("/health/ready")))
    outcomes = await asyncio.gather(*[timed(each) for each in requests.values()])
    for name, (_, answer) in zip(requests, outcomes, strict=True):
        assert answer.status_code == 503, (name, answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json"), name
        assert answer.json()["code"] == "unavailable", name
        assert "valid" not in answer.json().get("data", {}), name
    at_ready, answer = await ready
    assert answer.status_code == 503
    assert (await client.get("/health/live")).status_code == 200
    by_nats, status = await timed(status_by_nats(system, key["secret"]))
    assert status == "503"
    return max(by_nats, at_ready, *[seconds for seconds, _ in outcomes])


async def status_by_nats(system: System, key: str) -> str:
    """The status of an answer to a gateway."""
    async with logged_in(system.nats, "gateway") as gateway:
        answer = await gateway.request(VERIFY, json.dumps({"key": key}).encode(), timeout=5, headers=system.owner)
    return str((answer.headers or {})["Keyfold-Status"])


@asynccontextmanager
async def without_postgres(system: System, how: str) -> AsyncIterator[None]:
    if how == "SIGKILL":
        system.database.server.kill()
    else:
        signal_all(system, signal.SIGSTOP)
    try:
        yield
    finally:
        if how == "SIGKILL":
            await system.database.server.start()
        else:
            signal_all(system, signal.SIGCONT)


@pytest.mark.long
async def test_without_postgres_everything_is_503_and_later_well_again(
    mortal_system: System, record_property: Callable[[str, object], None]
) -> None:
    """Killed, and then stopped with everybody's connections open: the second is where things hang."""
    system = mortal_system
    async with system.client() as client:
        for how in ("SIGKILL", "SIGSTOP"):
            partner = await onboard(system, client)
            assert await code_of(system, client, partner) == "valid"
            async with without_postgres(system, how):
                await until_unsure(system, client, partner)
                seconds = max([await ask_everything(system, client, partner) for _ in range(2)])
                record_property("measured", f"Postgres away by {how}: all refused within {seconds:.2f} s")
            await wait_until(partial(is_well_again, system, client, partner))
            await onboard(system, client)
            await system.ready()
    assert all(each.runs for each in system.processes)
    await system.assert_sound()


async def until_unsure(system: System, client: httpx.AsyncClient, partner: dict[str, Any]) -> None:
    """Memory is the truth of a moment ago, and may be used for that moment."""
    began = asked = time.monotonic()
    while (code := await code_of(system, client, partner)) == "valid":
        assert asked - began < BOUND
        asked = time.monotonic()
    assert code == "unavailable"
    await asyncio.sleep(LEASE)  # a round whose answer was on its way may still renew it once


async def code_of(system: System, client: httpx.AsyncClient, partner: dict[str, Any]) -> str:
    body = {"key": partner["keys"][0]["secret"]}
    answer = (await client.post("/api/v1/keys/verify", json=body, headers=system.owner)).json()
    return str(answer["code"] if "code" in answer else answer["data"]["code"])


async def is_well_again(system: System, client: httpx.AsyncClient, partner: dict[str, Any]) -> bool:
    """It was asked to be revoked, and nobody knows whether that was done: either may be the truth now."""
    code = await code_of(system, client, partner)
    assert code in ("valid", "revoked", "unavailable")
    return code != "unavailable"


@pytest.mark.long
async def test_under_load_a_postgres_that_crashes_loses_nothing_that_was_answered(mortal_system: System) -> None:
    """The postmaster is killed while commands are under way; callers repeat theirs."""
    load = Load(mortal_system)
    for _ in range(2):
        await load.more(40)
        mortal_system.database.server.kill()
        await mortal_system.database.server.start()
    await load.more(40)
    await load.stop()
    await load.assert_done_once()
    await mortal_system.assert_sound()
    assert load.refused


@pytest.mark.long
async def test_what_a_crash_took_of_the_lists_comes_back_though_nothing_follows_it(mortal_system: System) -> None:
    """One backend is killed, so Postgres begins anew within milliseconds. What projections had committed is gone, which
    doesn't wait for the disk, and no further event says so."""
    system, url, taken = mortal_system, mortal_system.database.admin_url, 0
    await value(url, "ALTER SYSTEM SET wal_writer_delay = '10s'")  # it would bring it to the disk meanwhile
    await value(url, "SELECT pg_reload_conf()")
    async with system.client() as client:
        for _ in range(4):
            await onboard(system, client)
            head = await projected(url)
            await crash(url)
            taken += min((await cursors(url)).values()) < head
            assert await projected(url) == head
    assert taken
    await system.assert_sound()


async def crash(url: str) -> None:
    """Kills a backend, which ends all others, and returns when Postgres takes connections again."""
    connection = await asyncpg.connect(url)
    try:
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
    finally:
        connection.terminate()
    await wait_until(partial(takes_connections, url), every=0.005)


async def takes_connections(url: str) -> bool:
    with suppress(OSError, asyncpg.PostgresError):
        return bool(await value(url, "SELECT true"))
    return False
