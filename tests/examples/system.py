"""A whole system for a test: an API and a worker as processes of their own, and a first workspace with its two keys."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from conftest import environment, free_port, make_settings, new_database, settings_of_worker
from keyfold.cli.bootstrap import Bootstrap, bootstrap
from keyfold.cli.embedded import Nats, Postgres
from keyfold.settings import Settings

PATIENCE = 30.0
"""Seconds that the processes get on a busy machine until they must be ready."""


class System(NamedTuple):
    """What a newcomer has after `keyfold up`."""

    settings: Settings
    url: str
    integration_id: str
    integration_key: str
    account_key: str
    nats_url: str = ""
    gateway_credentials: str = ""

    async def invite(self, **body: object) -> str:
        """The address of a new onboarding link."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            headers = {"Authorization": f"Bearer {self.integration_key}"}
            answer = await client.post("/api/v1/external/partner", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["url"])

    async def anew(self) -> "System":
        """The same with another workspace, in which nothing has happened yet."""
        return await _founded(self, await bootstrap(self.settings))


@asynccontextmanager
async def hosted(server: Postgres, folder: Path) -> AsyncIterator[System]:
    """A system with a database and a NATS of its own, until the block ends."""
    database = await new_database(server)
    nats = Nats(folder / "nats", free_port(), durable=False)
    await nats.start()
    try:
        settings = make_settings(database, nats)
        async with running(settings, settings_of_worker(settings, nats), folder) as system:
            yield system._replace(nats_url=nats.url, gateway_credentials=str(nats.credentials("gateway")))
    finally:
        await nats.stop()


@asynccontextmanager
async def running(settings: Settings, worker_settings: Settings, folder: Path) -> AsyncIterator[System]:
    """Both processes, ready, until the block ends. Their logs are in `folder`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    api = msgspec.structs.replace(settings, port=port, public_url=url)
    worker = msgspec.structs.replace(worker_settings, port=free_port())
    processes = [await _start(name, its, folder) for name, its in (("api", api), ("worker", worker))]
    try:
        await _ready(url, processes)
        yield await System(api, url, "", "", "").anew()
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _start(command: str, settings: Settings, folder: Path) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOLD_")}
    with (folder / f"{command}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "keyfold", command), stderr=log, env=inherited | environment(settings)
        )


async def _ready(url: str, processes: list[asyncio.subprocess.Process]) -> None:
    said = "nothing"
    async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE):
        while said != "200":
            assert all(process.returncode is None for process in processes), "a process ended at once"
            try:
                answer = await client.get(f"{url}/health/ready")
                said = str(answer.status_code)
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def _founded(system: System, founded: Bootstrap) -> System:
    """Returns when lists include what was founded."""
    headers = {"Authorization": f"Bearer {founded.account_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers) as client, asyncio.timeout(PATIENCE):
        while len((await client.get("/api/v1/keys")).json()["data"]) < 2:
            await asyncio.sleep(0.05)
    return system._replace(
        integration_id=founded.integration_id,
        integration_key=founded.integration_key,
        account_key=founded.account_key,
    )
