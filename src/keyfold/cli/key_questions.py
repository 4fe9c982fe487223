"""`keyfold keys verify` and `explain`: whether a key may be used, and why not."""

from datetime import datetime
from typing import Any, TextIO

import click
from rich.text import Text

from keyfold.cli.client import Client
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output, span, when
from keyfold.cli.remote import remote, the_key_in
from keyfold.cli.values import KEY_ID, MOMENT, MYSELF, rfc3339

_YES, _NO = Text("✓", style="green"), Text("✗", style="bold red")


@click.command()
@click.option("--file", type=click.File(encoding="utf-8", errors="replace"), default="-", help="Where the key is.")
@click.option("--send", metavar="TOPIC", help="Whether it may send on this.")
@click.option("--receive", metavar="TOPIC", help="Whether it may receive from this.")
@click.option("--address", help="From where it is shown.")
@remote
def verify(
    client: Client, out: Output, file: TextIO, send: str | None, receive: str | None, address: str | None
) -> None:
    """Verify the key that standard input holds, or a file: never an argument, which others could see.

    Exits with 1 when it is not valid.
    """
    key = the_key_in(file.read(), "The input")
    view = client.post(f"{PATH}/verify", {"key": key, **question(send, receive, address)})
    if out.as_json:
        out.data(view)
    else:
        _tell(out, view)
    if not view["valid"]:
        raise SystemExit(1)


@click.command()
@click.argument("key", type=KEY_ID)
@click.option("--send", metavar="TOPIC", help="Whether it may send on this.")
@click.option("--receive", metavar="TOPIC", help="Whether it may receive from this.")
@click.option("--address", help="From where it would be shown.")
@click.option("--at", type=MOMENT, help="When: -2h, 7d, 2026-11-21T08:00:00Z; now if left out.")
@remote
def explain(
    client: Client,
    out: Output,
    key: str,
    send: str | None,
    receive: str | None,
    address: str | None,
    at: datetime | None,
) -> None:
    """Say step by step why a key may be used for something, or may not."""
    key_id = client.get(f"{PATH}/{key}")["id"] if key == MYSELF else key
    asked = question(send, receive, address) | ({"at": rfc3339(at)} if at else {})
    view = client.post(f"{PATH}/explain", {"keyId": key_id, **asked})
    if out.as_json:
        out.data(view)
        return
    mark = _YES if view["valid"] else _NO
    out.line(mark, f" {view['code']}, {view['keyId']} at {when(view['at'])}")
    for step in view["steps"]:
        out.line("  ", _NO if step.get("code") else _YES, " ", Text(_place(step)), ": ", step["detail"], _code(step))
    for action, patterns in view["effective"].items():
        said = "too many patterns to bring together" if patterns is None else ", ".join(patterns) or "nothing"
        out.line(Text(f"  in all it may {action}: ", style="dim"), said)


def question(send: str | None, receive: str | None, address: str | None) -> dict[str, str]:
    """The use that is asked about, as the API takes it. Raises `click.UsageError`."""
    if send and receive:
        raise click.UsageError("Ask about --send or about --receive, one at a time.")
    asked = {"action": "send" if send else "receive" if receive else None, "topic": send or receive, "address": address}
    return {name: value for name, value in asked.items() if value}


def _tell(out: Output, view: dict[str, Any]) -> None:
    out.line(_YES if view["valid"] else _NO, f" {view['code']}")
    rest = view["remainingSeconds"]
    out.fields(
        {
            "key": view["keyId"],
            "environment": view["environment"],
            "partner": view["partnerId"],
            "by": view["rule"] and view["rule"].get("pattern"),
            "works for": None if rest is None else span(rest),
        }
    )


def _place(step: dict[str, Any]) -> str:
    of = f" {step['id']}" if step.get("id") and step["level"] != "key" else ""
    return f"{step['check']} of the {step['level']}{of}"


def _code(step: dict[str, Any]) -> Text:
    return Text(f" [{step['code']}]", style="red") if step.get("code") else Text()
