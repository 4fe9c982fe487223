"""Commands that speak HTTP: which system they ask, and with which key."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from keyfold.cli.client import Client
from keyfold.cli.output import Output
from keyfold.cli.system import System, data_option, find_system
from keyfold.domain.refusals import Refusal
from keyfold.domain.tokens import KEY_PATTERN

LIFETIME = timedelta(minutes=15)
"""How long the operator's own key would live if nobody came to revoke it."""

_OPTIONS = (
    data_option,
    click.option("--url", envvar="KEYFOLD_URL", show_envvar=True, help="Of the system, with a key for it."),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="A file with the key to ask with, such as a .env; without it KEYFOLD_KEY counts.",
    ),
    click.option("--workspace", help="On the machine itself: its id; the first workspace if left out."),
    click.option("--json", "as_json", is_flag=True, help="JSON, one line for each thing."),
)


def remote(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that is handed a `Client` and an `Output`, and has the options that these come from."""

    @wraps(command)
    def run(
        *, data: Path | None, url: str | None, key_file: Path | None, workspace: str | None, as_json: bool, **more: Any
    ) -> Any:
        with connected(data, url, key_file, workspace) as client:
            return command(client, Output(as_json=as_json), **more)

    return options(run)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_key(key_file: Path | None) -> str | None:
    """The key of the file, or of KEYFOLD_KEY. Raises `click.ClickException`."""
    text = key_file.read_text(encoding="utf-8", errors="replace") if key_file else os.environ.get("KEYFOLD_KEY")
    if not text:
        return None
    return the_key_in(text, str(key_file) if key_file else "KEYFOLD_KEY")


def the_key_in(text: str, source: str) -> str:
    """The one key in a text, such as a .env. Raises `click.ClickException`, which never repeats any of it."""
    found: set[str] = set(re.findall(rf"\b{KEY_PATTERN}\b", text))
    if len(found) != 1:
        raise click.ClickException(f"{source} should hold one key, whole: kf_…. It holds {len(found) or 'none'}.")
    return found.pop()


@contextmanager
def connected(data: Path | None, url: str | None, key_file: Path | None, workspace: str | None) -> Iterator[Client]:
    """With the key that was given, or else, on the machine itself, as its operator."""
    key = given_key(key_file)
    if key is None and url is not None:
        raise click.ClickException(
            f"{url} needs a key: set KEYFOLD_KEY, or give --key-file. On the machine itself leave the URL out."
        )
    if key is not None:
        _demand_one(data, url, "--key-file" if key_file else "KEYFOLD_KEY", workspace)
    if key is None:
        system = find_system(data)
        with _owners_key(system, workspace) as own, Client(system.url, own) as client:
            yield client
    else:
        with Client(url or find_system(data).url, key) as client:
            yield client


def _demand_one(data: Path | None, url: str | None, source: str, workspace: str | None) -> None:
    """That nobody believes to have asked another system, or for another workspace, than was asked."""
    if workspace is not None:
        raise click.UsageError(
            f"A key is of one workspace, and {source} gives one: leave --workspace out, or ask without a key."
        )
    if data is not None and url is not None:
        raise click.UsageError(f"--data and {url} (--url, KEYFOLD_URL) may be two systems: leave one of them out.")
    if data is not None:
        click.echo(f"asking with the key of {source}, not as the operator at the machine", err=True)


@contextmanager
def refusals() -> Iterator[None]:
    """What the application refuses, as a command says it."""
    try:
        yield
    except Refusal as refusal:
        problems = [f"{pointer.lstrip('/')}: {detail}" for pointer, detail in refusal.fields]
        raise click.ClickException(" ".join([str(refusal), *problems])) from None


@contextmanager
def _owners_key(system: System, workspace: str | None) -> Iterator[str]:
    """An owner's key for one command, revoked when it ends, however it ends."""
    with refusals():
        key_id, secret, workspace = asyncio.run(_issued(system, workspace))
    try:
        yield secret
    finally:
        asyncio.run(_revoke(system, workspace, key_id))


async def _issued(system: System, workspace: str | None) -> tuple[str, str, str]:
    from keyfold.app.keys import NewKey  # noqa: PLC0415  # heavy, and of no use to whoever has a key
    from keyfold.cli.bootstrap import the_workspace  # noqa: PLC0415
    from keyfold.cli.operator import operating, operator  # noqa: PLC0415

    workspace = await the_workspace(system.api, workspace)
    async with operating(system.api) as services:
        ends = services.clock() + LIFETIME
        wanted = NewKey(kind="account", name="keyfold keys, at the machine", role="owner", expires_at=ends)
        issued = (await services.keys.issue(operator(services, workspace), wanted)).view
    return issued.id, issued.secret, workspace


async def _revoke(system: System, workspace: str, key_id: str) -> None:
    from keyfold.cli.operator import operating, operator  # noqa: PLC0415

    async with operating(system.api) as services:
        await services.key_life.revoke(operator(services, workspace), key_id, "the command has ended")
