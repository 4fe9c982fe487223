"""Publishing over HTTP: what may be sent is stored, as it was sent and by whom; what may not is told why."""

import asyncio
import base64
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest
from nats.js.errors import NotFoundError

from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.rule import Options, Receive, Send

from .conftest import System
from .keys import Held, changed, delegate, done, eventually, held, join, prod
from .tenant import Tenant, bearer, problem

EVENTS = "/api/v1/events"
JSON = {"Content-Type": "application/json"}
CLOUDEVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
ORDERS = Offer(("send", "receive"), Options(send=Send(("app/order/*",)), receive=Receive(("app/**",))))


class Message(NamedTuple):
    """An event as it is stored."""

    subject: str
    headers: dict[str, str]
    body: dict[str, Any]


async def publish(
    workspace: Tenant, key: Held, body: Any = None, topic: str | None = None, **more: Any
) -> httpx.Response:
    """Plain JSON, unless the headers say otherwise."""
    headers = key.headers | more.pop("headers", {})
    given = more or {"json": {"id": 1} if body is None else body}
    return await workspace.api.post(EVENTS, params={"topic": topic} if topic else {}, headers=headers, **given)


async def published(*args: Any, **more: Any) -> Any:
    answer = await publish(*args, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def stored(system: System, at: Any) -> Message:
    """What JetStream has."""
    message = await system.services.bus.jetstream().get_msg(at["stream"], seq=at["sequence"])
    assert message.data is not None
    return Message(str(message.subject), dict(message.headers or {}), msgspec.json.decode(message.data))


async def test_plain_json_is_stored_as_a_cloudevent_of_whoever_sent_it(system: System, workspace: Tenant) -> None:
    partner = await join(workspace, ORDERS)
    key = partner.keys["prod"]
    at = await published(workspace, key, {"total": 12.5}, "app/order/created")
    assert (at["stream"], at["duplicate"]) == (f"EV_{workspace.id}_prod", False)
    message = await stored(system, at)
    assert message.subject == f"ev.{workspace.id}.prod._.app.order.created"
    assert message.headers["content-type"] == CLOUDEVENT
    assert message.body == {
        "specversion": "1.0",
        "id": at["id"],
        "source": f"/partners/{partner.id}",
        "type": "app.order.created",
        "time": message.body["time"],
        "datacontenttype": "application/json",
        "keyid": key.id,
        "topic": "app/order/created",
        "data": {"total": 12.5},
    }
    assert at["id"].startswith("evt_")


async def test_structured_and_binary_mode_store_the_same_event(system: System, workspace: Tenant) -> None:
    key = await prod(workspace, ORDERS)
    event = {"id": "o 1", "type": "app.order.created", "subject": "Ö", "ext": "1", "time": "2031-01-01T00:00:00Z"}
    whole = {"specversion": "1.0", "datacontenttype": "application/json", "data": [1], "source": "/me", **event}
    structured = await published(
        workspace, key, content=msgspec.json.encode(whole), headers={"Content-Type": CLOUDEVENT}
    )
    headers = {f"ce-{name}": value for name, value in event.items()} | {"ce-subject": "%C3%96", "ce-id": "o%202"}
    headers |= {"ce-specversion": "1.0", "Content-Type": "application/json"}
    binary = await published(workspace, key, content=b"[1]", headers=headers)
    first, second = (await stored(system, structured)).body, (await stored(system, binary)).body
    assert (first.pop("id"), second.pop("id")) == ("o 1", "o 2")
    assert first == second
    assert (first["subject"], first["topic"], first["keyid"]) == ("Ö", "app/order/created", key.id)
    assert first["source"] == f"/partners/{key.data['partnerId']}"


async def test_data_that_is_no_json_is_stored_in_base64(system: System, workspace: Tenant) -> None:
    key, body = await prod(workspace), bytes(range(256))
    headers = {"ce-specversion": "1.0", "Content-Type": "image/png"}
    message = await stored(system, await published(workspace, key, topic="app/image", content=body, headers=headers))
    assert (message.body["datacontenttype"], base64.b64decode(message.body["data_base64"])) == ("image/png", body)


async def test_an_event_with_an_id_that_was_there_is_not_stored_again(system: System, workspace: Tenant) -> None:
    key = await prod(workspace)
    ids = ["7", "a b", "é" * 256]
    first = [await published(workspace, key, topic="a", headers={"ce-id": quote(each)}) for each in ids]
    again = [await published(workspace, key, topic="a", headers={"ce-id": quote(each)}) for each in ids]
    assert [each["duplicate"] for each in first] == [False] * 3
    assert again == [each | {"duplicate": True} for each in first]
    assert [(await stored(system, each)).body["id"] for each in first] == ids
    other = (await join(workspace)).keys["prod"]
    assert (await published(workspace, other, topic="a", headers={"ce-id": "7"}))["duplicate"] is False
    stage = (await join(workspace)).keys["stage"]
    assert (await published(workspace, stage, topic="a", headers={"ce-id": "7"}))["stream"].endswith("_stage")


async def test_an_idempotency_key_is_the_id_of_an_event_that_has_none(workspace: Tenant) -> None:
    key = await prod(workspace)
    first, again = [await published(workspace, key, topic="a", headers={"Idempotency-Key": "i-1"}) for _ in range(2)]
    assert (first["id"], first["duplicate"], again["duplicate"]) == ("i-1", False, True)
    own = await published(workspace, key, topic="a", headers={"Idempotency-Key": "i-1", "ce-id": "own"})
    assert (own["id"], own["duplicate"]) == ("own", False)
    problem(await publish(workspace, key, topic="a", headers={"Idempotency-Key": "a b"}), 400, "invalid-request")


async def test_named_recipients_get_one_message_each(system: System, workspace: Tenant) -> None:
    key, other, third = await prod(workspace), await join(workspace), await join(workspace)
    headers = {"ce-to": f"{other.id}, {third.id}", "ce-id": "1"}
    at = await published(workspace, key, topic="a/b", headers=headers)
    assert [each["to"] for each in at["deliveries"]] == [other.id, third.id]
    assert at["sequence"] == at["deliveries"][1]["sequence"]
    for each in at["deliveries"]:
        message = await stored(system, {**at, **each})
        assert message.subject == f"ev.{workspace.id}.prod.{each['to']}.a.b"
        assert not {"to", "ttl"} & {*message.body}
        assert third.id not in str(message.body)
    one_more = await published(
        workspace, key, topic="a/b", headers={"ce-to": f"{other.id},{key.data['partnerId']}", "ce-id": "1"}
    )
    assert [each["duplicate"] for each in one_more["deliveries"]] == [True, False]
    assert one_more["duplicate"] is False


async def test_nothing_is_sent_when_one_recipient_is_none(system: System, workspace: Tenant, neighbour: Tenant) -> None:
    key, here, theirs, gone = await prod(workspace), await join(workspace), await join(neighbour), await join(workspace)
    before = (await published(workspace, key, topic="a"))["sequence"]
    assert (await publish(workspace, key, topic="a", headers={"ce-to": gone.id})).status_code == 201
    assert (await workspace.delete(f"/api/v1/partners/{gone.id}")).status_code == 200
    for nobody in (theirs.id, gone.id, "prt_" + "0" * 26):
        answer = await publish(workspace, key, topic="a", headers={"ce-to": f"{here.id},{nobody}"})
        said = problem(answer, 422, "unknown-recipient")
        assert nobody in said["detail"]
        assert here.id not in said["detail"]
    assert (await published(workspace, key, topic="a"))["sequence"] == before + 2


async def test_a_recipient_that_left_is_unknown_to_another_process_at_once(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    key, gone = await prod(workspace), await join(workspace)
    headers = key.headers | {"ce-to": gone.id}

    async def status() -> int:
        return (await other_process.post(f"{EVENTS}?topic=a", json={}, headers=headers)).status_code

    assert await status() == 201
    assert (await workspace.delete(f"/api/v1/partners/{gone.id}")).status_code == 200
    await eventually(status, 422, seconds=1)


async def test_an_event_that_lives_for_seconds_is_gone_after_them(system: System, workspace: Tenant) -> None:
    key = await prod(workspace)
    at = await published(workspace, key, topic="a", headers={"ce-ttl": "1"})
    kept = await published(workspace, key, topic="a")
    assert (await stored(system, at)).headers["Nats-TTL"] == "1"

    async def is_gone() -> bool:
        try:
            await stored(system, at)
        except NotFoundError:
            return True
        return False

    await eventually(is_gone, seconds=5)
    assert (await stored(system, kept)).body["id"] == kept["id"]


async def test_what_the_rules_fill_in_wins_over_the_sender_and_the_offer_over_the_key(
    system: System, workspace: Tenant
) -> None:
    rule = Send(("**",), autofill={"customer": {"id": "c_1"}, "by": "shop"})
    partner = await join(workspace, Offer(("send",), Options(send=rule)))
    key = partner.keys["prod"]
    sent = {"customer": {"id": "x", "name": "n"}, "by": "me"}
    message = await stored(system, await published(workspace, key, sent, "a"))
    assert message.body["data"] == {"customer": {"id": "c_1", "name": "n"}, "by": "shop"}
    later = {"environments": {"prod": {"options": {"send": {"autofill": {"by": "offer"}}}}}}
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", later)
    message = await stored(system, await published(workspace, key, sent, "a"))
    assert message.body["data"]["by"] == "offer"
    for body in (b"[]", b"null", b"1", b'"x"'):
        answer = await publish(workspace, key, topic="a", content=body, headers=JSON)
        assert problem(answer, 422, "autofill-impossible")["errors"][0]["pointer"] == "/data"
    binary = {"ce-specversion": "1.0", "Content-Type": "text/plain"}
    problem(await publish(workspace, key, topic="a", content=b"x", headers=binary), 422, "autofill-impossible")


async def test_an_event_is_as_large_as_the_policy_says(system: System, workspace: Tenant) -> None:
    key = await prod(workspace, Offer(policy=KeyPolicy(event_bytes=2048)))
    at = await published(workspace, key, {"x": ""}, "a")
    message = await system.services.bus.jetstream().get_msg(at["stream"], seq=at["sequence"])
    spare = 2048 - len(message.data or b"")
    assert (await publish(workspace, key, {"x": "x" * spare}, "a")).status_code == 201
    problem(await publish(workspace, key, {"x": "x" * (spare + 1)}, "a"), 413, "event-too-large")
    problem(await publish(workspace, key, {"x": "x" * 2**20}, "a"), 413, "body-too-large")


async def test_an_event_of_a_quarter_of_a_mebibyte_fits_by_default_and_of_one_if_the_policy_says_so(
    workspace: Tenant,
) -> None:
    plain = await prod(workspace)
    assert (await publish(workspace, plain, {"x": "x" * 261_000}, "a")).status_code == 201
    problem(await publish(workspace, plain, {"x": "x" * 262_144}, "a"), 413, "event-too-large")
    large = await prod(workspace, Offer(policy=KeyPolicy(event_bytes=2**20)))
    answer = await publish(workspace, large, {"x": "x" * 1_000_000}, "a")
    assert answer.status_code == 201, answer.text


async def test_a_key_sends_as_often_as_its_rate_says(workspace: Tenant) -> None:
    key = await prod(workspace, Offer(policy=KeyPolicy(rate=Rate(3, 3600))))
    answers = [await publish(workspace, key, topic="a") for _ in range(4)]
    assert [each.status_code for each in answers] == [201, 201, 201, 429]
    problem(answers[3], 429, "rate-limited")
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;')
    assert int(answers[3].headers["retry-after"]) > 1000
    batch = await send_batch(workspace, key, [{"specversion": "1.0", "topic": "a"}] * 2)
    assert [(each["status"], each["problem"]["code"]) for each in batch] == [(429, "rate-limited")] * 2


async def test_what_the_key_doesnt_allow_is_refused_and_says_so(workspace: Tenant) -> None:
    partner = await join(workspace, ORDERS)
    key = partner.keys["prod"]
    problem(await publish(workspace, key, topic="app/order"), 403, "topic-not-permitted")
    problem(await publish(workspace, key, topic="app/order/a/b"), 403, "topic-not-permitted")
    receiver = held(await delegate(workspace, key.id, permitted=["receive"]))
    problem(await publish(workspace, receiver, topic="app/order/a"), 403, "action-not-permitted")
    child = held(await delegate(workspace, key.id))
    assert (await publish(workspace, child, topic="app/order/a")).status_code == 201
    await changed(workspace, key.id, {"options": {"send": {"topics": ["app/order/b"]}}})
    problem(await publish(workspace, child, topic="app/order/a"), 403, "beyond-parent")
    problem(await publish(workspace, key, topic="app/order/a"), 403, "topic-not-permitted")
    offer = {"environments": {"prod": {"options": {"send": {"topics": ["app/other"]}}}}}
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", offer)
    problem(await publish(workspace, key, topic="app/order/b"), 403, "beyond-integration")
    for account in (workspace.owner_key, workspace.integration_key):
        answer = await workspace.api.post(f"{EVENTS}?topic=a", json={}, headers=bearer(account))
        problem(answer, 403, "action-not-permitted")


async def test_a_key_of_an_environment_that_is_offered_no_more_sends_nothing(workspace: Tenant) -> None:
    partner = await join(workspace, dev=Offer(), prod=Offer())
    path = f"/api/v1/integrations/{partner.integration_id}"
    await changed(workspace, path, {"environments": {"dev": None}})
    answer = await publish(workspace, partner.keys["dev"], topic="a")
    problem(answer, 401, "unauthenticated")


async def test_a_suspended_key_sends_nothing_from_that_moment_and_a_reinstated_one_again(workspace: Tenant) -> None:
    key = await prod(workspace)
    assert (await publish(workspace, key, topic="a")).status_code == 201
    await done(workspace, "suspend", key.id)
    problem(await publish(workspace, key, topic="a"), 401, "unauthenticated")
    await done(workspace, "reinstate", key.id)
    assert (await publish(workspace, key, topic="a")).status_code == 201
    await done(workspace, "revoke", key.id)
    problem(await publish(workspace, key, topic="a"), 401, "unauthenticated")
    problem(await workspace.api.post(f"{EVENTS}?topic=a", json={}), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "content", "status", "code", "pointer"),
    [
        ({"Content-Type": "application/json"}, b"{", 400, "invalid-request", ""),
        ({"Content-Type": "application/json"}, b"\xff", 400, "invalid-request", ""),
        ({"Content-Type": "application/json"}, b"[" * 50_000, 400, "invalid-request", ""),
        ({"Content-Type": "application/json"}, b"[" * 65 + b"]" * 65, 400, "invalid-request", "ce-data"),
        ({"Content-Type": "application/json", "ce-id": "%ff"}, b"1", 400, "invalid-request", "ce-id"),
        ({"Content-Type": "application/json", b"ce-id": b"\xff"}, b"1", 400, "invalid-request", "ce-id"),
        ({"Content-Type": "application/json", "ce-ttl": "0"}, b"1", 400, "invalid-request", "ce-ttl"),
        ({"Content-Type": "application/json", "ce-to": "me"}, b"1", 400, "invalid-request", "ce-to"),
        ({"Content-Type": CLOUDEVENT}, b"{}", 400, "invalid-request", "/specversion"),
        ({"Content-Type": CLOUDEVENT}, b"[]", 400, "invalid-request", ""),
        ({"Content-Type": BATCH}, b"{}", 400, "invalid-request", ""),
        ({"Content-Type": "text/plain"}, b"x", 415, "unsupported-media-type", None),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"{}", 415, "unsupported-media-type", None),
        ({"Content-Type": "application/cloudevents+avro"}, b"x", 415, "unsupported-media-type", None),
    ],
)
async def test_what_is_no_event_is_refused_by_what_is_wrong(
    workspace: Tenant, headers: Any, content: bytes, status: int, code: str, pointer: str | None
) -> None:
    key = await prod(workspace)
    answer = await publish(workspace, key, topic="a", content=content, headers=headers)
    errors = problem(answer, status, code).get("errors", [])
    assert [each["pointer"] for each in errors] == ([] if pointer is None else [pointer])


