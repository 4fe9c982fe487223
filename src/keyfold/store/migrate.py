"""Applies `schema.sql` to an empty database, and gives the two logins their passwords."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import asyncpg

SCHEMA = "keyfold schema 1"
"""The comment that `schema.sql` leaves on its schema: which shape the database has."""


class SchemaError(Exception):
    """The database holds another version's schema."""


def schema() -> str:
    """The text of `schema.sql`: at the top of a checkout, inside the package once installed."""
    packaged = files("keyfold") / "schema.sql"
    return packaged.read_text() if packaged.is_file() else (Path(__file__).parents[3] / "schema.sql").read_text()


async def migrate(admin_url: str, logins: Mapping[str, str]) -> bool:
    """Brings the database to `SCHEMA` and sets the passwords in `logins` (role → password). Whether it was empty."""
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('keyfold migrate'))")
            found = await connection.fetchval("SELECT obj_description(to_regnamespace('keyfold'), 'pg_namespace')")
            if found is None:
                await connection.execute(schema())
            elif found != SCHEMA:
                raise SchemaError(f"The database has {found!r}, this version of Keyfold needs {SCHEMA!r}.")
            for role, password in logins.items():
                quoted = await connection.fetchval(
                    "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, password
                )
                await connection.execute(quoted)
    finally:
        await connection.close()
    return found is None
