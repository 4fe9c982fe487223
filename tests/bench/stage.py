"""The servers of one run, in a folder of their own: gone when it ends, however it ends."""

import asyncio
import base64
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from keyfold.cli.embedded import Child, Nats, Postgres, tail
from keyfold.cli.embedded.nats import free_port
from keyfold.settings import Secret, Settings
from keyfold.store.migrate import migrate

from .measure import Side, interleaved

_ROOT = Path(__file__).parents[2]


class BenchError(Exception):
    """A row can't be measured; the message says why."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: `rounds` of `seconds` each for what has sides, after `uncounted` ones; `profile` adds
    profiles on stderr."""

    rounds: int
    uncounted: int
    seconds: int
    quick: bool
    profile: bool
    only: frozenset[str]

    def wants(self, *rows: str) -> bool:
        return not self.only or bool(self.only.intersection(rows))


class Stage:
    """A durable Postgres and a durable NATS, whatever children are asked for, and databases with the schema."""

    def __init__(self, folder: Path, stack: AsyncExitStack, options: Options) -> None:
        self.folder = folder
        self.options = options
        self.postgres = Postgres(folder / "postgres")
        self.nats = self._nats()
        self._stack = stack
        self._pepper = secrets.token_bytes(32)

    async def start(self) -> None:
        for server in (self.postgres, self.nats):
            self._stack.push_async_callback(server.stop)  # before the start: that can be interrupted too
            await server.start()

    async def renew_nats(self) -> None:
        """Another NATS from now on, for another log: a worker refuses a stream that isn't its own log's."""
        await self.nats.stop()
        self.nats = self._nats()
        self._stack.push_async_callback(self.nats.stop)
        await self.nats.start()

    def _nats(self) -> Nats:
        port = free_port()
        return Nats(self.folder / f"nats-{port}", port)

    async def database(self, name: str, *, empty: bool = False) -> str:
        """Makes a database, with Keyfold's schema unless it is to be empty; gives its name."""
        connection = await asyncpg.connect(self.postgres.url("postgres", "postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        if not empty:
            await migrate(self.postgres.url("postgres", name), {})
        return name

    def settings(self, database: str, *, role: str = "api") -> Settings:
        """As an `api` or a `worker` process has them on that database."""
        return Settings(
            database_url=self.postgres.url(f"keyfold_{role}", database),
            peppers={1: Secret(self._pepper)},
            nats_url=self.nats.url,
            nats_keys=Secret(self.nats.keys.encode()) if role == "api" else None,
            nats_credentials="" if role == "api" else str(self.nats.credentials(role)),
            port=free_port(),
        )

    def environment(self, settings: Settings) -> dict[str, str]:
        """The same settings as a process reads them."""
        return os.environ | {
            "KEYFOLD_DATABASE_URL": settings.database_url,
            "KEYFOLD_PEPPERS": f"1:{base64.b64encode(self._pepper).decode()}",
            "KEYFOLD_NATS_URL": settings.nats_url,
            **({"KEYFOLD_NATS_KEYS": settings.nats_keys.reveal.decode()} if settings.nats_keys else {}),
            "KEYFOLD_NATS_CREDENTIALS": settings.nats_credentials,
            "KEYFOLD_PORT": str(settings.port),
        }

    def child(self, name: str) -> Child:
        """A child that is stopped with the stage, if not before."""
        child = Child(name, log=self.folder / f"{name}.log", note=self.folder / f"{name}.pid", stop_signal=_STOP)
        self._stack.push_async_callback(child.stop)
        return child

    def pid(self, name: str) -> int:
        """Of a child that has been started."""
        return int(msgspec.json.decode((self.folder / f"{name}.pid").read_bytes())["pid"])

    async def interleaved(self, sides: Mapping[str, Side]) -> dict[str, list[float]]:
        """The figures of as many rounds as this run has."""
        return await interleaved(sides, self.options.rounds, uncounted=self.options.uncounted)

    @asynccontextmanager
    async def serving(
        self, what: str, settings: Settings, *, name: str | None = None, **extra: str
    ) -> AsyncIterator[None]:
        """A process of `serving` on the settings' port; `name` tells it from others of its kind."""
        name = name or what
        if self.options.profile:
            extra["KEYFOLD_BENCH_PROFILE"] = str(self.folder / f"{name}.profile")
        command = [sys.executable, "-m", f"{__package__}.serving", what]
        async with self.listening(name, command, settings.port, self.environment(settings) | extra):
            yield

    @asynccontextmanager
    async def listening(
        self, name: str, command: Sequence[str], port: int, environment: Mapping[str, str]
    ) -> AsyncIterator[None]:
        """A process that serves on the port; returns when it does."""
        child = self.child(name)
        child.spawn(command, folder=_ROOT, environment=environment)
        try:
            await _listens(child, port)
            yield
        finally:
            await child.stop()


_STOP = signal.SIGINT  # a profile is written on the way out, which a SIGTERM handed on by uvicorn doesn't allow


@asynccontextmanager
async def staged(options: Options) -> AsyncIterator[Stage]:
    """The stage with its servers running."""
    folder = Path(tempfile.mkdtemp(prefix="keyfold-bench-"))
    try:
        async with AsyncExitStack() as stack:
            stage = Stage(folder, stack, options)
            await stage.start()
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program prints. It doesn't outlive the caller. Raises `BenchError` with its last words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {err.decode(errors='replace')[-1000:]}")
    return out.decode()


async def _listens(child: Child, port: int) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while child.alive and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise BenchError(f"{child.name} does not serve. Its log ends:\n{tail(child.log)}")
