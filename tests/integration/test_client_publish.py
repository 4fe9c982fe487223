"""`keyfold_client` publishes, over either road with the same result."""

import asyncio
import json
import logging
from typing import Any

import pytest
import pytest_asyncio

import keyfold_client
from keyfold_client import KeyfoldError, KeyRefused, Unreachable

from .client_support import House, Partner
from .support import LIMIT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", params=["http", "nats"])
async def partner(request: pytest.FixtureRequest, keyfold: House) -> Partner:
    return await keyfold.partner(request.param)


async def stored(partner: Partner, sequence: int) -> Any:
    tenant = partner.tenant
    message = await tenant.services.bus.jetstream().get_msg(f"EV_{tenant.id}_prod", seq=sequence)
    return json.loads(message.data or b"")


async def count(partner: Partner) -> int:
    tenant = partner.tenant
    return (await tenant.services.bus.jetstream().stream_info(f"EV_{tenant.id}_prod")).state.messages


async def test_an_event_is_stored_with_all_that_was_given(partner: Partner) -> None:
    other, _ = await partner.tenant.onboard()
    async with partner.connect() as app:
        first = await app.publish("app/order/created", {"n": 1})
        second = await app.publish(
            "app/order/created",
            b"\x00\xff",
            id="o-2",
            type="order",
            to=[other],
            ttl=60,
            attributes={"subject": "o_2"},
        )
    assert (first.sequence, first.duplicate, first.stream) == (1, False, f"EV_{partner.tenant.id}_prod")
    assert (second.id, second.sequence) == ("o-2", 2)
    event = await stored(partner, 1)
    assert (event["id"], event["type"], event["data"]) == (first.id, "app.order.created", {"n": 1})
    assert (event["source"], event["keyid"]) == (f"/partners/{partner.id}", partner.key_id)
    event = await stored(partner, 2)
    assert (event["type"], event["subject"], event["data_base64"]) == ("order", "o_2", "AP8=")


async def test_the_same_id_is_stored_once(partner: Partner) -> None:
    async with partner.connect() as app:
        first = await app.publish("app/order/created", 1, id="same")
        again = await app.publish("app/order/created", 1, id="same")
    assert (first.duplicate, again.duplicate, again.sequence) == (False, True, first.sequence)


async def test_what_the_key_may_not_send_is_refused_at_once_and_says_why(partner: Partner) -> None:
    await partner.narrow(options={"send": {"topics": ["app/order/*"]}})
    async with partner.connect() as app:
        with pytest.raises(KeyfoldError) as refused:
            await app.publish("app/invoice/created", {})
        with pytest.raises(KeyfoldError) as invalid:
            await app.publish("app/order/created", {}, ttl=0)
    assert (refused.value.code, refused.value.status) == ("topic-not-permitted", 403)
    assert "app/invoice/created" in str(refused.value)
    assert str(refused.value.request_id).startswith("req_")
    assert (invalid.value.code, invalid.value.errors[0].pointer) == ("invalid-request", "/ttl")


@pytest.mark.parametrize("size", [300_000, 700_000, 3_000_000])
async def test_an_event_that_is_too_large_is_refused_at_once(partner: Partner, size: int) -> None:
    async with partner.connect() as app, asyncio.timeout(LIMIT):
        with pytest.raises(KeyfoldError) as refused:
            await app.publish("app/order/created", "x" * size)
        await app.publish("app/order/created", "x")
    assert refused.value.status == 413


async def until_refused(app: keyfold_client.AsyncClient) -> KeyRefused:
    """What is said once the key is refused, which may take a moment."""
    with pytest.raises(KeyRefused) as refused:  # noqa: PT012
        for n in range(100):
            await app.publish("app/order/created", n)
    return refused.value


async def test_a_revoked_key_ends_it_with_a_clear_error(partner: Partner) -> None:
    async with partner.connect() as app:
        await app.publish("app/order/created", 1)
        await partner.tenant.post(f"/api/v1/keys/{partner.key_id}/revoke", {"reason": "test"})
        refused = await asyncio.wait_for(until_refused(app), LIMIT)
    assert (refused.status, refused.code) == (401, "unauthenticated")


async def test_a_suspended_key_works_again_when_it_is_back(partner: Partner) -> None:
    async with partner.connect() as app:
        await partner.tenant.post(f"/api/v1/keys/{partner.key_id}/suspend", {"reason": "test"})
        with pytest.raises(KeyRefused):
            await app.publish("app/order/created", 1)
        await partner.tenant.post(f"/api/v1/keys/{partner.key_id}/reinstate", {})
        assert (await app.publish("app/order/created", 2)).sequence == 1


