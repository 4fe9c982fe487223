"""A workspace with what a test needs of it, and the few requests that most tests begin with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from keyfold.app.access import Caller
from keyfold.app.keys import NewKey
from keyfold.app.work import Cause
from keyfold.domain.integration import Terms
from keyfold.domain.record import Actor
from keyfold.settings import Settings
from keyfold.web import services as web_services
from keyfold.web.app import create_app
from keyfold.web.services import Services
from keyfold.worker.worker import Worker

PARTNER = "/api/v1/external/partner"
ORIGIN = "https://keyfold.test"
"""Of our own pages, as the tests reach them."""
web_services.FLUSH_TALLIES = 3600.0  # what is counted is written down when a test says so


class Clock:
    """Real time, until a test sets it."""

    def __init__(self) -> None:
        self._moment: datetime | None = None

    def __call__(self) -> datetime:
        return self._moment or datetime.now(UTC)

    def set(self, moment: datetime | str) -> None:
        self._moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment

    def run(self) -> None:
        self._moment = None

    def advance(self, by: timedelta) -> None:
        self.set(self() + by)


class Tenant:
    """One workspace with an integration, an owner's key and an integration key, and the API that it talks to."""

    def __init__(self, api: httpx.AsyncClient, services: Services, caller: Caller) -> None:
        self.api = api
        self.services = services
        self.caller = caller
        self.id = caller.workspace_id
        self.integration_id = ""
        self.owner_key = ""
        self.integration_key = ""

    async def key(self, role: str, **wanted: Any) -> str:
        """A fresh account key with a role."""
        made = await self.services.keys.issue(self.caller, NewKey(kind="account", name=role, role=role, **wanted))
        return made.view.secret

    async def integration(self, **wanted: Any) -> str:
        made = await self.services.integrations.create(self.caller, Terms(name="Shop", **wanted))
        return made.view.id

    async def key_of_integration(self, integration_id: str) -> str:
        wanted = NewKey(kind="integration", name="inviter", integration_id=integration_id)
        return (await self.services.keys.issue(self.caller, wanted)).view.secret

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """As the owner."""
        return await self.api.get(path, params=params, headers=bearer(self.owner_key))

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """As the owner. `Idempotency_Key="…"` is the header of that name."""
        return await self.api.post(path, json=body, headers=bearer(self.owner_key) | named(headers))

    async def delete(self, path: str, **params: Any) -> httpx.Response:
        return await self.api.delete(path, params=params, headers=bearer(self.owner_key))

    async def ask_to_invite(self, body: Any = None, **headers: str) -> httpx.Response:
        body = {"appName": "Orders"} if body is None else body
        return await self.api.post(PARTNER, json=body, headers=bearer(self.integration_key) | named(headers))

    async def invite(self, body: Any = None) -> tuple[str, str]:
        """A new partner's id and the token of its link."""
        answer = await self.ask_to_invite(body)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["id"], token_of(answer)

    async def redeem(self, token: str, **headers: str) -> httpx.Response:
        return await self.api.post("/api/v1/onboarding/redeem", json={"token": token}, headers=named(headers))

    async def onboard(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """A new partner's id, and its keys by environment, each with its secret."""
        partner_id, token = await self.invite()
        answer = await self.redeem(token)
        assert answer.status_code == 201, answer.text
        return partner_id, {key["environment"]: key for key in answer.json()["data"]["keys"]}

    async def verdict(self, secret: str, **asked: str) -> Any:
        answer = await self.post("/api/v1/keys/verify", {"key": secret, **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


_APPS: WeakKeyDictionary[Services, Any] = WeakKeyDictionary()


def app_of(services: Services) -> Any:
    """The application that serves them: to make one takes so long that streams of the same loop would be cut off."""
    if services not in _APPS:
        _APPS[services] = create_app(services)
    return _APPS[services]


@asynccontextmanager
async def running(settings: Settings, clock: Clock) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    """The API of one process, and a client of it."""
    services = Services(settings, clock=clock)
    await services.open()
    async with asyncio.timeout(10):
        while not services.bus.is_connected:
            await asyncio.sleep(0.002)
    background = asyncio.create_task(services.run())
    async with asyncio.timeout(10):
        while not services.gateway.is_connected:
            await asyncio.sleep(0.002)
    await asyncio.gather(services.gateway.auth.client.flush(), services.gateway.system.client.flush())
    transport = httpx.ASGITransport(app_of(services), client=("192.0.2.7", 4711))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield services, client
    finally:
        background.cancel()
        (ended,) = await asyncio.gather(background, return_exceptions=True)
        await services.close()
        assert isinstance(ended, asyncio.CancelledError), ended


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """A running worker: relay and projections. Its schedules would append, by their own clock, amid what tests do."""
    worker = Worker(settings)
    worker.loops = [loop for loop in worker.loops if loop.name != "schedules"]
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        while not all(loop.status == "running" for loop in worker.loops):
            await asyncio.sleep(0.002)
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def make_tenant(api: httpx.AsyncClient, services: Services, name: str = "Acme") -> Tenant:
    cause = Cause(Actor(kind="operator", id="test"), "req_test")
    founded = (await services.workspaces.found(cause, name, Terms(name="Shop"))).view
    tenant = Tenant(api, services, Caller(cause, founded.workspace_id, is_owner=True))
    tenant.integration_id = founded.integration.id
    tenant.owner_key, tenant.integration_key = founded.account_key.secret, founded.integration_key.secret
    return tenant


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def token_of(invitation: httpx.Response) -> str:
    return str(invitation.json()["data"]["url"]).partition("#")[2]


def position_of(answer: httpx.Response) -> int:
    return int(answer.headers["Keyfold-Position"])


def problem(answer: httpx.Response, status: int, code: str) -> Any:
    """What the answer says is wrong, once it is certain that it says so in the way that all errors do."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    said = answer.json()
    assert {*said} - {"errors"} == {"type", "title", "status", "detail", "code", "requestId"}
    assert (said["status"], said["code"], said["type"]) == (status, code, f"/docs/errors#{code}")
    assert said["requestId"] == answer.headers["x-request-id"]
    assert said["title"]
    assert said["detail"]
    return said


def pointers(answer: httpx.Response) -> list[str]:
    return [each["pointer"] for each in problem(answer, 400, "invalid-request").get("errors", [])]
