"""Peers at work: event stores that are spoken to over standard input and output, and HTTP servers with keys."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from keyfold.cli.embedded.nats import free_port

from .install import PACKAGES
from .load import request
from .stage import BenchError, Stage, output

_ROOT = Path(__file__).parents[2]
APPS = (sys.executable, "-m", f"{__package__}.nats_load")
"""The command of a process of partners' apps, which is spoken to like a peer."""


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


@asynccontextmanager
async def event_store(stage: Stage, name: str, size: int, *, what: str) -> AsyncIterator[Peer]:
    """One with its tables made, in a database of its own for `what` it does, with events of so many bytes. Raises
    `BenchError` when it isn't installed."""
    command = PACKAGES[name].command()
    database = await stage.database(f"{name}_{what}", empty=True)
    async with Peer(command).started(stage) as peer:
        await peer.ask(
            do="open",
            size=size,
            host=str(stage.postgres.socket),
            database=database,
            url=stage.postgres.url("postgres", database),
        )
        yield peer


class KeyServer(NamedTuple):
    """Where keys are verified, and a request for each of them. Its right answer has `"valid":true`."""

    port: int
    requests: list[str]


@asynccontextmanager
async def key_server(stage: Stage, name: str, keys: int) -> AsyncIterator[KeyServer]:
    """One process that serves, with so many keys in a database of its own. Raises `BenchError` when it isn't
    installed."""
    command = PACKAGES[name].command()
    database = await stage.database(name.replace("-", "_"), empty=True)
    login = {"PGHOST": str(stage.postgres.socket), "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": database}
    environment = os.environ | login | {"NODE_ENV": "production"}
    secrets = json.loads(await output([*command, "prepare", str(keys)], environment))
    port = free_port()
    async with stage.listening(name, [*command, "serve", str(port)], port, environment):
        yield KeyServer(port, [_asks(name, secret) for secret in secrets])


def _asks(name: str, secret: str) -> str:
    """Each peer is asked in its own way."""
    if name == "drf":
        return request("GET", "/", {"Authorization": f"Api-Key {secret}"}, "")
    return request("POST", "/", {}, json.dumps({"key": secret}))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(3):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
