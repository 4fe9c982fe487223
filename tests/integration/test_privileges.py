"""Least privilege: what each login may do, all of it, as a table. Whatever is new has to be added here."""

import asyncpg
import pytest

from conftest import Database

from .support import connected, rows, value

R, ALL = {"SELECT"}, {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}
PROJECTIONS = [
    "audit",
    "cursors",
    "integrations",
    "keys",
    "links",
    "loops",
    "partners",
    "roles",
    "things",
    "topics",
    "versions",
]
TREE = ["keyfold.tiles", "keyfold.checkpoints", "keyfold.cosignatures", "keyfold.log_keys"]
MAY: dict[str, dict[str, set[str]]] = {
    "keyfold_api": {
        "keyfold.log": R,
        **dict.fromkeys(TREE, R),
        "keyfold.tree": set(),
        "keyfold.key_secrets": R,
        "keyfold.replays": R,
        "keyfold.data_keys": R,
        "keyfold.erased": R,
        "keyfold.key_usage": R,
        "keyfold.key_addresses": R,
        "keyfold.event_usage": R,
        "keyfold.event_usage_batches": set(),
        "keyfold.consumer_samples": set(),
        **{f"projections.{table}": R for table in PROJECTIONS},
    },
    "keyfold_worker": {
        "keyfold.log": R,
        **dict.fromkeys(TREE, R),
        "keyfold.tree": R,
        "keyfold.key_secrets": set(),
        "keyfold.replays": {"DELETE"},
        "keyfold.data_keys": R,
        "keyfold.erased": R,
        "keyfold.key_usage": R,
        "keyfold.key_addresses": set(),
        "keyfold.event_usage": set(),
        "keyfold.event_usage_batches": set(),
        "keyfold.consumer_samples": set(),
        **{f"projections.{table}": ALL for table in PROJECTIONS},
    },
}
LOGINS = list(MAY)
TABLES = """
    SELECT n.nspname || '.' || c.relname, p.name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN (SELECT unnest($2::text[])) AS p (name) ON has_table_privilege($1, c.oid, p.name)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_|^information_schema$'
"""


@pytest.mark.parametrize("login", LOGINS)
async def test_a_login_may_do_to_each_table_this_and_nothing_more(database: Database, login: str) -> None:
    found: dict[str, set[str]] = {}
    for table, privilege in await rows(database.admin_url, TABLES, login, sorted(ALL)):
        found.setdefault(table, set()).update({privilege} - {None})
    assert found == MAY[login]


COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'keyfold.replays'::regclass AND attnum > 0 AND has_column_privilege($1, attrelid, attname, $2)
"""


async def test_the_worker_sees_of_the_stored_answers_how_old_they_are_and_nothing_else(database: Database) -> None:
    assert await rows(database.admin_url, COLUMNS, "keyfold_worker", "SELECT") == [("created_at",)]
    assert await rows(database.admin_url, COLUMNS, "keyfold_worker", "UPDATE") == []
    assert await rows(database.admin_url, COLUMNS, "keyfold_api", "UPDATE") == []


FUNCTIONS = """
    SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_|^information_schema$' AND has_function_privilege($1, p.oid, 'EXECUTE') ORDER BY 1
"""


@pytest.mark.parametrize("login", LOGINS)
async def test_a_login_may_call_these_functions_and_no_others(database: Database, login: str) -> None:
    """refuse_change is a trigger's: it can't be called."""
    expected = {
        "keyfold_api": ["append", "note_usage", "refuse_change"],
        "keyfold_worker": [
            "add_log_key",
            "age_event_usage",
            "append",
            "cosign",
            "forget_addresses",
            "grow_tree",
            "note_consumers",
            "note_event_usage",
            "refuse_change",
        ],
    }
    assert [name for (name,) in await rows(database.admin_url, FUNCTIONS, login)] == expected[login]


UNPINNED = """
    SELECT proname FROM pg_proc
    WHERE pronamespace = 'keyfold'::regnamespace AND prosecdef
    AND array_position(proconfig, 'search_path=pg_catalog, pg_temp') IS NULL
"""


async def test_what_runs_as_the_owner_looks_for_names_nowhere_that_a_caller_could_put_them(database: Database) -> None:
    assert await rows(database.admin_url, UNPINNED) == []


SCHEMAS = """
    SELECT nspname, has_schema_privilege($1, oid, 'USAGE'), has_schema_privilege($1, oid, 'CREATE')
    FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$' ORDER BY 1
"""


@pytest.mark.parametrize("login", LOGINS)
async def test_a_login_may_make_things_only_where_it_builds_projections(database: Database, login: str) -> None:
    worker = login == "keyfold_worker"
    assert await rows(database.admin_url, SCHEMAS, login) == [
        ("keyfold", True, False),
        ("projections", True, worker),
        ("projections_next", worker, worker),
        ("public", True, False),
    ]


@pytest.mark.parametrize("role", [*LOGINS, "keyfold_owner"])
async def test_no_role_is_more_than_an_ordinary_one(database: Database, role: str) -> None:
    powers = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
    (found,) = await rows(database.admin_url, f"SELECT {powers} FROM pg_roles WHERE rolname = $1", role)
    assert found == (False, False, False, False, False, role != "keyfold_owner")
    memberships = "SELECT count(*) FROM pg_auth_members WHERE $1::text::regrole IN (member, roleid)"
    assert await value(database.admin_url, memberships, role) == 0


async def test_what_the_api_reads_stays_readable_however_the_worker_makes_it(database: Database) -> None:
    """A table that the worker creates in either schema of projections can be read by the API at once."""
    async with connected(database.worker_url) as worker:
        await worker.execute("CREATE TABLE projections.fresh (); CREATE TABLE projections_next.later ()")
        await worker.execute("ALTER TABLE projections_next.later SET SCHEMA projections")
    async with connected(database.api_url) as api:
        assert await api.fetch("SELECT FROM projections.fresh") == []
        assert await api.fetch("SELECT FROM projections.later") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await api.execute("INSERT INTO projections.fresh DEFAULT VALUES")
