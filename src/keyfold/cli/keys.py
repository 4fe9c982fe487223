"""`keyfold keys issue`: a key for whoever can reach the database, such as an owner who has lost theirs."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import click

from keyfold.app.keys import NewKey
from keyfold.app.views import IssuedKeyView
from keyfold.cli.bootstrap import first_workspace
from keyfold.cli.operator import operating, operator
from keyfold.cli.system import System, data_option, find_system
from keyfold.domain.permissions import ENVIRONMENTS, ROLES
from keyfold.domain.refusals import Refusal


@click.group()
def keys() -> None:
    """Access keys, from the machine itself."""


@keys.command()
@data_option
@click.option("--kind", type=click.Choice(["account", "integration", "service"]), required=True)
@click.option("--name", default="Issued by the operator", show_default=True)
@click.option("--workspace", "workspace_id", help="Its id; the first workspace if left out.")
@click.option("--role", type=click.Choice([*ROLES]), help="Of an account key.")
@click.option("--integration", "integration_id", help="Of an integration key; the first one if left out.")
@click.option("--partner", "partner_id", help="Of a service key.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Of a service key.")
@click.option("--days", type=click.IntRange(1, 3660), help="Expires after so many days.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def issue(data: Path | None, days: int | None, as_json: bool, workspace_id: str | None, **wanted: str) -> None:
    """Issue a key. It is shown this once."""
    try:
        key = asyncio.run(_issue(find_system(data), workspace_id, wanted, days))
    except Refusal as refusal:
        problems = [f"{pointer.lstrip('/')}: {detail}" for pointer, detail in refusal.fields]
        raise click.ClickException("\n".join([str(refusal), *problems])) from None
    if as_json:
        click.echo(json.dumps({"id": key.id, "secret": key.secret}))
    else:
        click.echo(f"{key.kind} key {key.id}, shown this once:\n\n  {key.secret}\n")


async def _issue(system: System, workspace_id: str | None, wanted: dict[str, str], days: int | None) -> IssuedKeyView:
    first = await first_workspace(system.api)
    if first is None:
        raise click.ClickException("There is no workspace yet.")
    if wanted["kind"] == "integration" and workspace_id in (None, first[0]):
        wanted["integration_id"] = wanted["integration_id"] or first[1]
    async with operating(system.api) as services:
        expires = services.clock() + timedelta(days=days) if days else None
        caller = operator(services, workspace_id or first[0])
        return (await services.keys.issue(caller, NewKey(**wanted, expires_at=expires))).view  # type: ignore[arg-type]
