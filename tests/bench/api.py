"""HTTP: the partner guide's request against a plain route, and how soon a new system gives its first answer."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from keyfold.cli.embedded import tail
from keyfold.cli.embedded.nats import free_port

from .client import connected
from .load import request
from .measure import Outcome, Side, compared
from .peers import Peer
from .profiling import show
from .stage import BenchError, Stage
from .system import INVITATION, running

CONNECTIONS = 32
_PATH = "/api/v1/external/partner"
_SIZE = """
SELECT sum(octet_length(record::text)) FROM (SELECT record FROM keyfold.log ORDER BY position DESC LIMIT 2) AS invited
"""


async def measure(stage: Stage) -> AsyncIterator[Outcome]:
    """The group's rows, as far as they are wanted."""
    if stage.options.wants("external-partner"):
        yield await _external_partner(stage)
    if stage.options.wants("up-cold", "up-warm"):
        for outcome in await _up(stage):
            if stage.options.wants(outcome.row):
                yield outcome


async def _external_partner(stage: Stage) -> Outcome:
    """Two servers that are both up and take turns; no worker beside them, since the plain one has none."""
    database = await stage.database("partners")
    async with running(stage.settings(database)) as system:
        key = system.integration_key
        await system.invite()
    size = await _prepare(stage.postgres.url("postgres", database))
    ours = stage.settings(database)
    plain = stage.settings(database)
    url = stage.postgres.url("postgres", database)
    async with (
        stage.serving("api", ours),
        stage.serving("plain", plain, KEYFOLD_DATABASE_URL=url, KEYFOLD_BENCH_BYTES=str(size)),
        Peer([sys.executable, "-m", f"{__package__}.load"]).started(stage) as load,
    ):
        sides: dict[str, Side] = {
            name: partial(
                load.rate,
                port=port,
                requests=[request("POST", _PATH, {"Authorization": f"Bearer {key}"}, json.dumps(INVITATION))],
                status=201,
                expects='"url":',
                connections=CONNECTIONS,
                seconds=stage.options.seconds,
            )
            for name, port in (("keyfold", ours.port), ("plain", plain.port))
        }
        figures = await stage.interleaved(sides)
    if stage.options.profile:
        show("api", stage.folder / "api.profile")
        show("the plain route", stage.folder / "plain.profile")
    return compared("external-partner", figures["keyfold"], figures["plain"])


async def _prepare(url: str) -> int:
    """The plain route's table. Gives the bytes that one invitation of ours records."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE SCHEMA plain")
        await connection.execute(
            "CREATE TABLE plain.partners (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " id text NOT NULL UNIQUE, record json NOT NULL)"
        )
        return int(await connection.fetchval(_SIZE))
    finally:
        await connection.close()


async def _up(stage: Stage) -> list[Outcome]:
    """From the start of the process to the first 201, in a new folder and then in the same one again."""
    if find_spec("keyfold.__main__") is None:
        why = "this checkout has no `keyfold up`"
        return [Outcome(row="up-cold", skipped=why), Outcome(row="up-warm", skipped=why)]
    times: dict[str, list[float]] = {"up-cold": [], "up-warm": []}
    for number in range(1 if stage.options.quick else 3):
        folder = stage.folder / f"up-{number}"
        cold, key = await _start(stage, folder, None)
        warm, _ = await _start(stage, folder, key)
        times["up-cold"].append(cold)
        times["up-warm"].append(warm)
        shutil.rmtree(folder, ignore_errors=True)
    return [
        Outcome(row=row, unit="s", ours=seconds, figures={"seconds": sorted(seconds)[len(seconds) // 2]})
        for row, seconds in times.items()
    ]


async def _start(stage: Stage, folder: Path, key: str | None) -> tuple[float, str]:
    """Seconds to the first 201, and the integration key, which is shown by the first start alone."""
    child = stage.child(f"up-{free_port()}")
    started = time.perf_counter()
    # with bytecode that the first start leaves for the second: an installation has it, this environment may forbid it
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child.spawn(
        [sys.executable, "-m", "keyfold", "up", "--data", str(folder), "--port", "0", "--json"],
        environment=kept | {"PYTHONPYCACHEPREFIX": str(stage.folder / "bytecode")},
    )
    try:
        async with asyncio.timeout(60):
            while (ready := _ready(child.log)) is None:
                if not child.alive:
                    raise BenchError(f"`keyfold up` ended. Its log ends:\n{tail(child.log)}")
                await asyncio.sleep(0.005)
            key = key or str(ready["integrationKey"])
            async with connected(int(ready["url"].rpartition(":")[2].strip("/")), key) as client:
                await client.post(_PATH, INVITATION, status=201)
        return time.perf_counter() - started, key
    finally:
        await child.stop(30)


def _ready(log: Path) -> Any:
    """The line that says so, among whatever else is printed."""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and line.endswith("}") and '"integrationKey"' in line:
            return json.loads(line)
    return None
