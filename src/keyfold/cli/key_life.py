"""`keyfold keys suspend`, `reinstate`, `revoke` and `compromise`."""

import sys
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from keyfold.cli.client import Client
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output, printable, relative, status
from keyfold.cli.remote import remote
from keyfold.cli.values import KEY_ID, MOMENT, rfc3339

reason_option = click.option("--reason", required=True, help="Kept in the audit trail.")
yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


@click.command()
@click.argument("key", type=KEY_ID)
@reason_option
@remote
def suspend(client: Client, out: Output, key: str, reason: str) -> None:
    """Suspend a key, and those it was handed on to, until it is reinstated."""
    told(out, client.post(f"{PATH}/{key}/suspend", {"reason": reason}))


@click.command()
@click.argument("key", type=KEY_ID)
@remote
def reinstate(client: Client, out: Output, key: str) -> None:
    """End a suspension."""
    told(out, client.post(f"{PATH}/{key}/reinstate", {}))


@click.command()
@click.argument("key", type=KEY_ID)
@reason_option
@yes_option
@remote
def revoke(client: Client, out: Output, key: str, reason: str, yes: bool) -> None:
    """Revoke a key, for good."""
    confirm(client, key, "Revoke", yes=yes)
    told(out, client.post(f"{PATH}/{key}/revoke", {"reason": reason}))


@click.command()
@click.argument("key", type=KEY_ID)
@reason_option
@click.option("--replace", is_flag=True, help="Issue one like it, with nothing that the old one didn't have.")
@click.option("--since", type=MOMENT, help="From when on others may have had it: -3d; since it was issued if left out.")
@yes_option
@remote
def compromise(
    client: Client, out: Output, key: str, reason: str, replace: bool, since: datetime | None, yes: bool
) -> None:
    """Report a key as in the wrong hands: it ends at once. Says which others may be."""
    confirm(client, key, "Report as compromised", yes=yes)
    body = {"reason": reason, "replace": replace, "since": since and rfc3339(since)}
    view = client.post(f"{PATH}/{key}/compromise", body)
    if out.as_json:
        out.data(view)
        return
    told(out, view["key"])
    if replacement := view["replacement"]:
        out.line(f"\nIts replacement {replacement['id']}, shown this once:\n\n  {replacement['secret']}\n")
    if view["related"]:
        out.note("Keys that may be in the wrong hands too:")
        out.table(["key", "why", "from", "when"], [_related(each) for each in view["related"]])


def told(out: Output, view: dict[str, Any]) -> None:
    """What a key has become, in one line."""
    if out.as_json:
        out.data(view)
    else:
        out.line(f"{view['id']}, {view['name']}: ", status(view["status"]))


def confirm(client: Client, key: str, doing: str, *, yes: bool) -> None:
    """Asks, saying which key it is. Raises as `ask` does."""
    if yes:
        return
    view = client.get(f"{PATH}/{key}")
    of, used = view["environment"] or view["kind"], relative(view["lastUsedAt"], "never")
    ask(f"{doing} {view['id']}, {printable(view['name'])} ({of}, last used: {used})? It can't be undone.")


def ask(question: str) -> None:
    """Raises `click.Abort` for a no, and `click.UsageError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: add --yes if you mean it.")
    click.confirm(question, abort=True, err=True)


def _related(related: dict[str, Any]) -> list[str | Text]:
    return [related["keyId"], related["why"], related.get("address", ""), relative(related["at"])]
