"""Verification over NATS: as over HTTP, by whichever API process is there, and nothing else for a gateway."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import nats.errors
import pytest
from nats.aio.client import Client

from conftest import Database
from contract.tenant import Clock, Tenant, bearer, make_tenant, running
from keyfold.app.verifier import Verdict
from keyfold.bus import verification
from keyfold.bus.subjects import APPENDED, VERIFY
from keyfold.bus.trust import ROOT_LENGTH
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded.folder import Folder
from keyfold.settings import Settings

from .support import LIMIT, connected, logged_in, value, wait_until

LOCK = "LOCK TABLE keyfold.key_secrets IN ACCESS EXCLUSIVE MODE"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Answer(NamedTuple):
    status: str
    body: Any
    headers: dict[str, str]


@pytest.fixture
async def gateway(nats_server: Nats) -> AsyncIterator[Client]:
    async with logged_in(nats_server, "gateway", reconnect_time_wait=0.05) as client:
        yield client


@pytest.fixture
async def tenant(settings: Settings) -> AsyncIterator[Tenant]:
    """A workspace at a running API process."""
    async with running(settings, Clock()) as (services, api):
        await wait_until(lambda: services.hearing.is_current)
        yield await make_tenant(api, services)


async def send(gateway: Client, asking: str | None, data: bytes) -> Answer:
    """The answer to what is sent with an asking key."""
    headers = None if asking is None else bearer(asking)
    message = await gateway.request(VERIFY, data, timeout=30, headers=headers)
    headers = message.headers or {}
    return Answer(headers["Keyfold-Status"], msgspec.json.decode(message.data), headers)


async def ask(gateway: Client, asking: str | None, **asked: Any) -> Answer:
    return await send(gateway, asking, msgspec.json.encode(asked))


async def is_subscribed(gateway: Client) -> bool:
    """Whether anybody answers."""
    try:
        await ask(gateway, None)
    except (nats.errors.NoRespondersError, nats.errors.ConnectionClosedError, TimeoutError):
        return False
    return True


@asynccontextmanager
async def slow_truth(database: Database) -> AsyncIterator[None]:
    """No digest can be read meanwhile: keys that are in no memory wait."""
    async with connected(database.admin_url) as holder, holder.transaction():
        await holder.execute(LOCK)
        yield


async def waits(database: Database) -> bool:
    return bool(await value(database.admin_url, WAITS))


async def test_a_gateway_is_answered_as_over_http(tenant: Tenant, gateway: Client) -> None:
    _, keys = await tenant.onboard()
    other = await make_tenant(tenant.api, tenant.services, "Other")
    _, foreign = await other.onboard()
    key = keys["prod"]["secret"]
    revoked = keys["dev"]
    await tenant.post(f"/api/v1/keys/{revoked['id']}/revoke", {"reason": "a test"})
    questions: list[tuple[str, dict[str, Any]]] = [
        ("valid", {"key": key}),
        ("valid", {"key": key, "action": "send", "topic": "app/order/created", "address": "192.0.2.1"}),
        ("action-not-permitted", {"key": key, "action": "queries"}),
        ("revoked", {"key": revoked["secret"]}),
        ("unknown-key", {"key": "kf_prod_nothing"}),
        ("unknown-key", {"key": foreign["prod"]["secret"]}),
    ]
    for code, question in questions:
        answer = await ask(gateway, tenant.owner_key, **question)
        assert (answer.status, answer.body["data"]["code"]) == ("200", code), question
        assert answer.body == {"data": await tenant.verdict(question.pop("key"), **question)}


async def test_whoever_may_not_ask_is_told_why_and_nothing_else(tenant: Tenant, gateway: Client) -> None:
    _, keys = await tenant.onboard()
    key = keys["prod"]["secret"]
    viewer = await tenant.key("viewer")
    bound = await tenant.key("admin", source_networks=("192.0.2.0/24",))
    refused = {
        None: ("401", "unauthenticated"),
        "kf_acc_wrong": ("401", "unauthenticated"),
        bound: ("401", "unauthenticated"),
        key: ("403", "permission-missing"),
        viewer: ("403", "permission-missing"),
    }
    for asking, expected in refused.items():
        answer = await ask(gateway, asking, key=key)
        assert (answer.status, answer.body["code"]) == expected
        assert answer.body.keys() == {"code", "title", "status", "detail"}
        assert answer.body["status"] == int(answer.status)
    assert "keys:verify" in answer.body["detail"]


@pytest.mark.parametrize(
    ("data", "code", "named"),
    [
        (b"", "invalid-json", ""),
        (b"{", "invalid-json", ""),
        (b'{"key": "\xff"}', "invalid-json", ""),
        (b"[]", "invalid-request", "object"),
        (b"{}", "invalid-request", "key"),
        (b'{"key": "kf_x", "keys": 1}', "invalid-request", "keys"),
        (b'{"key": 1}', "invalid-request", "key"),
        (b'{"key": "kf_x", "action": "fly"}', "invalid-request", "action"),
        (b'{"key": "kf_x", "topic": "a/b"}', "invalid-request", "action"),
        (b'{"key": "kf_x", "action": "send", "topic": "//"}', "invalid-request", "topic"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    tenant: Tenant, gateway: Client, data: bytes, code: str, named: str
) -> None:
    answer = await send(gateway, tenant.owner_key, data)
    assert (answer.status, answer.body["code"]) == ("400", code)
    assert named in answer.body["detail"]


async def test_a_failure_of_ours_is_a_500_that_shows_nothing(
    tenant: Tenant, gateway: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> Verdict:
        raise LookupError("something inside")

    monkeypatch.setattr(tenant.services.verifier, "verify", fail)
    answer = await ask(gateway, tenant.owner_key, key="kf_x")
    assert (answer.status, answer.body["code"]) == ("500", "internal")
    assert "inside" not in str(answer)
    assert "Error" not in str(answer)


async def test_an_answer_carries_no_header_of_the_request(tenant: Tenant, gateway: Client) -> None:
    """The client's own way to respond would send the asking key back."""
    for asking in (tenant.owner_key, "kf_acc_wrong"):
        answer = await ask(gateway, asking, key="kf_x")
        assert answer.headers.keys() == {"Keyfold-Status"}