@pytest.mark.parametrize("overlap", [0, 3600])
async def test_rotation_under_traffic_loses_nothing(keyfold: House, partner: Partner, overlap: int) -> None:
    """The new secret is with the app before it is used, even if the old key is dead by then."""
    await keyfold.policy(overlapSeconds=overlap)
    kept: list[str] = []

    async def keep(secret: str) -> None:
        await asyncio.sleep(0.2)  # traffic goes on meanwhile
        kept.append(secret)

    rotated = asyncio.Event()
    async with partner.connect(on_rotate=keep) as app:
        publishing = asyncio.create_task(publish_until(rotated, app))
        for _ in range(3):
            await asyncio.sleep(0.1)
            last = await app.rotate()
            assert kept[-1] == last.secret
        rotated.set()
        sent = await publishing
        await app.publish("app/order/created", {})
    assert await count(partner) == sent + 1 > 10
    assert (await stored(partner, sent + 1))["keyid"] == last.key_id
    assert len({*kept}) == 3


async def publish_until(end: asyncio.Event, app: keyfold_client.AsyncClient) -> int:
    sent = 0
    while not end.is_set():
        await app.publish("app/order/created", {"n": sent})
        sent += 1
    return sent


async def test_a_key_that_is_due_rotates_by_itself(keyfold: House, partner: Partner) -> None:
    await keyfold.policy(rotationSeconds=3600)
    partner = await keyfold.partner("nats" if partner.nats_url else "http")
    kept: list[str] = []
    async with partner.connect(on_rotate=kept.append) as app, asyncio.timeout(LIMIT):
        while not kept:
            await app.publish("app/order/created", {})
    assert kept[0].startswith("kf_prod_")


async def test_a_secret_that_could_not_be_stored_is_not_used(partner: Partner) -> None:
    def fail(_: str) -> None:
        raise OSError("no space left on device")

    async with partner.connect(on_rotate=fail) as app:
        with pytest.raises(OSError, match="no space"):
            await app.rotate()
        await app.publish("app/order/created", {})
    assert (await stored(partner, 1))["keyid"] == partner.key_id


async def test_an_api_that_is_away_is_waited_for(keyfold: House, partner: Partner) -> None:
    async with partner.connect() as app:
        await app.publish("app/order/created", 1)
        await keyfold.api.stop()
        publishing = asyncio.create_task(app.publish("app/order/created", 2))
        await asyncio.sleep(0.5)
        await keyfold.api.start()
        assert (await publishing).sequence == 2


async def test_a_nats_that_is_killed_and_wiped_is_waited_for(keyfold: House, partner: Partner) -> None:
    async with partner.connect() as app:
        await app.publish("app/order/created", 1)
        keyfold.nats.kill()
        keyfold.nats.wipe()
        publishing = asyncio.create_task(app.publish("app/order/created", 2, id="second"))
        await asyncio.sleep(0.5)
        await keyfold.nats.start()
        assert (await publishing).id == "second"
        assert (await app.publish("app/order/created", 2, id="second")).duplicate


async def test_who_is_nowhere_to_be_found_is_unreachable(partner: Partner) -> None:
    nowhere = partner._replace(url="http://127.0.0.1:9", nats_url=partner.nats_url and "nats://127.0.0.1:9")
    async with nowhere.connect(patience=0.5) as app:
        with pytest.raises(Unreachable, match="can't be reached"):
            await app.publish("app/order/created", {})


async def test_nothing_shows_the_key(partner: Partner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    async with partner.connect(on_rotate=lambda _: None) as app:
        await app.publish("app/order/created", {})
        rotated = await app.rotate()
        said += [repr(app), repr(rotated), repr(vars(app))]
        await partner.tenant.post(f"/api/v1/keys/{rotated.key_id}/revoke", {"reason": "test"})
        refused = await until_refused(app)
        said += [repr(refused), str(refused), repr(refused.__context__)]
    text = "\n".join([*said, caplog.text])
    for secret in (partner.secret, rotated.secret):
        assert secret.rpartition("_")[2] not in text


async def test_without_await_it_is_the_same(partner: Partner) -> None:
    def publish() -> list[int]:
        with partner.connect_sync() as app:
            with pytest.raises(ValueError, match="not a topic"):
                app.publish("app order", {})
            return [app.publish("app/order/created", {"n": n}).sequence for n in range(3)]

    assert await asyncio.to_thread(publish) == [1, 2, 3]
