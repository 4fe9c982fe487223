"""The hot queries use their indexes: by EXPLAIN, on tables with enough rows, with the planner free to choose."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from conftest import Database
from keyfold.store.lists import Lists
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

from .support import connected

NOW = datetime.now(UTC)
FILL = """
SET ROLE keyfold_owner;
INSERT INTO keyfold.log SELECT n, 'key_' || n / 4, n % 4 + 1, '{"some":"thing"}' FROM generate_series(1, 20000) n;
INSERT INTO keyfold.key_secrets SELECT 'key_' || n, 1, decode(repeat('00', 32), 'hex') FROM generate_series(1, 5000) n;
INSERT INTO keyfold.replays
    SELECT int4send(n), '', '', n, now() - n * interval '10 seconds' FROM generate_series(1, 9000) n;
INSERT INTO keyfold.key_usage SELECT 'key_' || n / 4, 'valid', n, 1, now() FROM generate_series(1, 20000) n;
SET ROLE keyfold_worker;
INSERT INTO projections.integrations
    SELECT 'int_' || n, 'ws_' || n % 50, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.partners
    SELECT 'prt_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'invited', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.links
    SELECT 'lnk_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'prt_' || n / 2, 'open', 1, '{}'
    FROM generate_series(1, 8000) n;
INSERT INTO projections.keys
    SELECT 'key_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'prt_' || n / 3, 'service', 'dev', NULL, 'active', NULL, '',
           NULL, now() + n * interval '1 hour', NULL, false, now() - n * interval '1 hour',
           CASE WHEN n % 9 = 0 THEN 86400 END, now() + (n - 100) * interval '1 hour', 1, '{}'
    FROM generate_series(1, 9000) n;
INSERT INTO projections.roles SELECT 'rol_' || n, 'ws_' || n % 50, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.topics
    SELECT 'top_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.audit
    SELECT n, 'ws_' || n % 200, 'key.issued.v1', 'key_' || n, now(), 'key', 'key_' || n / 5, NULL, 'req_' || n, 'int_1',
           'prt_' || n / 3, 'key_' || n
    FROM generate_series(1, 20000) n;
RESET ROLE;
ANALYZE;
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def scans(plan: dict[str, Any]) -> set[str]:
    """`Index Scan log_pkey`, `Seq Scan log`, `Sort` …"""
    found = set()
    for node in nodes(plan):
        kind = node["Node Type"]
        if "Scan" in kind and kind not in ("Function Scan", "Subquery Scan"):
            found.add(f"{kind} {node.get('Index Name') or node['Relation Name']}".replace("Only ", ""))
        elif "Sort" in kind:
            found.add(kind)
    return found


@pytest.fixture
async def full(database: Database) -> Database:
    async with connected(database.admin_url) as connection:
        await connection.execute(FILL)
    return database


async def generic_plan(connection: asyncpg.Connection, statement: str, arguments: int) -> set[str]:
    """The plan that a prepared statement ends up with, whatever its arguments."""
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE p AS {statement}")
    nulls = f"({', '.join(['NULL'] * arguments)})" if arguments else ""
    found = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE p{nulls}")
    await connection.execute("DEALLOCATE p")
    return scans(json.loads(found)[0]["Plan"])


API = [
    ("load", 2, "log_stream_version_key"),
    ("read_after", 2, "log_pkey"),
    ("digests", 1, "key_secrets_pkey"),
    ("replay", 1, "replays_pkey"),
    ("head", 0, "log_pkey"),
    ("moved_after", 2, "log_pkey"),
    ("usage_of", 1, "key_usage_pkey"),
]
WORKER = [("due_keys", 4, "keys_due"), ("idle_keys", 4, "keys_idle"), ("idle_keys", 4, "key_usage_pkey")]


