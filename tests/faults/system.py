"""`keyfold api` and `keyfold worker` as processes, each with its log, to be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import msgspec

from conftest import Database, free_port, make_settings, settings_of_worker
from conftest import environment as environment_of
from integration.support import (
    CAUSE,
    assert_gapless,
    assert_projections_equal_a_rebuild,
    projected,
    wait_until,
)
from keyfold.app.workspaces import FoundedView
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Server
from keyfold.domain.integration import Terms
from keyfold.settings import Settings
from keyfold.store.migrate import migrate
from keyfold.web.services import Services


def environment(settings: Settings, port: int) -> dict[str, str]:
    """The settings as the variables of a process that says all it has to say."""
    return environment_of(msgspec.structs.replace(settings, port=port, log_level="debug"))


class Process:
    """`python -m keyfold WHAT`, on a port that stays the same; `within` is a command that runs others."""

    def __init__(self, what: str, settings: Settings, folder: Path, *, within: Sequence[str] = ()) -> None:
        self.what = what
        self.port = free_port()
        self.url = f"http://{settings.host}:{self.port}"
        self._within = within
        self.log = folder / f"{what}-{self.port}.log"
        self._settings = settings
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOLD_")}
        self._environment = inherited | environment(settings, self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: BinaryIO | None = None

    def twin(self) -> "Process":
        """Another of its kind, not started."""
        return Process(self.what, self._settings, self.log.parent)

    def start(self) -> None:
        self._output = self._output or self.log.open("ab")
        self._process = subprocess.Popen(
            [*self._within, sys.executable, "-W", "error", "-m", "keyfold", self.what],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float = 10) -> int:
        """Its exit status, once it has ended by itself."""
        await wait_until(lambda: not self.runs, seconds)
        return self.process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP: it is there, and does nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def answers(self, path: str = "/health/live") -> int | None:
        """The status that it answers with, None when it doesn't."""
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
                return (await client.get(path)).status_code
        return None

    async def is_live(self) -> bool:
        assert self.runs, self.log.read_text()[-4_000:]
        return await self.answers() == 200

    def close(self) -> None:
        if self.runs:
            self.kill()
        if self._output is not None:
            self._output.close()


class System:
    """An API, a worker, and a workspace to work in."""

    def __init__(
        self, api: Process, worker: Process, nats: Nats, database: Database, settings: Settings, founded: FoundedView
    ) -> None:
        self.api = api
        self.worker = worker
        self.nats = nats
        self.database = database
        self.settings = settings
        self.founded = founded
        self.owner = {"Authorization": f"Bearer {founded.account_key.secret}"}
        self.inviter = {"Authorization": f"Bearer {founded.integration_key.secret}"}

    @property
    def processes(self) -> list[Process]:
        return [self.api, self.worker]

    def client(self, timeout: float = 10) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.api.url, timeout=timeout)

    async def ready(self, seconds: float = 20) -> None:
        """Waits until the API says that everything is well."""

        async def said() -> bool:
            assert all(each.runs for each in self.processes), "a process has ended"
            return await self.api.answers("/health/ready") == 200

        await wait_until(said, seconds, every=0.05)

    async def assert_sound(self, seconds: float = 20) -> None:
        """No gap in the log, and projections that catch up by themselves to what a rebuild would give."""
        await assert_gapless(self.database.admin_url)
        await projected(self.database.admin_url, seconds=seconds)
        await assert_projections_equal_a_rebuild(self.database.worker_url)


@asynccontextmanager
async def running_system(
    settings: Settings, of_worker: Settings, nats: Nats, database: Database, folder: Path
) -> AsyncIterator[System]:
    services = Services(settings)
    await services.postgres.open()
    founded = (await services.workspaces.found(CAUSE, "Acme", Terms(name="Shop"))).view
    await services.close()
    api, worker = Process("api", settings, folder), Process("worker", of_worker, folder)
    try:
        for each in (api, worker):
            each.start()
        system = System(api, worker, nats, database, settings, founded)
        await system.ready(60)
        yield system
    finally:
        for each in (api, worker):
            each.close()


@asynccontextmanager
async def system_on(server: Server, nats: Nats, folder: Path) -> AsyncIterator[System]:
    """On a Postgres of its own, which is started here; it signs every second."""
    await server.start()
    try:
        database = Database(server, "postgres")
        await migrate(database.admin_url, {})
        settings = make_settings(database, nats)
        of_worker = msgspec.structs.replace(settings_of_worker(settings, nats), checkpoint_seconds=1)
        async with running_system(settings, of_worker, nats, database, folder) as this:
            yield this
    finally:
        await server.stop()


@asynccontextmanager
async def another_api(system: System, **changes: Any) -> AsyncIterator[Process]:
    """A second API process of the system, ready, with settings of its own where that is said."""
    process = Process("api", msgspec.structs.replace(system.settings, **changes), system.api.log.parent)
    async with started(process):
        yield process


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[None]:
    """Ready, and closed at the end."""

    async def ready() -> bool:
        return await process.answers("/health/ready") == 200

    try:
        process.start()
        await wait_until(ready, 60)
        yield
    finally:
        process.close()


async def onboard(system: System, client: httpx.AsyncClient) -> dict[str, Any]:
    """What a redemption answers, of a new partner."""
    invited = await client.post("/api/v1/external/partner", json={}, headers=system.inviter)
    assert invited.status_code == 201, invited.text
    token = invited.json()["data"]["url"].partition("#")[2]
    redeemed = await client.post("/api/v1/onboarding/redeem", json={"token": token})
    assert redeemed.status_code == 201, redeemed.text
    return {**redeemed.json()["data"], "token": token, "cookies": [*redeemed.cookies.values()]}
