"""`keyfold replay`: the whole log once more, into fresh projections, or into a file."""

from pathlib import Path

import click

from keyfold.cli.audit_trail import download_into
from keyfold.cli.output import Output
from keyfold.cli.projections import differs
from keyfold.cli.remote import connected
from keyfold.cli.system import data_option, find_system


@click.command()
@click.option(
    "--to",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead write every record of a workspace to this file, one a line, byte by byte as in the log.",
)
@click.option("--after", type=click.IntRange(0), default=None, help="With --to: begin behind this position.")
@click.option("--workspace", help="With --to: its id; the first workspace if left out.")
@click.option("--json", "as_json", is_flag=True, help="With --to: say what was written as JSON.")
@data_option
def replay(file: Path | None, after: int | None, workspace: str | None, as_json: bool, data: Path | None) -> None:
    """Replay the log from its first record into fresh projections, and compare them with the live ones, row by row.
    Nothing has to stop, and nothing is changed. Exits with 1 when they differ.
    """
    if file is None:
        if after is not None or workspace is not None or as_json:
            raise click.UsageError("--after, --workspace and --json go with --to.")
        raise SystemExit(differs(find_system(data).worker))
    with connected(data, None, None, workspace) as client:
        download_into(client, Output(as_json=as_json), file, "records", after, {})