async def test_the_hot_statements_of_the_store_use_their_indexes(full: Database) -> None:
    async with connected(full.api_url) as connection:
        for name, arguments, index in API:
            plan = await generic_plan(connection, query(name), arguments)
            assert_uses(plan, index)
            assert name == "load" or "Sort" not in plan, name  # what `load` sorts are the few rows that it gives


async def test_the_schedules_read_what_they_look_for_from_an_index_in_its_order(full: Database) -> None:
    async with connected(full.worker_url) as connection:
        for name, arguments, index in WORKER:
            plan = await generic_plan(connection, query(name), arguments)
            assert_uses(plan, index)
            assert not any("Sort" in each for each in plan), plan


async def test_forgetting_old_answers_reads_only_old_answers(full: Database) -> None:
    async with connected(full.worker_url) as connection:
        (plan,) = json.loads(await connection.fetchval("EXPLAIN (FORMAT JSON) " + query("forget_replays")))
    assert "Seq Scan replays" not in scans(plan["Plan"])


class Explaining(Postgres):
    """Instead of fetching, notes how that would be done, with the planner's own preferences."""

    plans: list[set[str]]

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with connected(self.url, search_path="keyfold") as connection:
            (plan,) = json.loads(await connection.fetchval("EXPLAIN (FORMAT JSON) " + statement, *arguments))
            self.plans.append(scans(plan["Plan"]))
        return []


def explaining(database: Database) -> Explaining:
    this = Explaining(database.api_url, name="plans")
    this.plans = []
    return this


PAGES: list[tuple[str, dict[str, object], str | None, str]] = [
    ("int", {}, None, "integrations_workspace"),
    ("prt", {}, None, "partners_workspace"),
    ("prt", {}, "invited", "partners_workspace"),
    ("prt", {"integration_id = $?": "int_7"}, None, "partners_(integration|workspace)"),
    ("lnk", {}, None, "links_workspace"),
    ("lnk", {"partner_id = $?": "prt_7"}, None, "links_partner"),
    ("key", {}, None, "keys_workspace"),
    ("key", {}, "revoked", "keys_workspace"),
    ("key", {"partner_id = $?": "prt_7"}, None, "keys_partner"),
    ("rol", {}, None, "roles_workspace"),
    ("top", {"integration_id = $?": "int_7"}, "active", "topics_integration"),
]


async def test_a_page_of_a_list_is_read_from_an_index(full: Database) -> None:
    """The first page and those behind a cursor."""
    postgres = explaining(full)
    for prefix, filters, status, index in PAGES:
        for cursor in (None, f"{prefix}_5"):
            await Lists(postgres).page(prefix, "ws_7", filters, status=status, now=NOW, cursor=cursor, limit=50)
            assert_uses(postgres.plans.pop(), index)


AUDIT: list[tuple[dict[str, object], str]] = [
    ({}, "audit_workspace"),
    ({"partner_id = $?": "prt_70"}, "audit_partner"),
    ({"key_id = $?": "key_70"}, "audit_key"),
    ({"actor_id = $?": "key_70"}, "audit_actor"),
    ({"correlation_id = $?": "req_70"}, "audit_correlation"),
    ({"type = $?": "key.issued.v1"}, "audit_workspace"),
    ({"position > $?": 100, "position < $? ": 300}, "audit_(workspace|pkey)"),
]


async def test_a_page_of_the_audit_trail_is_read_from_an_index_whichever_way(full: Database) -> None:
    postgres = explaining(full)
    for filters, index in AUDIT:
        for ascending in (True, False):
            await Lists(postgres).audit("ws_7", filters, ascending=ascending, cursor=None, limit=50)
            plan = postgres.plans.pop()
            assert_uses(plan, index)
            assert "Index Scan log_pkey" in plan, plan


def assert_uses(plan: set[str], index: str) -> None:
    assert not any(each.startswith("Seq Scan") for each in plan), plan
    assert any(re.search(rf"Index.* {index}$", each) for each in plan), (index, plan)
