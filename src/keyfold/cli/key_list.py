"""`keyfold keys list`, `show` and `usage`."""

from collections.abc import Iterator
from typing import Any

import click
from rich.text import Text

from keyfold.cli.client import Client
from keyfold.cli.key_filters import LISTED, asked, filters
from keyfold.cli.output import Output, exact, printable, relative, shown, status, when
from keyfold.cli.remote import remote
from keyfold.cli.values import AS_OF, KEY_ID

PATH = "/api/v1/keys"
as_of_option = click.option(
    "--as-of", "asOf", type=AS_OF, help="As it was: -2h, 2026-11-21T08:00:00Z, or a position of the log."
)


@click.command(name="list")
@filters(LISTED)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@click.option("--all", "everything", is_flag=True, help="Every one, however many.")
@as_of_option
@remote
def list_keys(client: Client, out: Output, limit: int, everything: bool, **wanted: Any) -> None:
    """List keys, newest first."""
    found = client.pages(PATH, None if everything else limit + 1, **asked(wanted))
    views: list[dict[str, Any]] = []
    for view in found:
        if not everything and len(views) == limit:
            out.note(f"There are more than {limit}: give --all, a greater --limit, or a filter.")
            break
        views.append(view)
        if out.as_json:
            out.data(view)
    if not out.as_json:
        table(out, views)


def table(out: Output, views: list[dict[str, Any]]) -> None:
    out.table(
        ["id", "name", "environment", "status", "last used", "expires"],
        [
            [
                view["id"],
                view["name"],
                view["environment"] or view["kind"],
                status(view["status"]),
                relative(view["lastUsedAt"], "never"),
                relative(view["expiresAt"], "never"),
            ]
            for view in views
        ],
    )


@click.command()
@click.argument("key", type=KEY_ID)
@as_of_option
@remote
def show(client: Client, out: Output, key: str, **asked: Any) -> None:
    """Show one key; `self` is the one that asks."""
    view = client.get(f"{PATH}/{key}", **asked)
    if out.as_json:
        out.data(view)
    else:
        describe(out, view)


def describe(out: Output, view: dict[str, Any]) -> None:
    """A key, for people."""
    permitted = view["permitted"]
    out.fields(
        {
            "key": view["id"],
            "name": view["name"],
            "purpose": view["purpose"],
            "tags": ", ".join(view["tags"]),
            "kind": view["kind"],
            "role": view["role"],
            "conditions": shown(view["conditions"]) if view["conditions"] else None,
            "integration": view["integrationId"],
            "partner": view["partnerId"],
            "environment": view["environment"],
            "status": Text.assemble(status(view["status"]), _why(view)),
            "issued": when(view["issuedAt"]),
            "not before": when(view["notBefore"]),
            "expires": when(view["expiresAt"]) or "never",
            "last used": when(view["lastUsedAt"]) or "never",
            "retired": when(view["retiresAt"]) if view["status"] == "retired" else None,
            "rotation due": when(view["rotationDueAt"]),
            "delegated by": view["parentId"],
            "follows": view["predecessorId"],
            "followed by": view["successorId"],
            "networks": ", ".join(view["sourceNetworks"]) or "any",
            "may": ", ".join(permitted) if view["kind"] == "service" else None,
            **{f"  {action}": shown(_section(view, action)) for action in permitted if _section(view, action)},
        }
    )


@click.command()
@click.argument("key", type=KEY_ID)
@remote
def usage(client: Client, out: Output, key: str) -> None:
    """Show how often a key was used, and with what outcome; and what it did with events in the last 24 hours."""
    view = client.get(f"{PATH}/{key}/usage")
    events = client.get(f"{PATH}/{key}/events-usage")
    if out.as_json:
        out.data({**view, "events": events})
        return
    out.fields({"last used": when(view["lastUsedAt"]) or "never"})
    out.fields({f"to {action}": when(at) for action, at in sorted(view["lastUsedByAction"].items()) if action})
    if view["counts"]:
        out.table(["outcome", "times"], [[code, f"{count:,}"] for code, count in sorted(view["counts"].items())])
    if events["totals"]:
        out.table(["events, 24h", "times", "bytes", "half within", "99% within"], [*_events(events)])


def _events(view: dict[str, Any]) -> Iterator[list[str]]:
    """A line for each outcome."""
    for outcome, total in sorted(view["totals"].items()):
        latency = view["latency"]["byOutcome"].get(outcome, {})
        times = [f"{latency[each] * 1000:g} ms" if latency.get(each) else "" for each in ("p50", "p99")]
        yield [outcome, f"{total['count']:,}", f"{total['bytes']:,}", *times]


def _why(view: dict[str, Any]) -> Text:
    """What a status is followed by: since or until when, and the reason."""
    reason = view["suspendedReason"] or view["revokedReason"]
    since = view["suspendedAt"] or view["revokedAt"]
    if since:
        return Text.assemble(f" since {exact(since)}", ": " if reason else "", printable(reason or ""))
    if view["status"] == "retiring":
        return Text(f" until {when(view['retiresAt'])}" if view["retiresAt"] else " once its successor is used")
    return Text()


def _section(view: dict[str, Any], action: str) -> Any:
    section = (view["options"] or {}).get(action) or {}
    return section["topics"] if section.keys() == {"topics"} else section
