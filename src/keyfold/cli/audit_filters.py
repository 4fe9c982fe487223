"""What of the audit trail is meant: the options that `keyfold audit events` and `download` share."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from keyfold.cli.values import MOMENT, rfc3339
from keyfold.domain.ids import is_id
from keyfold.domain.permissions import ENVIRONMENTS

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class MomentOrPosition(click.ParamType[str]):
    """What `Moment` takes, or a position of the log."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) if str(value).isdecimal() else rfc3339(MOMENT.convert(value, param, ctx))


_OPTIONS: tuple[Decorator, ...] = (
    click.option("--partner", "partnerId", metavar="ID", help="What happened to one partner, its links and keys."),
    click.option("--key", "keyId", metavar="ID", help="What happened to one key."),
    click.option("--integration", "integrationId", metavar="ID"),
    click.option("--resource", "resourceId", metavar="ID", help="What happened to one thing of any kind."),
    click.option("--environment", type=click.Choice(ENVIRONMENTS)),
    click.option("--actor", "actorId", metavar="ID", help="What a key, a session or a rule did."),
    click.option("--operator", metavar="NAME", help="What somebody did at the machine."),
    click.option("--address", metavar="ADDRESS", help="What came from an address, or a network as 10.0.0.0/8."),
    click.option("--correlation", "correlationId", metavar="ID", help="What one request did."),
    click.option("--causation", "causationId", metavar="ID", help="What one event made happen at once."),
    click.option("--type", metavar="TYPE", help="key.revoked.v1, key.revoked, key. or several with commas between."),
    click.option("--since", type=MOMENT, help="-2h, or 2026-01-31T00:00:00Z."),
    click.option("--until", type=MomentOrPosition(), help="A time, which isn't included, or a position, which is."),
)
_BY_PREFIX = {"prt": "partnerId", "key": "keyId", "int": "integrationId", "req": "correlationId"}
_THINGS = ("ws", "lnk", "rol", "top", "pse", "sgn", "cns", "att", "rea", "exp")


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(wanted: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the API takes it."""
    given = {name: rfc3339(v) if isinstance(v, datetime) else v for name, v in wanted.items() if v is not None}
    if (operator := given.pop("operator", None)) is not None:
        given |= {"actorKind": "operator", "actorId": operator}
    return given


def about(this: str) -> dict[str, str]:
    """The filter that an id means by itself; what is none is an address, or the id that a client gave a request."""
    if this.startswith("operator:"):
        return {"actorKind": "operator", "actorId": this.removeprefix("operator:")}
    prefix = this.partition("_")[0]
    if is_id(prefix, this) and prefix in _BY_PREFIX:
        return {_BY_PREFIX[prefix]: this}
    if is_id(prefix, this) and prefix in _THINGS:
        return {"resourceId": this}
    if this.replace("/", "").replace(".", "").replace(":", "").isalnum() and ("." in this or ":" in this):
        return {"address": this}
    return {"correlationId": this}