async def test_requests_count_against_the_rate_that_http_counts_against(tenant: Tenant, gateway: Client) -> None:
    headers = bearer(tenant.owner_key) | {"If-Match": (await tenant.get("/api/v1/workspace")).headers["ETag"]}
    rate = {"keyRate": {"requests": 5, "seconds": 300}}
    assert (await tenant.api.patch("/api/v1/workspace", json=rate, headers=headers)).status_code == 200
    await tenant.verdict("kf_x")
    await tenant.verdict("kf_x")
    statuses = [(await ask(gateway, tenant.owner_key, key="kf_x")).status for _ in range(4)]
    assert statuses == ["200", "200", "200", "429"]
    assert (await tenant.post("/api/v1/keys/verify", {"key": "kf_x"})).status_code == 429


async def test_a_thousand_at_once_are_all_answered(tenant: Tenant, gateway: Client) -> None:
    _, keys = await tenant.onboard()
    asking = [ask(gateway, tenant.owner_key, key=keys["prod"]["secret"]) for _ in range(1000)]
    answers = await asyncio.gather(*asking)
    assert {(each.status, each.body["data"]["code"]) for each in answers} == {("200", "valid")}


async def test_a_slow_truth_is_nobody_elses_wait(tenant: Tenant, gateway: Client, database: Database) -> None:
    _, keys = await tenant.onboard()
    known, unknown = keys["prod"]["secret"], keys["dev"]["secret"]
    await ask(gateway, tenant.owner_key, key=known)
    async with slow_truth(database):
        slow = asyncio.create_task(ask(gateway, tenant.owner_key, key=unknown))
        await wait_until(lambda: waits(database))
        for _ in range(10):
            assert (await ask(gateway, tenant.owner_key, key=known)).body["data"]["valid"]
        assert not slow.done()
    assert (await slow).body["data"]["valid"]


