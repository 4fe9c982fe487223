"""`keyfold keys …`: access keys at a terminal, by the same HTTP that anybody has."""

import click

from keyfold.cli.key_bulk import bulk
from keyfold.cli.key_change import change, promote
from keyfold.cli.key_issue import delegate, issue
from keyfold.cli.key_life import compromise, reinstate, revoke, suspend
from keyfold.cli.key_list import list_keys, show, usage
from keyfold.cli.key_questions import explain, verify
from keyfold.cli.key_rotate import rotate

COMMANDS = (
    list_keys,
    show,
    usage,
    issue,
    delegate,
    change,
    promote,
    rotate,
    suspend,
    reinstate,
    revoke,
    compromise,
    verify,
    explain,
    bulk,
)


class InOrder(click.Group):
    """Lists its commands in the order of a key's life."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands]


@click.group(cls=InOrder)
def keys() -> None:
    """Access keys: issued, read, changed, rotated, ended.

    Set KEYFOLD_URL and KEYFOLD_KEY to speak to a system. On the machine itself neither is needed: a command without a
    key acts as the operator.
    """


for command in COMMANDS:
    keys.add_command(command)
