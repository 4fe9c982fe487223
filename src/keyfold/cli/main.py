"""The command `keyfold`. Each subcommand is imported when it runs, so that help and servers start at once."""

import importlib
from typing import Any

import click

from keyfold import __version__
from keyfold.settings import SettingsError

COMMANDS = {
    "up": ("keyfold.cli.up:up", "Run everything on this machine, until Ctrl-C."),
    "console": ("keyfold.cli.console:console", "Print a link that signs in to the console."),
    "demo": ("keyfold.cli.demo:demo", "Walk a partner's whole journey on the running system."),
    "api": ("keyfold.cli.serve:api", "Serve the HTTP API."),
    "worker": ("keyfold.cli.serve:worker", "Run relay, projections and housekeeping."),
    "migrate": ("keyfold.cli.migrate:migrate", "Apply the schema to a database."),
    "nats": ("keyfold.cli.nats:nats", "Configure your own NATS servers."),
    "projections": ("keyfold.cli.projections:projections", "Look at, rebuild and verify the projections."),
    "workspaces": ("keyfold.cli.workspaces:workspaces", "Found workspaces."),
    "keys": ("keyfold.cli.keys:keys", "Look after access keys."),
    "erase": ("keyfold.cli.erase:erase", "Erase what is personal about somebody."),
    "replay": ("keyfold.cli.replay:replay", "Replay the log into fresh projections, and compare."),
    "audit": ("keyfold.cli.audit:audit", "Look into what happened, and prove it."),
}


class Failure(click.ClickException):
    """One line, `keyfold: …`, and no traceback."""

    def show(self, file: Any = None) -> None:
        click.echo(f"keyfold: {self.message}", file=file, err=file is None)


class SettingsFailure(Failure):
    exit_code = 2


class FileFailure(Failure):
    """A file that can't be read or written: nothing is said of what would have been in it."""

    exit_code = 2


class LazyGroup(click.Group):
    """Knows names and one-line descriptions; the rest of a command is in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, description) for name, (_, description) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError:
            raise  # says how to use the command as well
        except click.ClickException as error:
            raise Failure(error.message) from error
        except OSError as error:
            if error.filename is None:  # of something else than a file
                raise
            raise FileFailure(f"{error.filename}: {error.strerror}.") from error
        except SettingsError as error:
            raise SettingsFailure(str(error)) from error


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keyfold")
def main() -> None:
    """Onboard partners to an event platform, and look after their keys. Begin with: keyfold up"""
