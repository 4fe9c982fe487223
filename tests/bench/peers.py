"""Event stores of others, installed beside the repository and spoken to over standard input and output."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .stage import BenchError, Stage, output

_HERE = Path(__file__).parent
_ROOT = Path(__file__).parents[2]
_INSTALL = "python -m tests.bench peers install"

EVENTSOURCING = ("eventsourcing==9.5.6", "psycopg==3.3.9", "psycopg-binary==3.3.9", "psycopg-pool==3.3.3")
EMMETT = (
    "@event-driven-io/emmett@0.42.0",
    "@event-driven-io/emmett-postgresql@0.42.0",
    "@event-driven-io/pongo@0.16.11",
)


class Peer:
    """A child that answers each line it gets with one line, both JSON, and ends when its input does."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def started(self, stage: Stage) -> AsyncIterator["Peer"]:
        log = (stage.folder / "peers.log").open("ab")
        with log:
            pipe = asyncio.subprocess.PIPE
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=log, cwd=_ROOT, start_new_session=True
            )
        try:
            yield self
        finally:
            await _end(process)

    async def ask(self, **question: object) -> Any:
        """The answer to a question. Raises `BenchError` when there is none, or it is an error."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise BenchError("the peer was not started")
        process.stdin.write(json.dumps(question).encode() + b"\n")
        async with asyncio.timeout(120):
            line = await process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise BenchError(f"{Path(self._command[-1]).name}: {answer['error']}")
        return answer

    async def rate(self, **question: object) -> float:
        """Of what was counted, so many a second."""
        answer = await self.ask(**question)
        return float(answer["count"] / answer["seconds"])


class EventStore:
    """A peer with a database of its own: how it is installed, and how it is started."""

    def __init__(self, name: str, requirements: Sequence[str], command: Callable[[Path], list[str]]) -> None:
        self.name = name
        self.requirements = requirements
        self._command = command

    @property
    def folder(self) -> Path:
        """Where it is installed: below the user's cache, one for each set of versions."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "keyfold-bench" / f"{self.name}-{self.requirements[0].rpartition('@')[2].rpartition('=')[2]}"

    @asynccontextmanager
    async def started(self, stage: Stage, size: int) -> AsyncIterator[Peer]:
        """The peer, with its tables made, to append events of so many bytes. Raises `BenchError` when it isn't
        installed."""
        if not (self.folder / "installed").is_file():
            raise BenchError(f"{self.name} is not installed: {_INSTALL}")
        database = await stage.database(self.name, empty=True)
        async with Peer(self._command(self.folder)).started(stage) as peer:
            await peer.ask(
                do="open",
                size=size,
                host=str(stage.postgres.socket),
                database=database,
                url=stage.postgres.url("postgres", database),
            )
            yield peer


PEERS = {
    "eventsourcing": EventStore(
        "eventsourcing",
        EVENTSOURCING,
        lambda folder: [str(folder / "bin" / "python"), str(_HERE / "peer_eventsourcing.py")],
    ),
    "emmett": EventStore("emmett", EMMETT, lambda folder: ["node", str(_HERE / "peer_emmett.cjs"), str(folder)]),
}


async def install() -> None:
    """Puts every peer, in its pinned version, below the user's cache. What is there already is made anew."""
    for peer in PEERS.values():
        shutil.rmtree(peer.folder, ignore_errors=True)
        peer.folder.mkdir(parents=True)
        if peer.name == "eventsourcing":
            await output([sys.executable, "-m", "venv", str(peer.folder)])
            await output([str(peer.folder / "bin" / "pip"), "install", "--quiet", *peer.requirements])
        else:
            npm = shutil.which("npm")
            if npm is None:
                raise BenchError("npm is not there: install Node 20 or newer")
            quiet = ["--no-audit", "--no-fund", "--save-exact", "--prefix", str(peer.folder)]
            await output([npm, "install", *quiet, *peer.requirements])
        (peer.folder / "installed").touch()
        print(f"{', '.join(peer.requirements)} → {peer.folder}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(3):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
