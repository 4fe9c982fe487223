"""What the figures were measured on."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import asyncpg

from keyfold.cli.embedded.binaries import nats_binary

from .stage import Stage, output


async def describe(stage: Stage) -> dict[str, str]:
    """The processor and what ran on it, by name. `load` is what others did to it before the first round."""
    connection = await asyncpg.connect(stage.postgres.url("postgres", "postgres"))
    try:
        postgres = await connection.fetchval("SHOW server_version")
        durable = await connection.fetchval("SHOW fsync")
    finally:
        await connection.close()
    nats = await output([str(nats_binary()), "--version"])
    node = shutil.which("node")
    return {
        "CPU": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory():.0f} GiB",
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_version()}, uvloop {metadata.version('uvloop')}",
        "Postgres": f"{postgres}, fsync {durable}",
        "NATS": nats.split()[-1],
        "Node": "none" if node is None else (await output([node, "--version"])).strip(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")  # where there is one; `platform` knows less
    if information.is_file():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> float:
    """In GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
