"""What others made, in pinned versions, each in a folder of its own beside the repository."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Literal

import msgspec

from .stage import BenchError, output

_HERE = Path(__file__).parent
_CONSTRAINTS = _HERE / "constraints.txt"
"""What the Python peers need in their turn, in the versions that were measured."""
_DAY = "2026-11-22"
"""What the peers on Node need in their turn is taken as it was on that day: npm's own lock would name the registry of
whoever wrote it."""


class NoNodeError(BenchError):
    """What runs on Node can't, because there is none."""


class Package(msgspec.Struct, frozen=True):
    """`requirements` begin with what the peer is named after; `program` is ours, and runs beside them."""

    name: str
    kind: Literal["python", "node"]
    program: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is installed: below the user's cache, one for each version."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "keyfold-bench" / f"{self.name}-{self.requirements[0].rpartition('@')[2].rpartition('=')[2]}"

    def command(self) -> list[str]:
        """What runs the program. Raises `BenchError` when something that it needs isn't there."""
        if not (self.folder / "installed").is_file():
            raise BenchError(f"{self.name} is not installed: python -m tests.bench peers install")
        program = str(_HERE / self.program)
        if self.kind == "python":
            return [str(self.folder / "bin" / "python"), program]
        return [_node("node"), program, str(self.folder)]

    async def install(self) -> None:
        """Makes the folder anew. Raises `NoNodeError` before it touches it, and `BenchError` when that fails."""
        npm = _node("npm") if self.kind == "node" else ""
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.kind == "python":
            await output([sys.executable, "-m", "venv", str(self.folder)])
            pinned = ["--quiet", "--constraint", str(_CONSTRAINTS)]
            await output([str(self.folder / "bin" / "pip"), "install", *pinned, *self.requirements])
        else:
            quiet = ["--no-audit", "--no-fund", "--save-exact", "--before", _DAY, "--prefix", str(self.folder)]
            await output([npm, "install", *quiet, *self.requirements])
        (self.folder / "installed").touch()


_POSTGRES = ("psycopg==3.3.9", "psycopg-binary==3.3.9")
PACKAGES = {
    package.name: package
    for package in (
        Package(
            "eventsourcing",
            "python",
            "peer_eventsourcing.py",
            ("eventsourcing==9.5.6", *_POSTGRES, "psycopg-pool==3.3.3"),
        ),
        Package(
            "emmett",
            "node",
            "peer_emmett.cjs",
            (
                "@event-driven-io/emmett@0.42.0",
                "@event-driven-io/emmett-postgresql@0.42.0",
                "@event-driven-io/pongo@0.16.11",
            ),
        ),
        Package(
            "better-auth",
            "node",
            "peer_better_auth.mjs",
            # the plugin's peers by name: npm finds no set of them by itself
            (
                "better-auth@1.7.5",
                "@better-auth/api-key@1.7.5",
                "@better-auth/core@1.7.5",
                "@better-auth/utils@0.4.2",
                "better-call@1.4.0",
                "pg@8.23.1",
            ),
        ),
        Package(
            "drf",
            "python",
            "peer_drf.py",
            (
                "djangorestframework-api-key==3.1.0",
                "djangorestframework==3.18.3",
                "django==5.2.19",
                "gunicorn==27.0.1",
                "gunicorn_h1c==0.6.9",
                *_POSTGRES,
            ),
        ),
    )
}


async def install() -> None:
    """Puts every peer below the user's cache, but for those that need Node where there is none: it says which. Raises
    `BenchError` at the end when one could not be installed for another reason."""
    failed = []
    for package in PACKAGES.values():
        try:
            await package.install()
        except NoNodeError as error:
            print(f"SKIPPED {package.name}: {error}", file=sys.stderr)
        except BenchError as error:
            failed.append(f"{package.name}: {error}")
        else:
            print(f"{', '.join(package.requirements)} → {package.folder}")
    if failed:
        raise BenchError("\n".join(["not installed:", *failed]))


def _node(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise NoNodeError(f"{program} is not there: install Node 20 or newer")
    return found
