"""`keyfold console`: a link that signs a browser in to the console, for whoever is at the machine."""

import asyncio
from pathlib import Path

import click
import msgspec

from keyfold.app.console import SignInView
from keyfold.cli.bootstrap import first_workspace
from keyfold.cli.operator import cause, operating
from keyfold.cli.system import data_option, find_system
from keyfold.domain.aggregates import KEY, WORKSPACE
from keyfold.domain.key_state import USABLE
from keyfold.domain.refusals import NotFound, Refusal
from keyfold.settings import Settings


@click.command()
@data_option
@click.option("--workspace", help="Its id; the first workspace if left out.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def console(data: Path | None, workspace: str | None, as_json: bool) -> None:
    """Print a link that signs in to the console as an owner: once, within 15 minutes."""
    settings = find_system(data).api
    try:
        made = asyncio.run(_link(settings, workspace))
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from None
    click.echo(msgspec.json.encode(made).decode() if as_json else made.url)


async def _link(settings: Settings, workspace_id: str | None) -> SignInView:
    if workspace_id is None:
        found = await first_workspace(settings)
        if found is None:
            raise NotFound("There is no workspace yet.")
        workspace_id = found[0]
    return await sign_in_link(settings, workspace_id)


async def sign_in_link(settings: Settings, workspace_id: str) -> SignInView:
    """A link for the newest key of an owner that can be used. Raises `NotFound`, `Unavailable`."""
    async with operating(settings) as services:
        workspace = (await services.journal.load(WORKSPACE, workspace_id)).state
        for key_id in reversed(workspace.owners if workspace else ()):
            key = (await services.journal.load(KEY, key_id)).state
            if key is not None and key.status_at(services.clock()) in USABLE:
                return (await services.console.issue(cause(services), key)).view
    raise NotFound(f"No owner of {workspace_id} has a key that can be used: keyfold keys issue --role owner.")
