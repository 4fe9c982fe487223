"""`keyfold up`: everything on one machine, in the foreground, until Ctrl-C."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from keyfold.cli.embedded import EmbeddedError
from keyfold.cli.embedded.folder import Folder, default_folder
from keyfold.cli.embedded.folder import running as _running
from keyfold.cli.embedded.system import LocalSystem, choose_ports, stop_orphans

__all__ = ["default_folder", "running", "up"]


def running(folder: Path) -> dict[str, Any] | None:
    """What runs in a data folder: `pid`, `url`, `natsUrl`, and the KEYFOLD_ variables of `api` and `worker`."""
    try:
        return _running(folder)
    except EmbeddedError as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The data folder.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Of the API: 8080, or what it was last time. 0 takes any that is free.",
)
@click.option("--reset", is_flag=True, help="Delete the data first, after asking.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready, all else on standard error.")
def up(data: Path | None, port: int | None, reset: bool, yes: bool, as_json: bool) -> None:
    """Run everything on this machine, until Ctrl-C: Postgres, NATS, the API and the worker. Needs no setup."""
    folder = Folder(data or default_folder())
    terminal = Terminal(as_json=as_json)
    try:
        folder.open()
        try:
            if reset:
                _confirm(folder, yes=yes)
            asyncio.run(_run(folder, port, reset, terminal))
        finally:
            folder.close()
    except EmbeddedError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"The data folder {folder.path} can't be used: {error}") from error
    terminal.say("Stopped. Your data is safe; start again with the same command.")


def _confirm(folder: Folder, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "--reset deletes all data, and there is no terminal to ask on: add --yes if you mean it."
        )
    click.confirm(f"Delete everything in {folder.path}, every partner and key?", abort=True, err=True)


class Terminal:
    """What is said to people: on standard output, or on standard error when that is for JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._result = self._console if as_json else Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Goes nowhere when nobody listens any more, which is no reason to stop serving."""
        with contextlib.suppress(OSError, SystemExit):
            self._console.print(f"keyfold: {text}", markup=False)

    def show(self, text: str) -> None:
        with contextlib.suppress(OSError, SystemExit):
            self._result.print(text)

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """A spinner while it lasts, and afterwards how long it took."""
        started = time.perf_counter()
        with self._console.status(f"{doing}…") if self._console.is_terminal else contextlib.nullcontext():
            yield
        with contextlib.suppress(OSError, SystemExit):
            self._console.print(f"[green]✓[/] {done} [dim]{time.perf_counter() - started:.1f} s[/]")


async def _run(folder: Folder, port: int | None, reset: bool, terminal: Terminal) -> None:
    """Until a signal, which is a normal end, or until something can't go on, which is an `EmbeddedError`."""
    stopped = asyncio.Event()
    _on_signals(stopped.set)
    await stop_orphans(folder, terminal.say)
    if reset:
        folder.empty()
        terminal.say(f"{folder.path} is empty again")
    system = LocalSystem(folder, choose_ports(folder, port, terminal.say), terminal.say)
    work = asyncio.create_task(_work(system, terminal))
    stop = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done() and not work.done():
            terminal.say("stopping…")
    finally:
        for task in (work, stop):
            task.cancel()
        ended, _ = await asyncio.gather(work, stop, return_exceptions=True)
        folder.forget("running.json")
        await system.stop()
    if isinstance(ended, Exception):
        raise ended


async def _work(system: LocalSystem, terminal: Terminal) -> None:
    try:
        with terminal.step("Starting Postgres and NATS", "Postgres and NATS run"):
            await system.start_servers()
        await system.start_processes()
        async with asyncio.TaskGroup() as group:
            group.create_task(system.supervise())
            await _announce(system, terminal)
    except ExceptionGroup as group_of_errors:  # of which the first is the cause, the others come of it
        raise _first(group_of_errors) from None


async def _announce(system: LocalSystem, terminal: Terminal) -> None:
    with terminal.step("Starting the API and the worker", "The API and the worker run"):
        ids = await _first_workspace(system)
        await system.ready()
    api, worker = system.environment("api"), system.environment("worker")
    about = {"pid": os.getpid(), "url": system.url, "natsUrl": system.nats.url, "api": api, "worker": worker}
    system.folder.write("running.json", about)
    line = {"url": system.url, "natsUrl": system.nats.url, **ids}
    if terminal.as_json:
        with contextlib.suppress(OSError):
            click.echo(json.dumps(line))
    else:
        terminal.show(_welcome(line, system.folder, await _sign_in(system, line["workspaceId"])))


async def _first_workspace(system: LocalSystem) -> dict[str, str | None]:
    """The ids of the first workspace and, if it had to be founded now, its keys."""
    from keyfold.cli.bootstrap import bootstrap, first_workspace  # noqa: PLC0415 - heavy, while the others start
    from keyfold.domain.refusals import Refusal  # noqa: PLC0415
    from keyfold.settings import read_settings  # noqa: PLC0415

    settings = read_settings(system.environment("api"))
    try:
        found = await first_workspace(settings)
        if found is not None:
            return {"workspaceId": found[0], "integrationId": found[1], "integrationKey": None, "accountKey": None}
        founded = await bootstrap(settings)
    except Refusal as refusal:
        raise EmbeddedError(f"The first workspace could not be founded: {refusal}") from refusal
    return {
        "workspaceId": founded.workspace_id,
        "integrationId": founded.integration_id,
        "integrationKey": founded.integration_key,
        "accountKey": founded.account_key,
    }


async def _sign_in(system: LocalSystem, workspace_id: str | None) -> str:
    """A link to the console, for whoever reads it first."""
    from keyfold.cli.console import sign_in_link  # noqa: PLC0415
    from keyfold.domain.refusals import Refusal  # noqa: PLC0415
    from keyfold.settings import read_settings  # noqa: PLC0415

    try:
        return (await sign_in_link(read_settings(system.environment("api")), str(workspace_id))).url
    except Refusal:  # no reason not to serve
        return f"{system.url}/console"


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup the terminal may go
        loop.add_signal_handler(signal.SIGHUP, stop)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _welcome(line: dict[str, str | None], folder: Folder, console: str) -> str:
    url, integration_key = line["url"], line["integrationKey"]
    which = "" if folder.path == default_folder() else f" --data '{folder.path}'"
    keys = (
        "[bold]Two keys, shown this once, stored nowhere:[/]\n"
        f"  account key, an owner's   {line['accountKey']}\n"
        f"  integration key           {integration_key}"
        if integration_key
        else "Its keys were shown when it was made. For new ones, in another terminal:\n"
        f"  keyfold keys issue{which} --kind account --role owner\n"
        f"  keyfold keys issue{which} --kind integration"
    )
    return f"""
[bold green]Keyfold runs[/] at {url}
  docs          {url}/docs
  NATS          {line["natsUrl"]}
  data          {folder.path}
  workspace     {line["workspaceId"]}
  integration   {line["integrationId"]}

{keys}

[bold]Sign in to the console,[/] once, within 15 minutes; for another link: keyfold console{which}
  {console}

[bold]Invite a first partner:[/]
  curl -X POST {url}/api/v1/external/partner \\
    -H 'Authorization: Bearer {integration_key or "<integration key>"}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"appName": "Acme Orders", "appDescription": "Sends orders.", "metadata": {{"team": "integrations"}}}}'

Or watch the whole journey in another terminal: keyfold demo{which}. Ctrl-C stops everything here.
"""
