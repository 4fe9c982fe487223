"""Which keys: the filters of `keyfold keys list`, and those of them that `keyfold keys bulk` takes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, get_args

import click

from keyfold.cli.values import DURATION, MOMENT, rfc3339
from keyfold.domain.key_events import KeyKind
from keyfold.domain.key_state import KeyStatus
from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.domain.rule import ACTIONS

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_DAY = timedelta(days=1)


SHARED: tuple[Decorator, ...] = (
    click.option("--status", type=click.Choice(get_args(KeyStatus))),
    click.option("--kind", type=click.Choice(get_args(KeyKind))),
    click.option("--environment", type=click.Choice(ENVIRONMENTS)),
    click.option("--integration", "integrationId", metavar="ID", help="Those of one integration."),
    click.option("--partner", "partnerId", metavar="ID", help="Those of one partner."),
    click.option("--parent", "parentId", metavar="ID", help="Those handed on from one key."),
    click.option("--tag", help="Those with this tag."),
    click.option("--named", "q", metavar="TEXT", help="Those with this in their name."),
    click.option("--issued-before", "issuedBefore", type=MOMENT, help="-90d, or 2026-01-31T00:00:00Z."),
    click.option("--idle", "idleDays", type=DURATION, help="Not used for so long, in whole days: 90d."),
)
LISTED: tuple[Decorator, ...] = (
    *SHARED,
    click.option("--role", help="Account keys with this role."),
    click.option("--expires-within", "expiresWithinDays", type=DURATION, help="Those that end by then: 30d."),
    click.option("--rotation-due-within", "rotationDueWithinDays", type=DURATION, help="Those to be rotated by then."),
    click.option(
        "--over-wide", "overWideDays", type=DURATION, help="May send or receive, and for so long didn't: 90d."
    ),
    click.option("--may", "action", type=click.Choice(ACTIONS), help="Those that may do this now."),
    click.option("--topic", help="With --may: on this topic."),
)


def filters(options: tuple[Decorator, ...]) -> Decorator:
    def with_filters(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return with_filters


def asked(wanted: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the API takes it. Raises `click.UsageError`."""
    return {name: _asked(value) for name, value in wanted.items() if value is not None}


def _asked(value: Any) -> Any:
    match value:
        case timedelta():
            days, rest = divmod(value, _DAY)
            if rest or not days:
                raise click.UsageError("These filters take whole days, such as 30d.")
            return days
        case datetime():
            return rfc3339(value)
        case _:
            return value
