"""`keyfold audit events`, `timeline` and `download`: the audit trail at a terminal."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
from rich.text import Text

from keyfold.cli.audit_filters import about, asked, filters
from keyfold.cli.client import Client
from keyfold.cli.downloads import Download
from keyfold.cli.output import Output, exact, printable
from keyfold.cli.remote import remote
from keyfold.domain.ids import is_id
from keyfold.domain.reading import ExportFormat

EVENTS = "/api/v1/audit/events"
STREAM = "/api/v1/audit/stream"
_STYLES = {"revoked": "red", "compromised": "bold red", "refused": "red", "suspended": "yellow", "offboarded": "red"}


@click.command()
@filters
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@click.option("--all", "everything", is_flag=True, help="Every one, however many, oldest first.")
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@remote
def events(client: Client, out: Output, limit: int, everything: bool, follow: bool, **wanted: Any) -> None:
    """List what happened, the newest last."""
    given = asked(wanted)
    if everything:
        shown = client.pages(EVENTS, None, order="asc", **given)
    else:
        shown = iter([*client.pages(EVENTS, limit, **given)][::-1])
    last = 0
    for each in _printed(out, shown):
        last = each["position"]
    if follow:
        # from the last one that was shown: between the list and the stream nothing is missed
        for _ in _printed(out, client.follow(STREAM, last, **given)):
            pass


def _printed(out: Output, shown: Iterable[Any]) -> Iterator[Any]:
    for each in shown:
        if out.as_json:
            out.data(each)
        else:
            out.line(*_line(each))
        yield each


@click.command()
@click.argument("what", metavar="ID")
@remote
def timeline(client: Client, out: Output, what: str) -> None:
    """Tell the story of a partner, a key, an integration, a link, a role, a request, an address, or operator:NAME, in
    order. Of an event (evt_…): what led to it, and what it led to."""
    story = _chain(client, out, what) if is_id("evt", what) else client.pages(EVENTS, None, order="asc", **about(what))
    depths: dict[str, int] = {}
    for each in story:
        depths[each["id"]] = depth = depths.get(each["causationId"] or "", -1) + 1
        if out.as_json:
            out.data(each)
        else:
            out.line(*_line(each, depth))
    if not depths:
        raise click.ClickException(f"Nothing is known of {what}.")


def _chain(client: Client, out: Output, event_id: str) -> Iterator[Any]:
    found = client.get(f"{EVENTS}/{event_id}")
    causes, effects = found.pop("causes")[::-1], found.pop("effects")
    if found.pop("hasMoreEffects"):
        out.note(f"These are the first {len(effects)} of what it led to: there are more.")
    return iter([*causes, found, *effects])


def _line(event: Any, depth: int = 0) -> Iterator[str | Text]:
    """One event on one line: place, time, what, on what, by whom, why."""
    kind = event["type"].rpartition(".")[0]
    yield Text(f"{event['position']:>8,}  {exact(event['time'])}  ", style="dim")
    yield "  " * depth + ("↳ " if depth else "")
    yield Text(f"{kind:<{24 - 2 * depth}}", style=_STYLES.get(kind.rpartition(".")[2], ""))
    yield f" {event['stream']}"
    actor = event["actor"]
    yield Text(f"  by {actor['kind']} ", style="dim")
    yield printable(actor["id"])
    if "address" in actor:
        yield Text(f" from {actor['address']}", style="dim")
    data = event["data"]
    why = data.get("reason") or data.get("code") or data.get("what")
    if isinstance(why, str):
        yield f": {why}"
    if isinstance(data.get("count"), int):
        yield f" ({data['count']:,} times)" if "since" in data else f" ({data['count']:,} events)"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(ExportFormat)),
    default="ndjson",
    show_default=True,
    help="`records` byte by byte as they stand in the log, `ndjson` as they are listed; for SIEMs `ocsf` and `ecs`.",
)
@click.option("--after", type=click.IntRange(0), default=None, help="Begin behind this position.")
@filters
@remote
def download(client: Client, out: Output, file: Path, format_: str, after: int | None, **wanted: Any) -> None:
    """Write the trail to a file, a line for each event. A file that is there already is gone on with, behind its last
    whole line; Ctrl-C leaves what is whole."""
    download_into(client, out, file, format_, after, asked(wanted))


def download_into(
    client: Client, out: Output, file: Path, format_: str, after: int | None, wanted: dict[str, Any]
) -> None:
    this = Download(file, format_, after)
    if this.is_resumed:
        out.note(f"{file} goes on behind position {this.after:,}.")
    with out.progress() as bar:
        task = bar.add_task("events", total=None)

        def progress(at: int, until: int) -> None:
            bar.update(task, completed=at - this.after, total=max(until - this.after, 1))

        try:
            written = this.run(client, wanted, progress)
        except KeyboardInterrupt:
            raise click.ClickException(
                f"{file} is whole up to position {this.last:,}. Run it again to go on."
            ) from None
    if out.as_json:
        out.data({"file": str(file), "events": written, "position": this.last})
    else:
        out.line(f"{written:,} events in {file}, up to position {this.last:,}.")
