"""The whole system on one machine: Postgres, NATS, one API, one worker, in a data folder."""

import asyncio
import base64
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from keyfold.cli.embedded.binaries import EmbeddedError
from keyfold.cli.embedded.child import Child
from keyfold.cli.embedded.folder import Folder
from keyfold.cli.embedded.nats import Nats, free_port
from keyfold.cli.embedded.postgres import Postgres
from keyfold.cli.embedded.supervisor import Supervisor

_HOST = "127.0.0.1"
_DATABASE = "keyfold"
_HANDED_ON = ("KEYFOLD_LOG_LEVEL", "KEYFOLD_LOG_FORMAT")
PATIENCE = 60.0
"""Seconds until everything must be ready."""


@dataclass(frozen=True)
class Ports:
    api: int
    worker: int
    nats: int


class LocalSystem:
    """Started step by step by `keyfold up`; `stop` undoes whatever was started, in the right order."""

    def __init__(self, folder: Folder, ports: Ports, say: Callable[[str], None]) -> None:
        secrets = folder.secrets()
        self.folder = folder
        self.ports = ports
        self.url = f"http://{_HOST}:{ports.api}"
        self.postgres = Postgres(folder.path / "postgres", log=folder.logs / "postgres.log", say=say)
        root = base64.b64decode(secrets["natsRoot"])
        self.nats = Nats(folder.path / "nats", ports.nats, root=root, log=folder.logs / "nats.log", say=say)
        self.api = Child("API", log=folder.logs / "api.log", note=folder.path / "api.pid", say=say)
        self.worker = Child("worker", log=folder.logs / "worker.log", note=folder.path / "worker.pid", say=say)
        self._pepper = secrets["pepper"]
        self._log_key = secrets["logKey"]
        self._say = say

    async def start_servers(self) -> None:
        """Postgres with the schema, and NATS, at the same time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.nats.start())
            group.create_task(self._start_database())
            group.create_task(asyncio.to_thread(import_module, "keyfold.store.migrate"))  # heavy, while they start

    async def start_processes(self) -> None:
        """The API and the worker; they take a moment."""
        await self._start_api()
        await self._start_worker()

    async def ready(self) -> None:
        """Returns once `/health/ready` says 200. Raises `EmbeddedError` saying what isn't."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, body = await asyncio.to_thread(_get, self.ports.api, "/health/ready")
            if status == 200:
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(f"Keyfold isn't ready after {PATIENCE:.0f} s. {_unready(body)}")
            await asyncio.sleep(0.03)

    async def supervise(self) -> None:
        """Restarts whatever dies; ends only by an `EmbeddedError`."""
        postgres, say = self.postgres, self._say
        parts = [
            Supervisor(postgres.child, postgres.start, say=say, is_stuck=postgres.is_stuck),
            Supervisor(self.nats.child, self.nats.start, say=say),
            Supervisor(self.api, self._start_api, say=say),
            Supervisor(self.worker, self._start_worker, say=say),
        ]
        async with asyncio.TaskGroup() as group:
            for each in parts:
                group.create_task(each.run())

    async def stop(self) -> None:
        """Clients before servers: the API and the worker finish what they do, then NATS, then Postgres."""
        await asyncio.gather(self.api.stop(8), self.worker.stop(8))
        await self.nats.stop()
        await self.postgres.stop()

    def environment(self, login: str) -> dict[str, str]:
        """The variables of the API (login `api`) or the worker (`worker`)."""
        return {
            "KEYFOLD_DATABASE_URL": self.postgres.url(f"keyfold_{login}", _DATABASE),
            "KEYFOLD_WORKER_DATABASE_URL": self.postgres.url("keyfold_worker", _DATABASE),
            "KEYFOLD_PEPPERS": f"1:{self._pepper}",
            "KEYFOLD_NATS_URL": self.nats.url,
            **self._own(login),
            "KEYFOLD_PUBLIC_URL": self.url,
            "KEYFOLD_PUBLIC_NATS_URL": self.nats.url,
            "KEYFOLD_HOST": _HOST,
            "KEYFOLD_PORT": str(self.ports.api if login == "api" else self.ports.worker),
            **{name: os.environ[name] for name in _HANDED_ON if name in os.environ},
        }

    def _own(self, login: str) -> dict[str, str]:
        if login == "api":
            return {"KEYFOLD_NATS_KEYS": self.nats.keys}
        return {"KEYFOLD_NATS_CREDENTIALS": str(self.nats.credentials(login)), "KEYFOLD_LOG_KEYS": self._log_key}

    async def _start_database(self) -> None:
        await self.postgres.start()
        import asyncpg  # noqa: PLC0415

        from keyfold.store.migrate import SchemaError, migrate  # noqa: PLC0415

        try:
            connection = await asyncpg.connect(self.postgres.url("postgres", "postgres"))
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
                    await connection.execute(f"CREATE DATABASE {_DATABASE}")
            finally:
                await connection.close()
            await migrate(self.postgres.url("postgres", _DATABASE), {})
        except (SchemaError, asyncpg.PostgresError, OSError) as error:
            raise EmbeddedError(f"The database could not be prepared: {error}") from error

    async def _start_api(self) -> None:
        self._spawn(self.api, "api")

    async def _start_worker(self) -> None:
        self._spawn(self.worker, "worker")

    def _spawn(self, child: Child, command: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOLD_")}
        child.spawn(
            [sys.executable, "-P", "-m", "keyfold", command],  # -P: no module of the current folder gets in between
            environment=inherited | self.environment(command),
        )


async def stop_orphans(folder: Folder, say: Callable[[str], None]) -> None:
    """Ends what an earlier `keyfold up`, killed, left, and so frees its ports; the clients first."""
    for name in ("API", "worker", "NATS", "Postgres"):
        number = signal.SIGINT if name == "Postgres" else signal.SIGTERM
        log, note = folder.logs / f"{name.lower()}.log", folder.path / f"{name.lower()}.pid"
        await Child(name, log=log, note=note, stop_signal=number, say=say).stop_orphan()


def choose_ports(folder: Folder, wanted: int | None, say: Callable[[str], None]) -> Ports:
    """The wanted ports, or those of the last time, or the usual ones; a busy one is stepped around and named."""
    last = folder.read("state.json").get("ports", {})
    taken: set[int] = set()

    def choose(name: str, first: int) -> int:
        port = free_port(first)
        while port in taken:
            port = free_port(port + 1 if first else 0)
        taken.add(port)
        if first not in {0, port}:
            say(f"port {first} is busy, so the {name} has {port}")
        return port

    api = choose("API", last.get("api", 8080) if wanted is None else wanted)
    nats = choose("NATS server", last.get("nats", 4222))
    ports = Ports(api=api, worker=choose("worker", 0), nats=nats)
    folder.write("state.json", {"ports": {"api": ports.api, "nats": ports.nats}})
    return ports


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_HOST, port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _unready(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        return "; ".join(f"{name}: {check.get('detail', '')}" for name, check in checks.items() if not check["ok"])
    except (ValueError, KeyError, TypeError):
        return "The API doesn't answer."
