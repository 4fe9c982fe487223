"""`migrate`: an empty database gets the schema, a current one nothing, another version's a refusal."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from conftest import Database, running_postgres
from keyfold.cli.embedded import Postgres as Server
from keyfold.store.migrate import SCHEMA, SchemaError, migrate, schema

from .support import connected, rows, value


@pytest.fixture
async def empty(postgres_server: Server) -> AsyncIterator[Database]:
    """A database without the schema, in a cluster that has the roles."""
    admin, name = postgres_server.url("postgres", "postgres"), f"empty_{secrets.token_hex(4)}"
    async with connected(admin) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    yield Database(postgres_server, name)
    async with connected(admin) as connection:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


SHAPE = """
    SELECT 'column', table_schema || '.' || table_name || '.' || column_name, data_type || is_nullable
    FROM information_schema.columns WHERE table_schema IN ('keyfold', 'projections')
    UNION ALL SELECT 'index', schemaname || '.' || indexname, indexdef FROM pg_indexes
    WHERE schemaname IN ('keyfold', 'projections')
    UNION ALL SELECT 'function', proname, proacl::text FROM pg_proc WHERE pronamespace = 'keyfold'::regnamespace
    ORDER BY 1, 2
"""


async def test_an_empty_database_gets_the_schema_and_a_second_call_changes_nothing(empty: Database) -> None:
    assert await migrate(empty.admin_url, {}) is True
    shape = await rows(empty.admin_url, SHAPE)
    assert await migrate(empty.admin_url, {}) is False
    assert await rows(empty.admin_url, SHAPE) == shape
    assert ("column", "keyfold.log.record", "jsonNO") in shape
    assert await value(empty.api_url, "SELECT count(*) FROM keyfold.log") == 0


async def test_the_schema_says_which_it_is(empty: Database) -> None:
    assert f"COMMENT ON SCHEMA keyfold IS '{SCHEMA}'" in schema()
    await migrate(empty.admin_url, {})
    assert await value(empty.admin_url, "SELECT obj_description('keyfold'::regnamespace)") == SCHEMA


async def test_another_versions_schema_is_refused_and_left_alone(empty: Database) -> None:
    await migrate(empty.admin_url, {})
    async with connected(empty.admin_url) as connection:
        await connection.execute("COMMENT ON SCHEMA keyfold IS 'keyfold schema 99'")
    with pytest.raises(SchemaError, match="keyfold schema 99"):
        await migrate(empty.admin_url, {"keyfold_api": "new"})
    assert await value(empty.admin_url, "SELECT obj_description('keyfold'::regnamespace)") == "keyfold schema 99"


async def test_two_at_once_on_one_database_make_one_schema(empty: Database) -> None:
    """And both set the passwords."""
    made = await asyncio.gather(*[migrate(empty.admin_url, {"keyfold_api": "same"}) for _ in range(3)])
    assert sorted(made) == [False, False, True]


PASSWORD = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"


async def test_the_logins_get_their_passwords_and_the_owner_gets_none(empty: Database) -> None:
    awkward = """it's "quoted" \\ and $1"""
    await migrate(empty.admin_url, {"keyfold_api": awkward, "keyfold_worker": "other"})
    first = await value(empty.admin_url, PASSWORD, "keyfold_api")
    assert first.startswith("SCRAM-SHA-256$")
    await migrate(empty.admin_url, {"keyfold_api": "changed"})
    assert await value(empty.admin_url, PASSWORD, "keyfold_api") != first
    assert await value(empty.admin_url, PASSWORD, "keyfold_owner") is None


async def test_a_failure_on_the_way_leaves_the_database_empty(empty: Database) -> None:
    with pytest.raises(Exception, match="does not exist"):
        await migrate(empty.admin_url, {"nobody_of_this_name": "x"})
    assert await value(empty.admin_url, "SELECT to_regnamespace('keyfold')") is None


def test_databases_of_one_new_cluster_are_made_at_the_same_time() -> None:
    """The roles belong to the cluster: only one of the databases makes them."""
    with running_postgres() as server:

        async def make_all() -> None:
            async with connected(server.url("postgres", "postgres")) as connection:
                for number in range(6):
                    await connection.execute(f"CREATE DATABASE d{number}")
            made = await asyncio.gather(*[migrate(server.url("postgres", f"d{n}"), {}) for n in range(6)])
            assert made == [True] * 6

        asyncio.run(make_all())
