"""Live connections of a key end with the key: at once, whichever way it ends, and whoever ends it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.errors
import pytest

from contract.tenant import Clock, Tenant, bearer, make_tenant, running
from keyfold.bus.callout import Callout
from keyfold.cli.embedded import Nats
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings

from .partner import Connect, sent, until


@pytest.fixture
async def tenant(settings: Settings) -> AsyncIterator[Tenant]:
    async with running(settings, Clock()) as (services, api):
        yield await make_tenant(api, services)


async def patched(tenant: Tenant, path: str, body: Any) -> None:
    headers = bearer(tenant.owner_key) | {"If-Match": "*"}
    answer = await tenant.api.patch(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def revoke(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await tenant.post(f"/api/v1/keys/{key_id}/revoke", {"reason": "test"})


async def suspend(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await tenant.post(f"/api/v1/keys/{key_id}/suspend", {"reason": "test"})


async def compromise(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await tenant.post(f"/api/v1/keys/{key_id}/compromise", {"reason": "test"})


async def offboard(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await tenant.delete(f"/api/v1/partners/{partner_id}")


async def rotate_without_overlap(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await tenant.post(f"/api/v1/keys/{key_id}/rotate", {"overlapSeconds": 0})


async def withdraw_the_environment(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await patched(tenant, f"/api/v1/integrations/{tenant.integration_id}", {"environments": {"prod": None}})


async def bind_to_another_network(tenant: Tenant, partner_id: str, key_id: str) -> None:
    await patched(tenant, f"/api/v1/keys/{key_id}", {"sourceNetworks": ["192.0.2.0/24"]})


ENDS = [
    revoke,
    suspend,
    compromise,
    offboard,
    rotate_without_overlap,
    withdraw_the_environment,
    bind_to_another_network,
]


@pytest.mark.parametrize("end", ENDS, ids=[each.__name__ for each in ENDS])
async def test_connections_end_with_the_key(
    tenant: Tenant,
    connect: Connect,
    end: Callable[[Tenant, str, str], Awaitable[None]],
    record_property: Callable[[str, object], None],
) -> None:
    partner_id, keys = await tenant.onboard()
    clients = [await connect(keys["prod"]["secret"]) for _ in range(3)]
    bystander = await connect(keys["dev"]["secret"])
    await end(tenant, partner_id, keys["prod"]["id"])
    seconds = await until(lambda: not any(client.is_connected for client in clients))
    record_property("measured", f"{end.__name__}: three connections gone {seconds * 1000:.1f} ms after the answer")
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await connect(keys["prod"]["secret"])
    if end is not offboard:
        assert "seq" in await sent(bystander, "app/order/created", {})


async def test_a_delegates_connections_end_with_its_parent(tenant: Tenant, connect: Connect) -> None:
    partner_id, keys = await tenant.onboard()
    delegate = await tenant.api.post("/api/v1/keys/self/delegate", json={}, headers=bearer(keys["prod"]["secret"]))
    client = await connect(delegate.json()["data"]["secret"])
    await revoke(tenant, partner_id, keys["prod"]["id"])
    await until(lambda: not client.is_connected)


async def test_a_suspended_key_connects_again_when_it_is_reinstated(tenant: Tenant, connect: Connect) -> None:
    partner_id, keys = await tenant.onboard()
    client = await connect(keys["prod"]["secret"])
    await suspend(tenant, partner_id, keys["prod"]["id"])
    await until(lambda: not client.is_connected)
    await tenant.post(f"/api/v1/keys/{keys['prod']['id']}/reinstate", {})
    again = await connect(keys["prod"]["secret"])
    assert "seq" in await sent(again, "app/order/created", {})
    await asyncio.sleep(0.1)
    assert again.is_connected


async def test_connections_end_when_the_key_expires(tenant: Tenant, connect: Connect) -> None:
    """By the server, without anybody's doing: the login says until when."""
    _, keys = await tenant.onboard()
    ends = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    await patched(tenant, f"/api/v1/keys/{keys['prod']['id']}", {"expiresAt": ends.isoformat()})
    client = await connect(keys["prod"]["secret"])
    await until(lambda: not client.is_connected)
    assert datetime.now(UTC) >= ends


