"""`keyfold keys issue` and `delegate`."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from keyfold.cli.client import Client
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output, when
from keyfold.cli.remote import connected, given_key, options, refusals, remote
from keyfold.cli.system import System, find_system
from keyfold.cli.values import KEY_ID, MOMENT, rfc3339
from keyfold.domain.permissions import ENVIRONMENTS

_DOCUMENT = (
    click.option("--purpose", help="What it is for."),
    click.option("--tag", "tags", multiple=True, help="May be given several times."),
    click.option("--send", multiple=True, metavar="PATTERN", help="What it may send, at the most; several times."),
    click.option(
        "--receive", multiple=True, metavar="PATTERN", help="What it may receive, at the most; several times."
    ),
    click.option("--network", "networks", multiple=True, metavar="CIDR", help="From where alone it may be used."),
    click.option("--expires", type=MOMENT, help="7d, or 2027-01-31T00:00:00Z."),
    click.option("--not-before", type=MOMENT, help="When it begins."),
)


def document(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say what a new key is to be; what is left out is as it stands above."""
    for option in reversed(_DOCUMENT):
        command = option(command)
    return command


@click.command()
@click.option("--kind", type=click.Choice(["account", "integration", "service"]), required=True)
@click.option("--name", help="Left out, the integration's policy names a service key.")
@click.option("--role", help="Of an account key: owner, admin, key-manager, auditor, viewer, or a custom one's id.")
@click.option("--integration", "integration_id", help="Of an integration key.")
@click.option("--partner", "partner_id", help="Of a service key.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Of a service key.")
@click.option("--days", type=click.IntRange(1, 3660), help="Expires after so many days; instead of --expires.")
@document
@options
def issue(
    data: Path | None,
    url: str | None,
    key_file: Path | None,
    workspace: str | None,
    as_json: bool,
    days: int | None,
    **wanted: Any,
) -> None:
    """Issue a key. It is shown this once.

    Without a key to ask with, on the machine itself, it needs nothing but the database: that is the way back for an
    owner who has lost theirs. An integration key is then of the first integration if none is given.
    """
    if days is not None:
        wanted["expires"] = datetime.now(UTC) + timedelta(days=days)
    if url is None and given_key(key_file) is None:
        view = _at_the_machine(find_system(data), workspace, body(wanted))
    else:
        with connected(data, url, key_file, workspace) as client:
            view = client.post(PATH, body(wanted))
    issued(Output(as_json=as_json), view)


@click.command()
@click.argument("key", type=KEY_ID)
@click.option("--name", help="Left out, as the key above is named.")
@document
@remote
def delegate(client: Client, out: Output, key: str, **wanted: Any) -> None:
    """Hand on a part of a key: with as much or less, and it ends with it."""
    issued(out, client.post(f"{PATH}/{key}/delegate", body(wanted)))


def body(wanted: dict[str, Any]) -> dict[str, Any]:
    """What the API takes, of the options that were given."""
    topics = {action: [*patterns] for action in ("send", "receive") if (patterns := wanted.get(action))}
    moments = {"notBefore": wanted["not_before"], "expiresAt": wanted["expires"]}
    given = {
        "kind": wanted.get("kind"),
        "name": wanted["name"],
        "purpose": wanted["purpose"],
        "tags": [*wanted["tags"]],
        "role": wanted.get("role"),
        "integrationId": wanted.get("integration_id"),
        "partnerId": wanted.get("partner_id"),
        "environment": wanted.get("environment"),
        "permitted": [*topics],
        "options": {action: {"topics": patterns} for action, patterns in topics.items()},
        "sourceNetworks": [*wanted["networks"]],
        **{name: rfc3339(moment) for name, moment in moments.items() if moment},
    }
    return {name: value for name, value in given.items() if value}


def issued(out: Output, view: dict[str, Any]) -> None:
    if out.as_json:
        out.data(view)
        return
    which = f"{view['kind']} key {view['id']}"
    out.line(f"{which}, shown this once:\n\n  {view['secret']}\n")
    if view["expiresAt"]:
        out.note(f"It expires {when(view['expiresAt'])}.")


def _at_the_machine(system: System, workspace: str | None, asked: dict[str, Any]) -> dict[str, Any]:
    """Straight through the application: no API has to run."""
    with refusals():
        view: dict[str, Any] = asyncio.run(_issue(system, workspace, asked))
    return view


async def _issue(system: System, workspace: str | None, asked: dict[str, Any]) -> Any:
    from keyfold.cli.bootstrap import first_workspace, the_workspace  # noqa: PLC0415  # of no use to who has a key
    from keyfold.cli.operator import operating, operator  # noqa: PLC0415
    from keyfold.web.v1.key_bodies import KeyBody  # noqa: PLC0415

    first = await first_workspace(system.api)
    if first is None:
        raise click.ClickException("There is no workspace yet.")
    workspace = await the_workspace(system.api, workspace or first[0])
    if asked["kind"] == "integration" and workspace == first[0]:
        asked.setdefault("integrationId", first[1])
    asked.setdefault("name", "Issued by the operator")
    try:
        wanted = msgspec.convert(asked, KeyBody).new_key()
    except msgspec.ValidationError as error:
        raise click.ClickException(str(error)) from error
    async with operating(system.api) as services:
        answer = await services.keys.issue(operator(services, workspace), wanted)
        return msgspec.to_builtins(answer.view)
