"""`keyfold keys bulk`: one action on every key that matches."""

from datetime import timedelta
from typing import Any

import click
from rich.text import Text

from keyfold.cli.client import Client
from keyfold.cli.key_filters import SHARED, asked, filters
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output
from keyfold.cli.remote import remote
from keyfold.cli.values import DURATION

_STYLES = {"done": "green", "would": "yellow", "unchanged": "dim", "refused": "red"}


@click.group()
def bulk() -> None:
    """Do something to every key that matches. Without --yes it says what would be done."""


yes_option = click.option("--yes", is_flag=True, help="Do it.")
reason_option = click.option("--reason", required=True, help="Kept in the audit trail.")


@bulk.command()
@filters(SHARED)
@reason_option
@yes_option
@remote
def revoke(client: Client, out: Output, reason: str, yes: bool, **wanted: Any) -> None:
    """Revoke them, for good."""
    carry_out(client, out, {"action": "revoke", "reason": reason}, wanted, yes=yes)


@bulk.command()
@filters(SHARED)
@reason_option
@yes_option
@remote
def suspend(client: Client, out: Output, reason: str, yes: bool, **wanted: Any) -> None:
    """Suspend them."""
    carry_out(client, out, {"action": "suspend", "reason": reason}, wanted, yes=yes)


@bulk.command()
@filters(SHARED)
@yes_option
@remote
def reinstate(client: Client, out: Output, yes: bool, **wanted: Any) -> None:
    """End their suspension."""
    carry_out(client, out, {"action": "reinstate"}, wanted, yes=yes)


@bulk.command()
@filters(SHARED)
@click.option("--overlap", type=DURATION, help="How long the old keys go on: 24h; the policy's if left out.")
@click.option("--starts", type=click.Choice(["now", "first-use"]), help="When the overlap begins.")
@yes_option
@remote
def rotate(
    client: Client, out: Output, overlap: timedelta | None, starts: str | None, yes: bool, **wanted: Any
) -> None:
    """Give each a successor, whose secret is shown this once: keep the output."""
    order: dict[str, Any] = {"action": "rotate"} | ({"overlapStarts": starts} if starts else {})
    if overlap is not None:
        order["overlapSeconds"] = int(overlap.total_seconds())
    carry_out(client, out, order, wanted, yes=yes)


def carry_out(client: Client, out: Output, order: dict[str, Any], wanted: dict[str, Any], *, yes: bool) -> None:
    """Shows each key as it comes, and the sum. Ctrl-C stops it: what is done by then stays done."""
    body = {**order, "filter": asked(wanted), "dryRun": not yes}
    came, matched = 0, 0
    try:
        with out.progress() as progress:
            task = progress.add_task(order["action"], total=None)
            for line in client.stream(f"{PATH}/bulk", body):
                if "outcome" in line:
                    came += 1
                    _show(out, line)
                    progress.update(task, advance=1)
                elif "dryRun" in line:
                    _sum(out, line)
                else:
                    matched = line["matched"]
                    progress.update(task, total=matched)
    except KeyboardInterrupt:
        raise click.ClickException(
            f"Stopped after {came} of {matched} keys. A few more may have been under way: run it again for the rest."
        ) from None
    if not yes:
        out.note("Nothing was done. Add --yes to do it.")


def _show(out: Output, line: dict[str, Any]) -> None:
    if out.as_json:
        out.data(line)
        return
    outcome, successor = line["outcome"], line.get("successor")
    code = f" ({line['code']})" if "code" in line else ""
    out.line(f"{line['id']}  ", Text(f"{outcome:<9}", style=_STYLES[outcome]), f"  {line['name']}{code}")
    if successor:
        out.line(f"  followed by {successor['id']}: {successor['secret']}")


def _sum(out: Output, line: dict[str, Any]) -> None:
    if out.as_json:
        out.data(line)
        return
    would = line["matched"] - line["unchanged"] - line["refused"]
    done = f"{would} would be done" if line["dryRun"] else f"{line['done']} done"
    said = f"{line['matched']} match: {done}, {line['unchanged']} unchanged, {line['refused']} refused."
    out.line(Text(said, style="bold"), Text(f" Correlation id {line['correlationId']}", style="dim"))
