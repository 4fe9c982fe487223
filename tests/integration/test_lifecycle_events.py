"""Lifecycle events at JetStream: CloudEvents for a workspace's own people, and for nobody else."""

import json
from datetime import UTC, datetime

import pytest
from nats.aio.msg import Msg

from keyfold.app.keys import NewKey
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle_consumers import ensure_lifecycle_consumer
from keyfold.bus.subjects import LIFECYCLE
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import Conditions
from keyfold.worker.worker import Worker

from .stream import relayed
from .support import LIMIT, Life, rows


async def key_of(life: Life, wanted: NewKey) -> Key:
    issued = await life.services.keys.issue(life.manager, wanted)
    state = (await life.services.journal.load(KEY, issued.view.id)).state
    assert state is not None
    return state


async def taken(bus: Bus, name: str, count: int) -> list[Msg]:
    """All that the consumer has, which is so many."""
    info = await bus.jetstream().consumer_info(LIFECYCLE, name)
    assert info.num_pending == count
    subscription = await bus.jetstream().pull_subscribe_bind(name, LIFECYCLE)
    messages: list[Msg] = []
    while len(messages) < count:
        messages += await subscription.fetch(min(100, count - len(messages)), timeout=LIMIT)
    for message in messages:
        await message.ack_sync()
    await subscription.unsubscribe()
    return messages


async def test_every_message_is_a_cloud_event_in_binary_mode(life: Life, worker: Worker, bus: Bus) -> None:
    await life.onboard()
    last = await relayed(bus, life.services.settings.database_url)
    for sequence in range(1, last + 1):
        message = await bus.jetstream().get_msg(LIFECYCLE, seq=sequence)
        record = json.loads(message.data or b"")
        attributes = {k: v for k, v in (message.headers or {}).items() if k.startswith("ce-")}
        assert attributes == {
            "ce-specversion": "1.0",
            "ce-id": record["id"],
            "ce-type": f"keyfold.{record['type']}",
            "ce-source": f"/workspaces/{record['data']['workspaceId']}",
            "ce-subject": record["stream"],
            "ce-time": record["time"],
            "ce-datacontenttype": "application/json",
        }
        assert datetime.fromisoformat(attributes["ce-time"]) <= datetime.now(UTC)


async def test_an_account_key_has_a_consumer_of_its_workspace_and_of_no_other(
    life: Life, worker: Worker, bus: Bus
) -> None:
    key = await key_of(life, NewKey(kind="account", name="x", role="auditor"))
    stranger = await Life(life.services).begin()
    await stranger.onboard()
    await life.onboard()
    url = life.services.settings.database_url
    await relayed(bus, url)
    name = await ensure_lifecycle_consumer(bus, key)
    assert name == key.id.replace("key_", "k_")
    mine = "SELECT record::text FROM keyfold.log WHERE record->'data'->>'workspaceId' = $1 ORDER BY position"
    records = [text.encode() for (text,) in await rows(url, mine, key.workspace_id)]
    assert [message.data for message in await taken(bus, name, len(records))] == records
    await life.onboard()
    await relayed(bus, url)
    assert await ensure_lifecycle_consumer(bus, key) == name
    more = [text.encode() for (text,) in await rows(url, mine, key.workspace_id)][len(records) :]
    assert [message.data for message in await taken(bus, name, len(more))] == more


async def test_a_narrowed_key_and_one_that_is_no_account_key_have_none(life: Life, worker: Worker, bus: Bus) -> None:
    narrowed = NewKey(kind="account", name="x", role="auditor", conditions=Conditions(environments=("dev",)))
    inviter = NewKey(kind="integration", name="x", integration_id=life.inviter.integration_id)
    await relayed(bus, life.services.settings.database_url)
    for wanted in (narrowed, inviter):
        with pytest.raises(ValueError, match="not narrowed"):
            await ensure_lifecycle_consumer(bus, await key_of(life, wanted))
