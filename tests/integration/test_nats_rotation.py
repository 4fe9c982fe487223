"""Changing the keys at NATS, round by round as the handbook says: nothing stops, and the old ones end up as nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from conftest import Database, make_settings
from contract.tenant import Clock, Tenant, make_tenant, running
from keyfold.bus.nkeys import NKey
from keyfold.bus.topology import key_user_jwt, login
from keyfold.bus.trust import Generation, Login
from keyfold.cli.embedded import Nats
from keyfold.settings import Secret, Settings
from keyfold.worker.worker import Worker

from .app import App, works
from .partner import gets_in
from .support import working


class Installation:
    """A NATS, and the processes with it, that are given other generations."""

    def __init__(self, server: Nats, settings: Settings, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._settings = settings
        self._tenant: Tenant | None = None

    def generation(self, number: int) -> Generation:
        return self.server.root.generation(number)

    async def restart_server(self, *generations: int) -> None:
        self.server.generations = [self.generation(number) for number in generations]
        await self.server.stop()
        await self.server.start()

    @asynccontextmanager
    async def processes(self, *generations: int) -> AsyncIterator[Tenant]:
        """An API and a worker, with the files that `keyfold nats config --generations …` writes for them."""
        keys = ",".join(self.generation(number).setting() for number in generations)
        api = msgspec.structs.replace(self._settings, nats_keys=Secret(keys.encode()))
        file = self.file(login(self.generation(generations[0]), "worker"))
        worker = msgspec.structs.replace(
            api, database_url=api.worker_database_url, nats_keys=None, nats_credentials=str(file)
        )
        async with working(Worker(worker)), running(api, Clock()) as (services, client):
            if self._tenant is None:
                self._tenant = await make_tenant(client, services)
            self._tenant.api, self._tenant.services = client, services
            yield self._tenant

    def file(self, login: Login) -> Path:
        path = self.folder / f"{login.key.public}.creds"
        path.write_text(login.file())
        return path

    async def gets_in(self, login: Login) -> bool:
        return await gets_in(self.server.url, user_credentials=str(self.file(login)))


def login_of_key(generation: Generation, key_id: str) -> Login:
    """What an API of this generation gives a client that shows the key: here for a key pair of our own."""
    key = NKey("user", bytes(range(32)))
    return Login(key_user_jwt(generation, key_id, key.public, None), key)


async def test_all_keys_at_nats_are_changed_and_nothing_stops(
    database: Database, nats_server: Nats, tmp_path: Path
) -> None:
    this = Installation(nats_server, make_settings(database, nats_server), tmp_path)
    async with this.processes(1) as tenant:
        _, keys = await tenant.onboard()
        app = App(nats_server.url, keys["prod"])
        await works(tenant, app)
        await this.restart_server(1, 2)
        await works(tenant, app)
    async with this.processes(1, 2) as tenant:
        await works(tenant, app)
        async with this.processes(2, 1):  # amid their restart: each takes what comes from accounts that the other made
            for _ in range(4):
                await works(tenant, app, patient=False)
    async with this.processes(2, 1) as tenant:
        await works(tenant, app)
        assert await this.gets_in(login(this.generation(1), "worker"))
        assert await this.gets_in(login_of_key(this.generation(1), app.key["id"]))
        await this.restart_server(2)
        await works(tenant, app)
    async with this.processes(2) as tenant:
        await works(tenant, app)
        assert await this.gets_in(login(this.generation(2), "worker"))
        assert await this.gets_in(login_of_key(this.generation(2), app.key["id"]))
        for name in ("api", "worker", "gateway", "accounts"):
            assert not await this.gets_in(login(this.generation(1), name)), name
        assert not await this.gets_in(login_of_key(this.generation(1), app.key["id"]))
    await app.close()
