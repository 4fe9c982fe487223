"""A whole system for a test: an API and a worker as processes of their own, and a first workspace with its two keys."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from conftest import make_settings, new_database, settings_of_worker
from keyfold.cli.bootstrap import Bootstrap, bootstrap
from keyfold.cli.embedded import Nats, Postgres
from keyfold.cli.embedded.nats import free_port
from keyfold.settings import Secret, Settings

PATIENCE = 30.0
"""Seconds that the processes get on a busy machine until they must be ready."""


class System(NamedTuple):
    """What a newcomer has after `keyfold up`."""

    url: str
    integration_id: str
    integration_key: str
    account_key: str
    gateway_nats: str = ""

    async def invite(self, **body: object) -> str:
        """The address of a new onboarding link."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            headers = {"Authorization": f"Bearer {self.integration_key}"}
            answer = await client.post("/api/v1/external/partner", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["url"])


@asynccontextmanager
async def hosted(server: Postgres, folder: Path) -> AsyncIterator[System]:
    """A system with a database and a NATS of its own, until the block ends."""
    database = await new_database(server)
    nats = Nats(folder / "nats", free_port(), durable=False)
    await nats.start()
    try:
        settings = make_settings(database, nats)
        async with running(settings, settings_of_worker(settings, nats), folder) as system:
            login = f"{nats.gateway.user}:{nats.gateway.password}"
            yield system._replace(gateway_nats=nats.url.replace("//", f"//{login}@"))
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
        yield await _founded(url, await bootstrap(api))
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the variables that they are read from."""
    peppers = ",".join(f"{version}:{_base64(pepper)}" for version, pepper in settings.peppers.items())
    values = msgspec.structs.asdict(settings) | {"peppers": peppers}
    return {f"KEYFOLD_{name.upper()}": str(value) for name, value in values.items()}


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


async def _founded(url: str, founded: Bootstrap) -> System:
    """Returns when lists include what was founded."""
    system = System(url, founded.integration_id, founded.integration_key, founded.account_key)
    headers = {"Authorization": f"Bearer {system.account_key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client, asyncio.timeout(PATIENCE):
        while len((await client.get("/api/v1/keys")).json()["data"]) < 2:
            await asyncio.sleep(0.05)
    return system


def _base64(pepper: Secret) -> str:
    return base64.b64encode(pepper.reveal).decode()
