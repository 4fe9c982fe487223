"""What the consumers of the streams of app events say of themselves, and whose they are."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import nats.errors

from keyfold.app.event_usage import ConsumerSample
from keyfold.bus.connection import Bus

_STREAMS = "EV_"
_OWN = "k_"
"""What the name of a key's own durable begins with; the rest is that of the id of the first key of its line."""
_GROUP = "g_"
_KEY = "key"
"""The metadata of a durable that says which key it was made for."""


async def sampled(bus: Bus) -> AsyncIterator[list[ConsumerSample]]:
    """Every consumer that is a key's, in pages. Raises `nats.errors.Error`."""
    async for streams in _pages(bus, "STREAM.NAMES", "streams", {"subject": "ev.>"}):
        for stream in streams:
            if stream.startswith(_STREAMS):
                async for consumers in _pages(bus, f"CONSUMER.LIST.{stream}", "consumers", {}):
                    yield [sample for each in consumers if (sample := _sample(each)) is not None]


async def _pages(bus: Bus, what: str, field: str, asked: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
    seen = 0
    while True:
        request = json.dumps({**asked, "offset": seen}).encode()
        answer = await bus.client.request(f"$JS.API.{what}", request, timeout=5)
        page = json.loads(answer.data)
        if "error" in page:  # such as that the stream was deleted just now
            if page["error"].get("code") == 404:
                return
            raise nats.errors.Error(page["error"].get("description", "JetStream refused"))
        found = page.get(field) or []
        yield found
        seen += len(found)
        if not found or seen >= page["total"]:
            return


def _sample(info: Mapping[str, Any]) -> ConsumerSample | None:
    name = info["name"]
    key_id = (info["config"].get("metadata") or {}).get(_KEY) or (
        f"key_{name.removeprefix(_OWN)}" if name.startswith(_OWN) else None
    )
    if key_id is None or not name.startswith((_OWN, _GROUP)):
        return None
    delivered = info["delivered"]["consumer_seq"]
    settled = max(0, delivered - info["num_ack_pending"])
    return ConsumerSample(key_id, info["stream_name"], name, info["created"], delivered, settled)
