"""What the tests of consuming have in common: a partner that receives, events for it, and what it does with them."""

from typing import Any

import httpx

from keyfold.domain.policy import Offer
from keyfold.domain.rule import Options, Receive, Send

from .keys import Held, Partner, join
from .tenant import Tenant

CONSUMERS = "/api/v1/consumers"
ALL = Offer(("send", "receive"))


def receiving(**receive: Any) -> Offer:
    """An offer to send anything and to receive this."""
    return Offer(("send", "receive"), Options(send=Send(), receive=Receive(**receive)))


async def joined(workspace: Tenant, offer: Offer = ALL) -> Partner:
    """A partner with a key in each environment, under the same offer."""
    return await join(workspace, prod=offer, stage=offer, dev=offer)


async def publish(
    workspace: Tenant, key: Held, *events: Any, topic: str = "app/order/created", to: str = ""
) -> list[int]:
    """The sequences of the events, each of which has this as its data."""
    sequences = []
    for data in events:
        body = {"specversion": "1.0", "type": "test", "data": data} | ({"to": to} if to else {})
        headers = key.headers | {"Content-Type": "application/cloudevents+json"}
        answer = await workspace.api.post("/api/v1/events", params={"topic": topic}, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        sequences.append(answer.json()["data"]["sequence"])
    return sequences


async def call(workspace: Tenant, key: Held, path: str, body: Any = None, method: str = "POST") -> httpx.Response:
    """A request with the key, below the path of consumers."""
    return await workspace.api.request(method, f"{CONSUMERS}{path}", json=body, headers=key.headers)


async def data(workspace: Tenant, key: Held, path: str, body: Any = None, method: str = "POST") -> Any:
    answer = await call(workspace, key, path, body, method)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["data"]


async def pull(workspace: Tenant, key: Held, name: str = "own", *, batch: int = 100, wait: int = 0) -> Any:
    return await data(workspace, key, f"/{name}/pull", {"batch": batch, "waitSeconds": wait})


async def pulled(workspace: Tenant, key: Held, name: str = "own", **how: int) -> list[Any]:
    """The data of the events that there are, which are acknowledged."""
    events = await pull(workspace, key, name, **how)
    if events:
        assert await say(workspace, key, "ack", events, name) == ["done"] * len(events)
    return [each["event"]["data"] for each in events]


async def say(workspace: Tenant, key: Held, what: str, events: list[Any], name: str = "own", **more: Any) -> list[str]:
    """What came of it for each event."""
    tokens = [each["token"] for each in events]
    answers = await data(workspace, key, f"/{name}/{what}", {"tokens": tokens, **more})
    assert [each["token"] for each in answers] == tokens
    return [each["status"] for each in answers]


async def consumers(workspace: Tenant, key: Held) -> dict[str, Any]:
    return {each["name"]: each for each in await data(workspace, key, "", method="GET")}