async def test_a_connect_that_is_answered_late_is_closed(
    tenant: Tenant, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key dies after the callout has looked for the last time, and before the server hears "yes"."""
    partner_id, keys = await tenant.onboard()
    looked, go = asyncio.Event(), asyncio.Event()
    permit = Callout._permit

    async def late(self: Callout, request: Any, host: str | None) -> str:
        token = await permit(self, request, host)
        looked.set()
        await go.wait()
        return token

    monkeypatch.setattr(Callout, "_permit", late)
    connecting = asyncio.ensure_future(connect(keys["prod"]["secret"]))
    await looked.wait()
    await revoke(tenant, partner_id, keys["prod"]["id"])
    await asyncio.sleep(0.1)
    go.set()
    try:
        client = await connecting
    except nats.errors.Error:
        return
    await until(lambda: not client.is_connected)


async def test_a_key_that_died_while_its_account_was_opened_stays_out(
    tenant: Tenant, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is pushed alive after the reaper has shut it: the callout looks once more, and shuts it again."""
    partner_id, keys = await tenant.onboard()
    accounts, key = tenant.services.gateway.accounts, keys["prod"]
    opened = accounts.open

    async def late(account: Any, server: str | None = None) -> None:
        if account.key_id == key["id"]:
            await revoke(tenant, partner_id, key["id"])
            await asyncio.sleep(0.1)
        await opened(account, server)

    monkeypatch.setattr(accounts, "open", late)
    with pytest.raises(nats.errors.Error):
        await connect(key["secret"])
    pushed = accounts.opened(key["id"])
    assert pushed is not None
    assert pushed.connections == 0


async def test_what_another_process_let_in_ends_too(tenant: Tenant, settings: Settings, connect: Connect) -> None:
    """Two processes share the callouts; the one that let it in is gone when the key dies."""
    partner_id, keys = await tenant.onboard()
    async with running(settings, Clock()) as (first, _):
        await tenant.services.gateway.callout.stop()  # so that the other one answers
        client = await connect(keys["prod"]["secret"])
        await until(lambda: first.gateway.accounts.opened(keys["prod"]["id"]) is not None)
        await first.gateway.close()
        await revoke(tenant, partner_id, keys["prod"]["id"])
        await until(lambda: not client.is_connected)


async def test_a_process_that_starts_finds_the_connections_that_are_there(
    tenant: Tenant, settings: Settings, connect: Connect
) -> None:
    """Nobody ended them when the key died: the sweep does."""
    partner_id, keys = await tenant.onboard()
    client = await connect(keys["prod"]["secret"])
    await tenant.services.gateway.close()
    await revoke(tenant, partner_id, keys["prod"]["id"])
    await asyncio.sleep(0.1)
    assert client.is_connected
    async with running(settings, Clock()):
        await until(lambda: not client.is_connected)


async def test_a_sweep_of_many_keeps_no_revocation_waiting(
    tenant: Tenant, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner_id, keys = await tenant.onboard()
    client = await connect(keys["prod"]["secret"])
    reaper, truth = tenant.services.gateway.reaper, tenant.services.verifier.truth
    looked_at = []

    async def slow(key_id: str) -> Any:
        looked_at.append(key_id)
        await asyncio.sleep(0.02)
        return await truth(key_id)

    monkeypatch.setattr(tenant.services.verifier, "truth", slow)
    reaper.look_through(f"key_{n}" for n in range(10_000))
    await revoke(tenant, partner_id, keys["prod"]["id"])
    await until(lambda: not client.is_connected)
    assert len(looked_at) < 5_000


async def test_all_connections_of_a_server_are_found_page_after_page(
    tenant: Tenant, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.bus.reaper.PAGE", 2)
    keys = [key for _ in range(2) for key in (await tenant.onboard())[1].values()]
    for key in keys:
        await connect(key["secret"])
    found, servers = await tenant.services.gateway.reaper.connected()
    assert (found, len(servers)) == ({key["id"] for key in keys}, 1)


async def test_a_server_that_says_nothing_has_not_lost_its_connections(
    tenant: Tenant, connect: Connect, nats_server: Nats
) -> None:
    _, keys = await tenant.onboard()
    await connect(keys["prod"]["secret"])
    process = nats_server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            await tenant.services.gateway.reaper.connected()
    finally:
        process.send_signal(signal.SIGCONT)
