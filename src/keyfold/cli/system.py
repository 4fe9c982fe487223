"""Which running system a command is about: the one of a data folder, or the one that the settings name."""

import os
from pathlib import Path

import click
import msgspec

from keyfold.app.sealing import Sealing
from keyfold.settings import Settings, read_settings
from keyfold.store.data_keys import Opener

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data folder of `keyfold up`; without it the KEYFOLD_… variables count, then the default folder.",
)


class System(msgspec.Struct, frozen=True):
    """`worker` are the settings under the worker's login, which owns the projections."""

    url: str
    api: Settings
    worker: Settings


def opener_of(settings: Settings) -> Opener:
    """Opens what is personal in records, with the peppers that the settings have."""
    return Opener(Sealing(settings.peppers, os.urandom))


def find_system(data: Path | None) -> System:
    """Raises `click.ClickException`, saying how to start one, when none runs."""
    if data is None and "KEYFOLD_DATABASE_URL" in os.environ:
        api = read_settings(os.environ)
        worker = msgspec.structs.replace(api, database_url=api.worker_database_url or api.database_url)
        return System(api.public_url, api, worker)
    from keyfold.cli.up import default_folder, running  # noqa: PLC0415  # of the extra `embedded`

    folder = data or default_folder()
    found = running(folder)
    if found is None:
        hint = f" --data {data}" if data else ""
        raise click.ClickException(f"Nothing runs in {folder}. Start it in another terminal with: keyfold up{hint}")
    return System(found["url"], read_settings(found["api"]), read_settings(found["worker"]))
