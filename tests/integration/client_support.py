"""A partner's app, as `keyfold_client` sees Keyfold: an API on a real port, and NATS."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import uvicorn

import keyfold_client
from conftest import free_port
from contract.tenant import Clock, Tenant, bearer, make_tenant, running
from keyfold.cli.embedded import Nats
from keyfold.settings import Settings
from keyfold.web.app import create_app
from keyfold.web.services import Services

from .support import LIMIT


class Api:
    """Serves over HTTP on a port that stays the same, from start to stop, again and again."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        config = uvicorn.Config(
            create_app(self._services),
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(LIMIT):
            while not self._server.started:
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        assert self._server is not None
        assert self._task is not None
        self._server.should_exit = self._server.force_exit = True
        await self._task


async def patch(tenant: Tenant, path: str, body: Any) -> None:
    """As the owner."""
    answer = await tenant.api.patch(path, json=body, headers=bearer(tenant.owner_key) | {"If-Match": "*"})
    assert answer.status_code == 200, answer.text


class Partner(NamedTuple):
    """Who has a key for `prod`, and may use it over `road`."""

    id: str
    key_id: str
    secret: str
    url: str
    nats_url: str | None
    tenant: Tenant

    def connect(self, **options: Any) -> keyfold_client.AsyncClient:
        return keyfold_client.connect(self.url, key=self.secret, nats_url=self.nats_url, **options)

    def connect_sync(self, **options: Any) -> keyfold_client.Client:
        return keyfold_client.connect_sync(self.url, key=self.secret, nats_url=self.nats_url, **options)

    async def narrow(self, **document: Any) -> None:
        """Changes the document of the key."""
        await patch(self.tenant, f"/api/v1/keys/{self.key_id}", document)


class House(NamedTuple):
    """A running Keyfold with one workspace."""

    api: Api
    nats: Nats
    tenant: Tenant

    async def policy(self, **policy: Any) -> None:
        """Changes the policy of the keys for `prod`."""
        path = f"/api/v1/integrations/{self.tenant.integration_id}"
        await patch(self.tenant, path, {"environments": {"prod": {"policy": policy}}})

    async def partner(self, road: str) -> Partner:
        partner_id, keys = await self.tenant.onboard()
        key = keys["prod"]
        nats_url = self.nats.url if road == "nats" else None
        return Partner(partner_id, key["id"], key["secret"], self.api.url, nats_url, self.tenant)


class Town(NamedTuple):
    """A running Keyfold for all tests of a file, each in a house of its own."""

    api: Api
    nats: Nats
    client: httpx.AsyncClient
    services: Services

    async def house(self) -> House:
        return House(self.api, self.nats, await make_tenant(self.client, self.services))


@asynccontextmanager
async def built(settings: Settings, nats: Nats) -> AsyncIterator[Town]:
    async with running(settings, Clock()) as (services, client):
        api = Api(services)
        await api.start()
        try:
            yield Town(api, nats, client, services)
        finally:
            await api.stop()
            gc.collect()  # a connection that nats-py dropped in the middle of connecting is closed by its collection
            await asyncio.sleep(0.01)
