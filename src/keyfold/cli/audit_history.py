"""`keyfold audit changes` and `holders`: what changed between two moments, and who could do something at one."""

from typing import Any, get_args

import click
from rich.text import Text

from keyfold.app.changes import Kind
from keyfold.cli.client import Client
from keyfold.cli.key_list import as_of_option
from keyfold.cli.output import Output, exact, shown, status
from keyfold.cli.output import changes as differences
from keyfold.cli.remote import remote
from keyfold.cli.values import AS_OF, KEY_ID
from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.domain.rule import EVENT_ACTIONS

_STYLES = {"created": "green", "changed": "yellow", "ended": "red"}


@click.command()
@click.option("--from", "since", type=AS_OF, required=True, help="-24h, 2026-11-21T08:00:00Z, or a position; 0: all.")
@click.option("--to", "until", type=AS_OF, help="The same; now if left out.")
@click.option("--kind", type=click.Choice(get_args(Kind)), help="Things of one kind.")
@click.option("--partner", "partnerId", metavar="ID", help="A partner, and what is its own.")
@click.option("--integration", "integrationId", metavar="ID", help="An integration, and what belongs to it.")
@click.option("--key", "keyId", type=KEY_ID, help="One key.")
@remote
def changes(client: Client, out: Output, since: str, until: str | None, **filters: Any) -> None:
    """Compare two moments: what began, changed and ended between them, field by field."""
    for view in client.pages("/api/v1/audit/changes", None, **{"from": since, "to": until, **filters}):
        if out.as_json:
            out.data(view)
        else:
            _tell(out, view)


@click.command()
@click.option("--send", metavar="TOPIC", help="Who could send on this.")
@click.option("--receive", metavar="TOPIC", help="Who could receive from this.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS))
@click.option("--partner", "partnerId", metavar="ID", help="Keys of one partner.")
@click.option("--integration", "integrationId", metavar="ID", help="Keys of one integration.")
@as_of_option
@remote
def holders(client: Client, out: Output, send: str | None, receive: str | None, **filters: Any) -> None:
    """List the keys that could do something at a moment, or can now, with all that stood above them then."""
    asked = {action: topic for action, topic in zip(EVENT_ACTIONS, (send, receive), strict=True) if topic}
    if len(asked) != 1:
        raise click.UsageError("Ask about --send or about --receive, one at a time.")
    ((action, topic),) = asked.items()
    views = [*client.pages("/api/v1/audit/holders", None, action=action, topic=topic, **filters)]
    if out.as_json:
        for view in views:
            out.data(view)
        return
    out.table(
        ["id", "name", "environment", "partner", "status", "by"],
        [
            [
                view["id"],
                view["name"],
                view["environment"],
                view["partnerId"] or "",
                status(view["status"]),
                view["pattern"],
            ]
            for view in views
        ],
    )


def _tell(out: Output, view: dict[str, Any]) -> None:
    last = view["events"][-1]
    word = Text(view["change"], style=_STYLES[view["change"]])
    out.line(word, f" {view['kind']} {view['id']}  {exact(last['time'])}  {last['type']}")
    if view["before"] is not None:
        for at, before, after in differences(view["before"], view["after"]):
            out.line("    ", Text(f"{at}: ", style="dim"), shown(before), " → ", shown(after))
