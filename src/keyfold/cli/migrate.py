"""`keyfold migrate`: the schema into a database, and the passwords onto its two logins."""

import asyncio
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import asyncpg
import click

from keyfold.settings import SettingsError
from keyfold.store.migrate import SCHEMA, SchemaError
from keyfold.store.migrate import migrate as bring_up

_LOGINS = {"KEYFOLD_DATABASE_URL": "keyfold_api", "KEYFOLD_WORKER_DATABASE_URL": "keyfold_worker"}


@click.command()
def migrate() -> None:
    """Apply the schema to the database of KEYFOLD_ADMIN_DATABASE_URL, as a superuser. Safe to repeat.

    The logins keyfold_api and keyfold_worker get the passwords that KEYFOLD_DATABASE_URL and
    KEYFOLD_WORKER_DATABASE_URL name for them.
    """
    admin = os.environ.get("KEYFOLD_ADMIN_DATABASE_URL")
    if not admin:
        raise SettingsError("KEYFOLD_ADMIN_DATABASE_URL is not set: migrating takes a superuser of the database.")
    try:
        was_empty = asyncio.run(bring_up(admin, logins_of(os.environ)))
    except (SchemaError, OSError, asyncpg.PostgresError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{SCHEMA}: {'applied' if was_empty else 'was there already'}")


def logins_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The passwords that the two addresses name for their logins. Raises `SettingsError`."""
    logins = {}
    for name, role in _LOGINS.items():
        address = urlsplit(environment.get(name, ""))
        if address.password:
            if address.username != role:
                raise SettingsError(f"{name} must log in as {role}, the login that has the rights for it.")
            logins[role] = unquote(address.password)
    return logins
