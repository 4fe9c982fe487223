"""`keyfold audit …`: the history at a terminal. Each part adds its commands."""

import click

from keyfold.cli.audit_history import changes, holders
from keyfold.cli.audit_proof import export, keygen, prove, verify
from keyfold.cli.audit_trail import download, events, timeline


@click.group()
def audit() -> None:
    """What happened: what it changed, and who could do what when."""


for command in (events, timeline, changes, holders, download, export, verify, prove, keygen):
    audit.add_command(command)