async def test_an_attribute_that_comes_twice_is_refused(workspace: Tenant) -> None:
    key = await prod(workspace)
    headers = [*key.headers.items(), ("ce-id", "1"), ("CE-ID", "2"), ("Content-Type", "application/json")]
    answer = await workspace.api.post(f"{EVENTS}?topic=a", content=b"1", headers=headers)
    assert problem(answer, 400, "invalid-request")["errors"][0]["pointer"] == "ce-id"


async def test_an_event_needs_a_topic(workspace: Tenant) -> None:
    key = await prod(workspace)
    for topic, place in ((None, "/type"), ("a.b", "?topic"), ("a/*", "?topic")):
        answer = await publish(workspace, key, topic=topic)
        assert problem(answer, 400, "invalid-request")["errors"][0]["pointer"] == place


async def send_batch(workspace: Tenant, key: Held, events: Any) -> Any:
    content = msgspec.json.encode(events)
    answer = await publish(workspace, key, content=content, headers={"Content-Type": BATCH})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_each_event_of_a_batch_is_answered_on_its_own_and_stored_in_order(
    system: System, workspace: Tenant
) -> None:
    key = await prod(workspace, ORDERS)
    good = [{"specversion": "1.0", "type": "app.order.created", "data": n} for n in range(90)]
    bad = {"specversion": "1.0", "type": "app.secret"}
    answers = await send_batch(workspace, key, [good[0], bad, {"id": "no event"}, 5, *good[1:]])
    assert [each["status"] for each in answers] == [201, 403, 400, 400, *[201] * 89]
    assert answers[1]["problem"]["code"] == "topic-not-permitted"
    assert answers[1]["problem"]["requestId"].startswith("req_")
    assert answers[2]["problem"]["errors"][0]["pointer"] == "/specversion"
    taken = [each for each in answers if each["status"] == 201]
    sequences = [each["sequence"] for each in taken]
    assert sequences == [*range(sequences[0], sequences[0] + 90)]
    assert [(await stored(system, each)).body["data"] for each in taken] == [*range(90)]


