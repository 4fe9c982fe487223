"""`keyfold keys change` and `promote`."""

from typing import Any

import click
from rich.text import Text

from keyfold.cli.client import Client
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output, changes, shown
from keyfold.cli.remote import remote
from keyfold.cli.values import JSON_FILE, KEY_ID, MOMENT, rfc3339
from keyfold.domain.merging import merge_patch

NEVER, ANY = "never", "any"
_ACTIONS = ("send", "receive")


@click.command()
@click.argument("key", type=KEY_ID)
@click.option("--name")
@click.option("--purpose", help="'' takes it away.")
@click.option("--tag", "tags", multiple=True, help="Adds one; several times.")
@click.option("--untag", multiple=True, help="Takes one away; several times.")
@click.option("--send", multiple=True, metavar="PATTERN", help="What it may send from now on; several times.")
@click.option("--no-send", is_flag=True, help="It may not send any more.")
@click.option("--receive", multiple=True, metavar="PATTERN", help="What it may receive from now on; several times.")
@click.option("--no-receive", is_flag=True, help="It may not receive any more.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="From where alone it may be used, or any.")
@click.option("--expires", type=MOMENT, help="7d, or 2027-01-31T00:00:00Z.")
@click.option("--never-expires", is_flag=True)
@click.option("--options", type=JSON_FILE, help="A file of JSON with more `options`, merged into those there are.")
@click.option("--dry-run", is_flag=True, help="Show what would change, by what is known here, and change nothing.")
@remote
def change(client: Client, out: Output, key: str, dry_run: bool, **wanted: Any) -> None:
    """Change a key. What isn't given stays."""
    before, etag = client.read(f"{PATH}/{key}")
    patch = patch_of(before, wanted)
    if not patch:
        raise click.UsageError("Say what to change.")
    after = merge_patch(before, patch) if dry_run else client.patch(f"{PATH}/{before['id']}", patch, etag)
    if out.as_json:
        out.data(after)
    else:
        compare(out, before, after)


def patch_of(before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7396) that makes of a key what is wanted. Raises `click.UsageError`."""
    patch: dict[str, Any] = {}
    if wanted["name"] is not None:
        patch["name"] = wanted["name"]
    if wanted["purpose"] is not None:
        patch["purpose"] = wanted["purpose"] or None
    if wanted["tags"] or wanted["untag"]:
        patch["tags"] = [tag for tag in dict.fromkeys([*before["tags"], *wanted["tags"]]) if tag not in wanted["untag"]]
    if wanted["networks"]:
        patch["sourceNetworks"] = [] if ANY in wanted["networks"] else [*wanted["networks"]]
    if wanted["expires"] or wanted["never_expires"]:
        patch["expiresAt"] = None if wanted["never_expires"] else rfc3339(wanted["expires"])
    return patch | _permissions(before, wanted)


def _permissions(before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    permitted, options = [*before["permitted"]], wanted["options"] or {}
    for action in _ACTIONS:
        patterns, none = wanted[action], wanted[f"no_{action}"]
        if patterns and none:
            raise click.UsageError(f"--{action} and --no-{action} contradict each other.")
        if none and action in permitted:
            permitted.remove(action)
        if patterns:
            options = merge_patch(options, {action: {"topics": [*patterns]}})
            permitted += [action] if action not in permitted else []
    patch: dict[str, Any] = {"options": options} if options else {}
    return patch if permitted == before["permitted"] else patch | {"permitted": permitted}


@click.command()
@click.argument("key", type=KEY_ID)
@click.option("--to", "to_key", type=KEY_ID, required=True, help="A key of the same partner, in a later environment.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@remote
def promote(client: Client, out: Output, key: str, to_key: str, dry_run: bool) -> None:
    """Give what a key may do to another, from dev to stage to prod."""
    view = client.post(f"{PATH}/{key}/promote", {"toKeyId": to_key, "dryRun": dry_run})
    if out.as_json:
        out.data(view)
    else:
        compare(out, view["before"], view["after"])


def compare(out: Output, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Each place that differs: before → after."""
    found = [each for each in changes(before, after) if each[0] != "lastUsedAt"]  # which no command changes
    for place, old, new in found:
        out.line(Text(f"{place}  ", style="dim"), shown(old), Text(" → ", style="dim"), shown(new))
    if not found:
        out.line("Nothing changes.")
