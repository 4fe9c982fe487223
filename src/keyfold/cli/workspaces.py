"""`keyfold workspaces create`: a tenant, with an integration and the two keys that it begins with."""

import asyncio
from pathlib import Path

import click
import msgspec

from keyfold.cli.bootstrap import bootstrap
from keyfold.cli.system import data_option, find_system
from keyfold.domain.refusals import Refusal


@click.group()
def workspaces() -> None:
    """Workspaces, the tenants of this installation."""


@workspaces.command()
@data_option
@click.option("--name", required=True, help="Of the workspace.")
@click.option("--integration", default="Events", show_default=True, help="Name of its first integration.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def create(data: Path | None, name: str, integration: str, as_json: bool) -> None:
    """Found a workspace with an integration. Its two keys are shown this once."""
    try:
        founded = asyncio.run(bootstrap(find_system(data).api, name, integration))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None
    if as_json:
        click.echo(msgspec.json.encode(founded).decode())
        return
    click.echo(f"workspace                {founded.workspace_id}")
    click.echo(f"integration              {founded.integration_id}")
    click.echo("Its keys, shown this once, stored nowhere:")
    click.echo(f"  account key, an owner's  {founded.account_key}")
    click.echo(f"  integration key          {founded.integration_key}")