async def test_a_batch_may_be_empty_and_may_not_be_endless(workspace: Tenant) -> None:
    key = await prod(workspace)
    assert await send_batch(workspace, key, []) == []
    event = {"specversion": "1.0", "type": "a", "id": "same"}
    assert [each["duplicate"] for each in await send_batch(workspace, key, [event] * 100)] == [False, *[True] * 99]
    answer = await publish(workspace, key, content=msgspec.json.encode([event] * 101), headers={"Content-Type": BATCH})
    problem(answer, 400, "invalid-request")


async def test_data_that_its_topics_schema_forbids_is_refused(workspace: Tenant) -> None:
    key = await prod(workspace)
    schema = {"type": "object", "required": ["orderId"]}
    path = f"/api/v1/integrations/{workspace.integration_id}/topics"
    made = await workspace.post(path, {"name": "app/order/created", "schema": schema})
    assert made.status_code == 201, made.text
    problem(await publish(workspace, key, {"id": 1}, "app/order/created"), 422, "schema-violation")
    assert (await publish(workspace, key, {"orderId": "1"}, "app/order/created")).status_code == 201
    assert (await publish(workspace, key, {"id": 1}, "app/order/gone")).status_code == 201
    binary = {"ce-specversion": "1.0", "Content-Type": "text/plain"}
    answer = await publish(workspace, key, topic="app/order/created", content=b"x", headers=binary)
    problem(answer, 422, "schema-violation")
    answer = await publish(workspace, key, topic="app/order/created", content=b"", headers={"ce-specversion": "1.0"})
    problem(answer, 422, "schema-violation")


