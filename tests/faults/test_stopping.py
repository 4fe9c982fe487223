"""How the processes end: in order when asked, loudly when something in them is dead, and never with a secret left."""

import asyncio

import httpx
import pytest

from integration.support import connected, rows, value, wait_until
from keyfold.bus.topology import LOGINS

from .load import Load
from .system import System, onboard

LOCK = "SELECT pg_advisory_lock(7309453271)"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_sigterm_lets_the_requests_under_way_end_and_the_process_exits_with_0(system: System) -> None:
    """A command waits in Postgres while the process is asked to stop: it is answered, and done."""
    async with system.client() as client, connected(system.database.admin_url) as holder:
        await holder.execute(LOCK)
        asked = asyncio.create_task(client.post("/api/v1/external/partner", json={}, headers=system.inviter))
        await wait_until(lambda: value(system.database.admin_url, WAITS))
        system.api.ask_to_stop()
        await wait_until(lambda: refuses(system))
        await holder.execute("SELECT pg_advisory_unlock(7309453271)")
        answer = await asked
    assert answer.status_code == 201
    partner = answer.json()["data"]["id"]
    assert await value(system.database.api_url, "SELECT count(*) FROM keyfold.log WHERE stream = $1", partner) == 1
    assert await system.api.ended() == 0


async def refuses(system: System) -> bool:
    """Whether nobody is taken any more at the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", system.api.port)
    except OSError:
        return True
    writer.close()
    return False


@pytest.mark.long
async def test_sigterm_under_load_breaks_no_request_that_was_taken(system: System) -> None:
    load = Load(system)
    await load.more(30)
    system.api.ask_to_stop()
    assert await system.api.ended() == 0
    system.api.start()
    await load.more(30)
    await load.stop()
    await load.assert_done_once()
    await system.assert_sound()


async def test_a_worker_that_is_asked_to_stop_exits_with_0_and_is_missed_at_once(system: System) -> None:
    system.worker.ask_to_stop()
    assert await system.worker.ended() == 0
    assert await rows(system.database.admin_url, "SELECT loop FROM projections.loops") == []
    async with system.client() as client:
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["worker"]["ok"]) == (503, False)


async def test_a_dead_loop_fails_readiness_and_ends_the_process_with_an_error(system: System) -> None:
    """A cursor that isn't there is nothing that a loop could wait out."""
    async with connected(system.database.admin_url) as connection:
        await connection.execute("DELETE FROM projections.cursors WHERE projection = 'audit'")
    async with system.client() as client:
        await onboard(system, client)
        assert await system.worker.ended() not in (0, None)
        answer: httpx.Response = await client.get("/health/ready")
    assert answer.status_code == 503
    assert "loop.dead" in system.worker.log.read_text()


async def test_no_secret_is_in_any_log_of_any_process(system: System) -> None:
    """At the most talkative level, over crashes of both and errors of every kind."""
    load = Load(system, callers=3)
    await load.more(20)
    for process in system.processes:
        process.kill()
        process.start()
    await load.more(20)
    async with system.client() as client:
        partner = await onboard(system, client)
        again = await client.post("/api/v1/onboarding/redeem", json={"token": partner["token"]})
        assert again.status_code == 410
        wrong = {"Authorization": f"Bearer {partner['keys'][0]['secret']}"}
        assert (await client.post("/api/v1/external/partner", json={}, headers=wrong)).status_code == 403
        for body in ({"token": [partner["token"]]}, {"key": partner["keys"][1]["secret"], "x": 1}):
            answer = await client.post("/api/v1/keys/verify", json=body, headers=system.owner)
            assert answer.status_code == 400
            query = await client.get("/api/v1/keys", params={"cursor": partner["token"]}, headers=system.owner)
            assert query.status_code == 400
    await load.stop()
    for process in system.processes:
        process.ask_to_stop()
        await process.ended()
    secrets = [*load.secrets, partner["token"], *partner["cookies"], *[key["secret"] for key in partner["keys"]]]
    secrets += [headers["Authorization"].removeprefix("Bearer ") for headers in (system.owner, system.inviter)]
    secrets += [system.nats.login(name).key.seed for name in LOGINS]
    secrets += [system.nats.keys, system.nats.keys.partition(":")[2][:42]]  # of which the first half is the secret one
    logs = [system.api.log, system.worker.log, system.nats.child.log, system.database.server.child.log]
    texts = {log: log.read_text(errors="replace") for log in logs}
    assert "request" in texts[system.api.log]
    assert len(secrets) > 50
    for log, text in texts.items():
        assert not [secret for secret in secrets if secret in text], log
        # nor a part that would do: the secret of a token is its last 49 characters
        assert not [secret for secret in secrets if len(secret) > 60 and secret[-49:-6] in text], log
