"""`keyfold erase partner | operator`: what is personal about somebody, for good."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from keyfold.app.erasing import ErasureView
from keyfold.cli.operator import operating, operator
from keyfold.cli.output import printable
from keyfold.cli.projections import rebuilding_of
from keyfold.cli.system import System, data_option, find_system
from keyfold.domain.aggregates import KEY, PARTNER, Aggregate
from keyfold.domain.ids import is_id
from keyfold.domain.refusals import NotFound, Refusal
from keyfold.web.services import Services

STAYS = (
    "every record in the log, byte for byte: what happened, when, by which id; with its hashes and proofs",
    "reasons, tags, source networks, and names of consumers: they are the workspace's own notes",
    "counts of how the keys were used",
)
BEYOND = (
    "backups and replicas of the database, and its write-ahead log, from before",
    "rows that Postgres has deleted and not yet overwritten: VACUUM FULL keyfold.data_keys, keyfold.key_addresses",
    "what somebody has exported, subscribed to, or copied while it could be read",
    "app events that the partner has published, until their streams let go of them",
)


@click.group()
def erase() -> None:
    """Erase what is personal about somebody. The history stays, with every proof.

    Without --yes it only says what would go.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One line of JSON."),
        click.option("--yes", is_flag=True, help="Do it. It can't be undone."),
        click.option("--reason", default="erased on request", show_default=True, help="Kept in the audit trail."),
        data_option,
    ):
        command = option(command)
    return command


@erase.command()
@click.argument("partner_id", metavar="prt_…")
@_options
def partner(partner_id: str, data: Path | None, reason: str, yes: bool, as_json: bool) -> None:
    """A partner: its name, description and metadata, the names of its keys, and every address. It is offboarded too."""

    async def erased(services: Services, workspace_id: str) -> ErasureView:
        by = operator(services, workspace_id)
        return (await services.erasures.partner(by, partner_id, reason, dry_run=not yes)).view

    _carry_out(find_system(data), PARTNER, partner_id, erased, as_json=as_json)


@erase.command(name="operator")
@click.argument("key_id", metavar="key_…")
@_options
def operator_(key_id: str, data: Path | None, reason: str, yes: bool, as_json: bool) -> None:
    """Whoever holds an account or integration key: its name, its purpose, and every address. It is revoked too, with
    all keys that it was rotated from or to."""

    async def erased(services: Services, workspace_id: str) -> ErasureView:
        by = operator(services, workspace_id)
        return (await services.erasures.operator(by, key_id, reason, dry_run=not yes)).view

    _carry_out(find_system(data), KEY, key_id, erased, as_json=as_json)


def _carry_out(system: System, aggregate: Aggregate[Any], of: str, work: Callable[..., Any], *, as_json: bool) -> None:
    async def carried_out() -> ErasureView:
        async with operating(system.api) as services:
            state = (await services.journal.load(aggregate, of)).state if is_id(aggregate.prefix, of) else None
            if state is None:
                raise NotFound(f"There is no {aggregate.word} {of}.")
            done: ErasureView = await work(services, state.workspace_id)
            return done

    try:
        view = asyncio.run(carried_out())
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None
    if as_json:
        click.echo(msgspec.json.encode(view).decode())
    else:
        _tell(view)
    if not view.dry_run:
        # so that no dead row keeps anything; also when repeated, should it have broken off
        for name, position in rebuilding_of(system.worker):
            click.echo(f"{name}: rebuilt up to position {position:,}", err=True)


def _tell(view: ErasureView) -> None:
    if view.already_erased:
        click.echo(f"{view.id} has been erased already.")
        return
    click.echo(f"{view.id}: {'what would go' if view.dry_run else 'gone'}")
    click.echo(f"  readable in {view.records:,} records:")
    for place, count in view.fields.items():
        click.echo(f"    {count:>6,} x {place}")
    click.echo(f"  addresses: {printable(', '.join(view.addresses)).plain or 'none'}")
    click.echo(f"  {view.sightings:,} rows of where its keys were used from, and its data key")
    click.echo(f"  {len(view.revoked_keys):,} keys are revoked: {', '.join(view.revoked_keys) or 'none'}")
    click.echo("stays:")
    for each in STAYS:
        click.echo(f"  {each}")
    click.echo("remains where Keyfold doesn't reach:")
    for each in BEYOND:
        click.echo(f"  {each}")
    if view.dry_run:
        click.echo("\nNothing was done. Repeat it with --yes to do it.")
