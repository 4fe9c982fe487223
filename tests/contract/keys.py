"""What the tests of keys have in common: a partner under a rule, and what can be done with a key of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import httpx

from integration.support import LIMIT
from keyfold.domain.policy import Offer
from keyfold.settings import Settings
from keyfold.web.services import Services

from .tenant import ORIGIN, Clock, Tenant, app_of, bearer, problem

KEYS = "/api/v1/keys"
COOKIE = "__Host-keyfold-portal"
MERGE_PATCH = "application/merge-patch+json"
NOON = datetime.fromisoformat("2031-03-01T12:00:00+00:00")
"""Ahead of the worker, which goes by the real time, so that its schedules find nothing to do."""


class Held(NamedTuple):
    """A key in somebody's hands."""

    id: str
    secret: str
    data: Any

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.secret)


class Partner(NamedTuple):
    """A partner of an integration, with its portal's cookie."""

    id: str
    integration_id: str
    keys: dict[str, Held]
    cookie: str

    @property
    def headers(self) -> dict[str, str]:
        """As its own page sends them."""
        return {"Cookie": f"{COOKIE}={self.cookie}", "Origin": ORIGIN}


def held(answer: httpx.Response) -> Held:
    """The key that an answer shows with its secret."""
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    data = answer.json()["data"]
    return Held(data["id"], data["secret"], data)


async def join(workspace: Tenant, offer: Offer | None = None, **offers: Offer) -> Partner:
    """A partner of the workspace's integration, or of one of its own that offers this, in prod."""
    if offer is not None or offers:
        environments = offers if offer is None else {"prod": offer}
        workspace.integration_id = await workspace.integration(environments=environments)
        workspace.integration_key = await workspace.key_of_integration(workspace.integration_id)
    partner_id, token = await workspace.invite()
    redeemed = await workspace.redeem(token)
    cookie = workspace.api.cookies[COOKIE]
    workspace.api.cookies.clear()
    keys = {key["environment"]: Held(key["id"], key["secret"], key) for key in redeemed.json()["data"]["keys"]}
    return Partner(partner_id, workspace.integration_id, keys, cookie)


async def prod(workspace: Tenant, offer: Offer | None = None) -> Held:
    """A partner's key for prod."""
    return (await join(workspace, offer)).keys["prod"]


async def issue(workspace: Tenant, **wanted: Any) -> httpx.Response:
    return await workspace.post(KEYS, wanted)


async def read(workspace: Tenant, key_id: str) -> Any:
    answer = await workspace.get(f"{KEYS}/{key_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def change(
    workspace: Tenant,
    path: str,
    patch: Any,
    headers: dict[str, str] | None = None,
    match: str | None = None,
    content_type: str = MERGE_PATCH,
) -> httpx.Response:
    """A merge patch of the key with this id, or of what is at this path, made from what it is now unless `match` says
    otherwise."""
    path = path if path.startswith("/") else f"{KEYS}/{path}"
    headers = bearer(workspace.owner_key) if headers is None else headers
    if match is None:
        found = await workspace.get(path)
        assert found.status_code == 200, found.text
        match = found.headers["etag"]
    headers = headers | {"If-Match": match, "Content-Type": content_type}
    return await workspace.api.patch(path, json=patch, headers=headers)


async def changed(workspace: Tenant, path: str, patch: Any) -> Any:
    answer = await change(workspace, path, patch)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def act(workspace: Tenant, what: str, key_id: str, body: Any = None, **headers: str) -> httpx.Response:
    """What can be done with a key, as the owner: `suspend`, `rotate` …"""
    given = {"reason": "because"} if what in ("suspend", "revoke") else {}
    return await workspace.post(f"{KEYS}/{key_id}/{what}", given if body is None else body, **headers)


async def done(workspace: Tenant, what: str, key_id: str) -> Any:
    answer = await act(workspace, what, key_id)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def delegate(workspace: Tenant, key_id: str, **wanted: Any) -> httpx.Response:
    return await act(workspace, "delegate", key_id, wanted)


async def rotated(workspace: Tenant, key_id: str, **overlap: Any) -> Held:
    return held(await act(workspace, "rotate", key_id, overlap))


async def code(workspace: Tenant, secret: str, **asked: str) -> str:
    """What a verification says of the key."""
    return str((await workspace.verdict(secret, **asked))["code"])


async def trail(workspace: Tenant, key_id: str) -> list[Any]:
    """All that has happened to the key, in order."""
    head = await workspace.services.journal.head()
    answer = await workspace.get("/api/v1/audit/events", keyId=key_id, minPosition=head, order="asc", limit=200)
    assert answer.status_code == 200, answer.text
    return [event for event in answer.json()["data"] if event["stream"] == key_id]


async def types(workspace: Tenant, key_id: str) -> list[str]:
    return [event["type"].split(".")[1] for event in await trail(workspace, key_id)]


def excess(answer: httpx.Response) -> list[str]:
    """The pointers of what goes beyond a ceiling."""
    return [each["pointer"] for each in problem(answer, 422, "exceeds-ceiling")["errors"]]


async def eventually(ask: Callable[[], Awaitable[Any]], wanted: Any = True, *, seconds: float = LIMIT) -> None:
    """Asks until the answer is what a process comes to on its own; whoever asks so many seconds later must get it."""
    clock = asyncio.get_running_loop().time
    latest, began = clock() + seconds, clock()
    while (answer := await ask()) != wanted:
        assert began < latest, f"still {answer} after {seconds} s, not {wanted}"
        await asyncio.sleep(0.002)
        began = clock()


async def hears(client: httpx.AsyncClient, workspace: Tenant, secret: str, wanted: str, **asked: str) -> None:
    """That another process says this of the key, once it has heard of what moved."""

    async def said() -> str:
        return str((await told(client, workspace, secret, **asked))["code"])

    await eventually(said, wanted)


async def told(client: httpx.AsyncClient, workspace: Tenant, secret: str, **asked: str) -> Any:
    """What this client's process says of the key."""
    answer = await client.post(f"{KEYS}/verify", json={"key": secret, **asked}, headers=bearer(workspace.owner_key))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@asynccontextmanager
async def coming_from(services: Services, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client at another address, of the same process."""
    transport = httpx.ASGITransport(app_of(services), client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://keyfold.test") as client:
        yield client


@asynccontextmanager
async def deaf(settings: Settings, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another process, that hears nothing and so must ask the truth each time."""
    services = Services(settings, clock=clock)
    await services.open()
    try:
        async with coming_from(services, "192.0.2.8") as client:
            yield client
    finally:
        await services.close()
