"""`keyfold projections status | rebuild | verify`."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import asyncpg
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keyfold.cli.system import data_option, find_system, opener_of
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections import rebuild as rebuilding
from keyfold.store.projections.projection import Projection, UnappliableError
from keyfold.store.queries import query

T = TypeVar("T")
which = click.argument("name", required=False, type=click.Choice([*PROJECTIONS]))
_console = Console(stderr=True)


@click.group()
def projections() -> None:
    """The tables that are made from the log: how far they are, made again, compared."""


@projections.command()
@data_option
def status(data: Path | None) -> None:
    """How far each projection is."""
    rows = asyncio.run(_status(find_system(data).worker.database_url))
    table = Table("projection", "cursor", "behind")
    for name, position, behind in rows:
        table.add_row(name, f"{position:,}", f"{behind:,}")
    Console().print(table)


@projections.command()
@which
@data_option
def rebuild(name: str | None, data: Path | None) -> None:
    """Make one projection, or all, again from the log, and swap it in. Nothing has to stop."""
    for this, position in rebuilding_of(find_system(data).worker, name):
        click.echo(f"{this}: rebuilt up to position {position:,}")


@projections.command()
@which
@data_option
def verify(name: str | None, data: Path | None) -> None:
    """Make one projection, or all, again beside the live one, and compare row by row at one position.

    Exits with 1 when they differ.
    """
    raise SystemExit(differs(find_system(data).worker, name))


def differs(settings: Settings, name: str | None = None) -> bool:
    """Makes one projection, or all, again and says how they compare with the live ones; whether any differs."""
    url, opener = settings.database_url, opener_of(settings)
    different = False
    for projection in _chosen(name):
        found = _with_progress(f"verifying {projection.name}", partial(rebuilding.verify, url, projection, opener))
        verdict = "differs" if found.differences else "equal"
        click.echo(f"{projection.name}: {verdict} at position {found.position:,} ({found.rows:,} rows)")
        for difference in found.differences:
            click.echo(f"  {difference.table}, only in the {difference.side} table: {difference.row}")
        different = different or bool(found.differences)
    return different


def rebuilding_of(settings: Settings, name: str | None = None) -> Iterator[tuple[str, int]]:
    """Rebuilds one projection, or all, under the worker's login. Gives names and positions. Raises `ClickException`."""
    url, opener = settings.database_url, opener_of(settings)
    for projection in _chosen(name):
        position = _with_progress(f"rebuilding {projection.name}", partial(rebuilding.rebuild, url, projection, opener))
        yield projection.name, position


def _chosen(name: str | None) -> list[Projection]:
    return [PROJECTIONS[name]] if name else [*PROJECTIONS.values()]


def _with_progress(what: str, work: Callable[[rebuilding.Progress], Awaitable[T]]) -> T:
    gc.freeze()  # what is there by now stays: no collection needs to look at it again
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=_console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        return asyncio.run(_translated(work(lambda done, of: bar.update(task, completed=done, total=of))))


async def _translated(work: Awaitable[T]) -> T:
    try:
        return await work
    except UnappliableError as error:
        raise click.ClickException(str(error)) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise click.ClickException(f"The database can't be reached or refused: {error}") from error


async def _status(url: str) -> list[tuple[str, int, int]]:
    postgres = Postgres(url, name="keyfold projections", schema="projections")
    await postgres.open()
    try:
        return [(row["projection"], row["position"], row["lag"]) for row in await postgres.fetch(query("lags"))]
    finally:
        await postgres.close()
