"""The parts of `keyfold_client` that need no server."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import keyfold_client
from keyfold_client import KeyfoldError, KeyRefused, Rotated, Unreachable
from keyfold_client._http import Http
from keyfold_client._keyring import Keyring
from keyfold_client._nats import found
from keyfold_client._replay import Message, Parser, place
from keyfold_client._retry import patiently, waits
from keyfold_client._rotate import LOOK, Me, until_due
from keyfold_client._verify import Verifier
from keyfold_client.errors import of_answer, of_response
from keyfold_client.models import encoded, event_fields, moment

SECRET = "kf_prod_01jz8n3v5tf9qa4x2m7c6b0d1e_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_waits_double_up_to_a_limit_and_nobody_waits_exactly_as_long() -> None:
    assert [*islice(waits(lambda: 1.0), 8)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert [*islice(waits(lambda: 0.0), 3)] == pytest.approx([0.05, 0.1, 0.2])


async def test_what_passes_is_tried_again_and_what_stays_is_not() -> None:
    tried: list[float] = []

    async def attempt(error: KeyfoldError | None, seconds: float) -> str:
        tried.append(seconds)
        if error is not None and len(tried) < 3:
            raise error
        return "done"

    assert await patiently(lambda left: attempt(Unreachable("away"), left), 5) == "done"
    assert len(tried) == 3
    assert tried == sorted(tried, reverse=True)
    tried.clear()
    with pytest.raises(KeyfoldError):
        await patiently(lambda left: attempt(KeyfoldError("no", "No.", status=403), left), 5)
    assert len(tried) == 1


async def test_nobody_waits_longer_than_there_is_patience() -> None:
    async def attempt(_: float) -> None:
        raise KeyfoldError("rate-limited", "Later.", status=429, retry_after=60)

    async with asyncio.timeout(30):
        with pytest.raises(KeyfoldError) as refused:
            await patiently(attempt, 5)
    assert refused.value.retry_after == 60


def test_an_error_says_all_that_the_problem_does() -> None:
    problem = {
        "code": "invalid-request",
        "title": "No",
        "status": 400,
        "detail": "It is wrong.",
        "requestId": "req_1",
        "errors": [{"pointer": "/ttl", "detail": "Whole seconds."}],
    }
    error = of_response(400, json.dumps(problem).encode(), {"retry-after": "3"})
    assert (error.code, error.status, error.request_id, error.retry_after) == ("invalid-request", 400, "req_1", 3)
    assert error.errors == (("/ttl", "Whole seconds."),)
    assert str(error) == "It is wrong. [/ttl] Whole seconds. (invalid-request)"
    assert not error.is_transient
    assert isinstance(of_response(401, b"{}", {}), KeyRefused)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway", b"\xff", b"[]", b'{"code": 5}', b"[" * 5000])
def test_an_error_of_somebody_on_the_way_is_one_too(body: bytes) -> None:
    error = of_response(502, body, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert (error.code, error.status, error.is_transient, error.retry_after) == ("http-502", 502, True, None)


def test_an_answer_over_nats_is_an_error_or_none() -> None:
    said = {
        "error": {"code": 403, "err_code": 10403, "description": "Not there."},
        "code": "topic-not-permitted",
        "requestId": "req_2",
    }
    error = of_answer(json.dumps(said).encode())
    assert error is not None
    assert (error.code, error.status, error.detail, error.request_id) == (
        "topic-not-permitted",
        403,
        "Not there.",
        "req_2",
    )
    assert of_answer(b'{"stream": "EV", "seq": 1, "id": "an \\"error\\""}') is None


def test_an_event_is_sent_as_a_cloudevent() -> None:
    plain = json.loads(encoded({"n": 1}, id="a", type=None, to=["prt_1", "prt_2"], ttl=60, attributes={"subject": "s"}))
    assert plain == {
        "specversion": "1.0",
        "id": "a",
        "subject": "s",
        "to": "prt_1,prt_2",
        "ttl": 60,
        "data": {"n": 1},
    }
    assert json.loads(encoded(b"\xff", id="a", type="t", to=[], ttl=None, attributes={})) == {
        "specversion": "1.0",
        "id": "a",
        "type": "t",
        "datacontenttype": "application/octet-stream",
        "data_base64": "/w==",
    }
    with pytest.raises(TypeError):
        encoded(object(), id="a", type=None, to=[], ttl=None, attributes={})


def test_an_event_is_read_as_it_is_stored() -> None:
    fields = event_fields(
        {"id": "a", "type": "t", "source": "/partners/p", "topic": "a/b", "data_base64": "/w==", "keyid": "key_1"},
        sequence=7,
    )
    event = keyfold_client.Event(**fields)
    assert (event.data, event.key_id, event.sequence, event.time) == (b"\xff", "key_1", 7, None)
    assert repr(event) == "Event(id='a', topic='a/b', sequence=7)"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-03-01T12:00:00Z", NOW),
        ("2026-03-01t14:00:00.000000001+02:00", NOW),
        ("2016-12-31T23:59:60z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("yesterday", None),
        (5, None),
    ],
)
def test_every_time_that_an_event_may_have_is_read(text: Any, read: datetime | None) -> None:
    assert moment(text) == read


def test_server_sent_events_are_read_line_by_line() -> None:
    text = "retry: 1000\n\n: heartbeat\n\nid: 1\nevent: message\ndata: {\ndata:}\n\ndata: x\nevent: end\n\nid\ndata\n\n"
    parser = Parser()
    assert [message for line in text.split("\n") if (message := parser.feed(line))] == [
        Message("1", "message", "{\n}"),
        Message("1", "end", "x"),
        Message("", "message", ""),
    ]


def test_a_replay_starts_at_a_place() -> None:
    assert (place("beginning"), place(5), place(NOW)) == ("beginning", "5", "2026-03-01T12:00:00+00:00")
    for wrong in ("now", 0, NOW.replace(tzinfo=None)):
        with pytest.raises(ValueError, match="time"):
            place(wrong)


@pytest.mark.parametrize(
    ("me", "wait"),
    [
        (Me("k"), LOOK),
        (Me("k", rotation_due_at=NOW + timedelta(days=9)), LOOK),
        (Me("k", rotation_due_at=NOW + timedelta(days=1, minutes=5)), timedelta(minutes=5)),
        (Me("k", rotation_due_at=NOW - timedelta(days=1)), timedelta(0)),
        (Me("k", rotation_due_at=NOW, successor_id="key_2"), None),
    ],
)
def test_a_key_rotates_ahead_of_the_time_when_it_is_due(me: Me, wait: timedelta | None) -> None:
    assert until_due(me, NOW, timedelta(days=1)) == wait


@pytest.mark.parametrize(
    "reply",
    ["$JS.ACK.EV_ws_1_prod.k_1.3.42.7.1700000000000000000.0", "$JS.ACK.keyfold.hash.EV.k.3.42.7.1700.0"],
)
def test_a_delivery_has_its_numbers_at_the_end_of_its_reply_subject(reply: str) -> None:
    this = found(Msg(Client(), subject="ev.a", reply=reply, data=b"{}"))
    assert (this.token, this.sequence, this.deliveries) == (reply, 42, 3)


Answer = Callable[[httpx.Request], httpx.Response]


def http(answer: Answer, keyring: Keyring | None = None) -> Http:
    return Http("https://keyfold.test", keyring or Keyring(SECRET), httpx.MockTransport(answer))


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_verification_is_never_older_than_it_says() -> None:
    clock, asked = Now(), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        clock.seconds += 0.4  # the answer may be as old as the question
        return httpx.Response(200, json={"data": {"valid": True, "code": "valid", "keyId": "key_1"}})

    verifier = Verifier(http(answer), clock)

    async def verify(topic: str | None = None, max_age: float = 1.0) -> keyfold_client.Verification:
        return await verifier.verify("kf_x", action="send", topic=topic, address=None, max_age=max_age)

    assert (await verify()).age == pytest.approx(0.4)
    clock.seconds += 0.5
    assert (await verify()).age == pytest.approx(0.9)
    assert len(asked) == 1
    await verify("a/b")  # another question
    clock.seconds += 0.2
    await verify()
    assert asked == [{"key": "kf_x", "action": "send", **more} for more in ({}, {"topic": "a/b"}, {})]
    await verify(max_age=0)
    assert len(asked) == 4
    assert "kf_x" not in repr(vars(verifier))


async def test_a_verification_doesnt_outlive_the_key() -> None:
    clock, asked = Now(), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"data": {"valid": True, "code": "valid", "remainingSeconds": 0.3}})

    verifier = Verifier(http(answer), clock)
    for step in (0.0, 0.2, 0.2):
        clock.seconds += step
        await verifier.verify("kf_x", action=None, topic=None, address=None, max_age=60)
    assert len(asked) == 2


async def test_without_an_answer_nothing_is_valid() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"code": "unavailable", "detail": "Later."})

    with pytest.raises(KeyfoldError):
        await Verifier(http(answer)).verify("kf_x", action=None, topic=None, address=None, max_age=1)


async def test_a_request_that_a_rotation_overtook_is_made_again_with_the_new_key() -> None:
    keyring, used = Keyring(SECRET), []

    def answer(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["authorization"])
        if len(used) == 1:
            keyring.secret = "kf_new"
            return httpx.Response(401, json={"code": "unauthenticated"})
        return httpx.Response(200, json={"data": 1})

    assert await http(answer, keyring).call("GET", "/", int) == 1
    assert used == [f"Bearer {SECRET}", "Bearer kf_new"]


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"data": "x"}'])
async def test_what_isnt_keyfolds_answer_is_none(body: bytes) -> None:
    with pytest.raises(Unreachable):
        await http(lambda _: httpx.Response(200, content=body)).call("GET", "/", int)


def test_nothing_shows_a_secret() -> None:
    secret = SECRET.rpartition("_")[2]
    shown = [
        repr(Keyring(SECRET)),
        repr(Keyring("nonsense")),
        repr(Rotated("key_1", SECRET, None)),
        repr(keyfold_client.connect_sync("https://keyfold.test", key=SECRET)._client),
    ]
    assert not any(secret in each or "nonsense" in each for each in shown)
    assert "key_01jz8n3v5tf9qa4x2m7c6b0d1e" in shown[0]


@pytest.mark.parametrize("options", [{"key": ""}, {"key": "kf", "patience": 200}])
def test_what_can_only_be_a_mistake_is_said_at_once(options: Any) -> None:
    with pytest.raises(ValueError, match=r"key|patient"):
        keyfold_client.connect("https://keyfold.test", **options)


def test_a_client_is_used_in_its_block() -> None:
    with pytest.raises(RuntimeError, match="with block"):
        keyfold_client.connect_sync("https://keyfold.test", key="kf").rotate()


async def test_topics_belong_to_a_group() -> None:
    async with keyfold_client.connect("https://keyfold.test", key="kf") as app:
        with pytest.raises(ValueError, match="group"):
            app.consume(topics=["a/*"])
        with pytest.raises(ValueError, match="256"):
            app.consume(batch=1000)
        with pytest.raises(ValueError, match="not a topic"):
            await app.publish("a.b c", {})