async def test_what_was_sent_and_what_was_refused_is_counted(workspace: Tenant) -> None:
    key, noted = await prod(workspace, ORDERS), workspace.services.event_usage
    [*noted.take()]
    await published(workspace, key, topic="app/order/a", headers={"ce-id": "1"})
    await published(workspace, key, topic="app/order/a", headers={"ce-id": "1"})
    await publish(workspace, key, topic="app/secret")
    await publish(workspace, key, topic="a b")
    tallies = {each.outcome: each for batch in noted.take() for each in batch if each.key_id == key.id}
    assert {outcome: each.count for outcome, each in tallies.items()} == {
        "published": 1,
        "duplicate": 1,
        "refused:topic-not-permitted": 1,
        "refused:invalid-request": 1,
    }
    assert tallies["published"].size > 100
    assert sum(tallies["published"].buckets) == 1
    metrics = (await workspace.api.get("/metrics")).text
    for code in ("published", "duplicate", "topic-not-permitted", "invalid-request"):
        assert f'keyfold_ingress_events_total{{code="{code}"}}' in metrics


async def test_what_waits_for_a_slow_disk_is_looked_at_once_more(
    system: System, workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the queue, nothing of a key is stored later than its last moment and one store."""
    key, other = await prod(workspace), await prod(workspace)
    store, held_up = system.services.event_streams.store, asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        await held_up.wait()
        return await store(*arguments)

    async def waiting() -> tuple[bool, int]:
        return turns.locked(), len(turns._waiters or ())

    turns = asyncio.Semaphore(1)
    monkeypatch.setattr(system.services.ingress, "_turns", turns)
    monkeypatch.setattr(system.services.event_streams, "store", slowly)
    first = asyncio.create_task(publish(workspace, key, topic="a"))
    await eventually(waiting, (True, 0))
    second = asyncio.create_task(publish(workspace, key, topic="a"))
    third = asyncio.create_task(publish(workspace, other, topic="a"))
    await eventually(waiting, (True, 2))
    await done(workspace, "revoke", key.id)
    held_up.set()
    assert (await first).status_code == 201
    problem(await second, 401, "unauthenticated")
    assert (await third).status_code == 201