async def test_more_than_a_process_can_have_under_way_are_refused_at_once(
    tenant: Tenant, gateway: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, keys = await tenant.onboard()
    monkeypatch.setattr(verification, "AT_ONCE", 2)
    async with slow_truth(database):
        slow = [
            asyncio.create_task(ask(gateway, tenant.owner_key, key=keys[each]["secret"])) for each in ("dev", "prod")
        ]
        await wait_until(lambda: waits(database))
        answer = await ask(gateway, tenant.owner_key, key=keys["stage"]["secret"])
        assert (answer.status, answer.body["code"]) == ("503", "unavailable")
    assert [each.status for each in await asyncio.gather(*slow)] == ["200", "200"]


async def test_of_two_processes_one_answers(settings: Settings, tenant: Tenant, gateway: Client) -> None:
    async with running(settings, Clock()) as (second, _):
        judged: list[str] = []
        for services, name in ((tenant.services, "one"), (second, "other")):
            services.usage.note = noting(services.usage.note, judged, name)  # type: ignore[method-assign]
        _, keys = await tenant.onboard()
        asked = 0
        judged.clear()
        while {*judged} != {"one", "other"}:
            await ask(gateway, tenant.owner_key, key=keys["prod"]["secret"])
            asked += 1
            assert asked < 1_000
        for services in (tenant.services, second):
            await services.responder.stop()
        assert len(judged) == 2 * asked  # the asking key and the one that is asked about


def noting(note: Any, asked: list[str], name: str) -> Any:
    """Remembers also which process it was that judged."""

    def noted(*arguments: Any, **named: Any) -> None:
        asked.append(name)
        note(*arguments, **named)

    return noted


async def test_what_was_taken_is_answered_before_the_process_ends_and_then_nothing_is_taken(
    settings: Settings, database: Database, gateway: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.store.postgres.PATIENCE", 10.0)  # that the machine is busy is no outage
    async with running(settings, Clock()) as (services, api):
        await wait_until(lambda: services.hearing.is_current)
        tenant = await make_tenant(api, services)
        _, keys = await tenant.onboard()
        async with slow_truth(database):
            slow = asyncio.create_task(ask(gateway, tenant.owner_key, key=keys["prod"]["secret"]))
            await wait_until(lambda: waits(database))
            ending = asyncio.create_task(services.responder.stop())
            await wait_until(lambda: is_not_subscribed(gateway))
            assert not ending.done()
        assert (await slow).body["data"]["valid"]
        await ending


async def test_nothing_that_was_sent_while_it_stops_is_left_without_an_answer(tenant: Tenant, gateway: Client) -> None:
    """Each is answered, or told that nobody does: what the server was just about to deliver, too."""
    bus, responder = tenant.services.bus, tenant.services.responder
    for _ in range(40):
        stopping = asyncio.create_task(responder.stop())
        with pytest.raises(nats.errors.NoRespondersError):  # noqa: PT012
            while True:
                await gateway.request(VERIFY, b"{}", timeout=LIMIT)
        await stopping
        await responder.start()
        await bus.client.flush()


async def is_not_subscribed(gateway: Client) -> bool:
    return not await is_subscribed(gateway)


async def test_it_answers_again_when_nats_is_back(tenant: Tenant, gateway: Client, nats_server: Nats) -> None:
    """The server was killed; its clients reconnect, and the process is in the group again."""
    _, keys = await tenant.onboard()
    nats_server.kill()
    await nats_server.start()
    await wait_until(lambda: gateway.is_connected)
    await wait_until(lambda: is_subscribed(gateway))
    assert (await ask(gateway, tenant.owner_key, key=keys["prod"]["secret"])).body["data"]["valid"]


async def test_without_any_process_a_gateway_knows_at_once(gateway: Client) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await ask(gateway, None)


async def test_a_gateway_reaches_nothing_but_verification(tenant: Tenant, gateway: Client, nats_server: Nats) -> None:
    """Also by way of a reply subject, which the server doesn't check: it stays within the gateway's account."""
    async with logged_in(nats_server, "worker") as worker:
        heard = [await worker.subscribe(subject) for subject in (APPENDED, "keyfold.marker", "_INBOX.>")]
        await worker.flush()
        await gateway.publish(APPENDED, b"{}")
        await gateway.publish("lc.x", b"{}")
        await gateway.publish("$JS.API.INFO", b"", reply="_INBOX.x")
        await gateway.publish(VERIFY, b"", reply=APPENDED)
        await ask(gateway, tenant.owner_key, key="kf_x")  # answered after the one before
        await worker.publish("keyfold.marker", b"")
        await heard[1].next_msg(5)
        assert [each.pending_msgs for each in heard] == [0, 0, 0]


async def test_a_gateway_overhears_nothing(tenant: Tenant, gateway: Client, nats_server: Nats) -> None:
    """Neither what moves nor what others are answered, the worker by JetStream for one."""
    subjects = ("keyfold.>", "lc.>", "_INBOX.>", "_R_.>")
    overheard = [await gateway.subscribe(subject) for subject in subjects]
    async with logged_in(nats_server, "worker") as worker:
        await worker.jetstream().account_info()
        for subject in ("keyfold.marker", "lc.x", "_INBOX.x"):
            await worker.publish(subject, b"")
        await worker.flush()
        await tenant.invite()
        await gateway.flush()
        assert [each.pending_msgs for each in overheard] == [0, 0, 0, 0]


def test_a_data_folder_from_before_gets_a_root_and_keeps_the_rest(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    before = {"api": "a", "worker": "b", "pepper": "c"}
    folder.write("secrets.json", before)
    now = folder.secrets()
    assert now == before | {"natsRoot": now["natsRoot"], "logKey": now["logKey"]}
    assert len(base64.b64decode(now["natsRoot"])) == ROOT_LENGTH
    assert folder.secrets() == now
