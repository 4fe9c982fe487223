"""The hot queries use their indexes: by EXPLAIN, on tables with enough rows, with the planner free to choose."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

import asyncpg
import pytest_asyncio

from conftest import Database, new_database
from keyfold.cli.embedded import Postgres as Server
from keyfold.domain.moment import Moment
from keyfold.store.lists import Lists
from keyfold.store.past import Past
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

from .support import OPENER, connected

NOW = datetime.now(UTC)
FILL = """
SET ROLE keyfold_owner;
INSERT INTO keyfold.log SELECT n, 'key_' || n / 4, n % 4 + 1, '{"some":"thing"}', 'ws_' || n % 50, n / 50 + 1
    FROM generate_series(1, 20000) n;
INSERT INTO keyfold.key_secrets SELECT 'key_' || n, 1, decode(repeat('00', 32), 'hex') FROM generate_series(1, 5000) n;
INSERT INTO keyfold.data_keys SELECT 'prt_' || n, 1, '' FROM generate_series(1, 20000) n;
INSERT INTO keyfold.erased SELECT 'prt_' || n FROM generate_series(20001, 40000) n;
INSERT INTO keyfold.replays
    SELECT int4send(n), '', '', n, '{}', now() - n * interval '10 seconds' FROM generate_series(1, 9000) n;
INSERT INTO keyfold.key_usage SELECT 'key_' || n / 4, 'valid', n, 1, now() FROM generate_series(1, 20000) n;
SET ROLE keyfold_worker;
INSERT INTO projections.integrations
    SELECT 'int_' || n, 'ws_' || n % 50, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.partners
    SELECT 'prt_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'invited', 'app', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.links
    SELECT 'lnk_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'prt_' || n / 2, 'open', 1, '{}'
    FROM generate_series(1, 8000) n;
INSERT INTO projections.keys
    SELECT 'key_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'prt_' || n / 3, 'service', 'dev', NULL, 'active', 'key',
           NULL, '', NULL, now() + n * interval '1 hour', NULL, false, now() - n * interval '1 hour',
           CASE WHEN n % 9 = 0 THEN 86400 END, NULL, now() + (n - 100) * interval '1 hour', 1, '{}'
    FROM generate_series(1, 9000) n;
INSERT INTO projections.roles SELECT 'rol_' || n, 'ws_' || n % 50, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.topics
    SELECT 'top_' || n, 'ws_' || n % 50, 'int_' || n % 100, 'active', 1, '{}' FROM generate_series(1, 8000) n;
INSERT INTO projections.audit
    SELECT n, 'ws_' || n % 200, 'key.issued.v1', 'key_' || n, now(), 'key', 'key_' || n / 5, NULL, 'req_' || n, 'int_1',
           'prt_' || n / 3, 'key_' || n, 'evt_' || n, CASE WHEN n % 4 = 0 THEN 'evt_' || n - 1 END,
           '10.0.0.0'::inet + n
    FROM generate_series(1, 20000) n;
INSERT INTO projections.things
    SELECT what || '_' || n, 'ws_' || n % 50, what, n * 4, what || '_' || n, 'int_' || n % 100, 'prt_' || n / 3
    FROM generate_series(1, 9000) n CROSS JOIN (VALUES ('key'), ('partner'), ('link'), ('topic')) AS w (what);
INSERT INTO projections.versions
    SELECT id, position + n, n + 1, workspace_id, now() - (40000 - position - n) * interval '1 minute', 'active',
           NULL, NULL, '', NULL, NULL, NULL, NULL, false
    FROM projections.things CROSS JOIN generate_series(0, 3) n;
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
        if "Scan" in kind and kind not in ("Function Scan", "Subquery Scan", "CTE Scan", "WorkTable Scan"):
            found.add(f"{kind} {node.get('Index Name') or node['Relation Name']}".replace("Only ", ""))
        elif "Sort" in kind:
            found.add(kind)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def full(postgres_server: Server) -> Database:
    database = await new_database(postgres_server)
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
    ("has_replayed", 1, "replays_pkey"),
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
            await Lists(postgres, OPENER).page(prefix, "ws_7", filters, status=status, now=NOW, cursor=cursor, limit=50)
            assert_uses(postgres.plans.pop(), index)


AUDIT: list[tuple[dict[str, object], str]] = [
    ({}, "audit_workspace"),
    ({"partner_id = $?": "prt_70"}, "audit_partner"),
    ({"key_id = $?": "key_70"}, "audit_key"),
    ({"actor_id = $?": "key_70"}, "audit_actor"),
    ({"correlation_id = $?": "req_70"}, "audit_correlation"),
    ({"type = $?": "key.issued.v1"}, "audit_(workspace|type)"),
    ({"type = $?": "key.compromised.v1"}, "audit_type"),
    ({"type = ANY ($?::text[])": ["key.compromised.v1", "key.revoked.v1"]}, "audit_type"),
    ({"integration_id = $?": "int_7"}, "audit_integration"),
    ({"causation_id = $?": "evt_71"}, "audit_caused"),
    ({"of_stream = $?": "key_70"}, "log_stream_version_key"),
    ({"source = $?": IPv4Address("10.0.0.70")}, "audit_source"),
    ({"source >= $?": IPv4Address("10.0.0.0"), "source <= $?": IPv4Address("10.0.0.255")}, "audit_source"),
    ({"position > $?": 100, "position < $? ": 300}, "audit_(workspace|pkey)"),
]


async def test_a_page_of_the_audit_trail_is_read_from_an_index_whichever_way(full: Database) -> None:
    postgres = explaining(full)
    for filters, index in AUDIT:
        for ascending in (True, False):
            await Lists(postgres, OPENER).audit("ws_7", filters, ascending=ascending, cursor=None, limit=50)
            plan = postgres.plans.pop()
            assert_uses(plan, index)
            assert "Index Scan log_pkey" in plan or "of_stream = $?" in filters, plan


async def test_an_event_its_causes_and_its_effects_are_found_on_indexes(full: Database) -> None:
    async with connected(full.api_url) as connection:
        plan = await generic_plan(connection, query("chain"), 4)
        assert_uses(plan, "audit_id")
        assert_uses(plan, "audit_caused")
        assert_uses(await generic_plan(connection, query("newest"), 2), "log_stream_version_key")


MOMENT = Moment(30_000, NOW)
PAST: list[tuple[str, dict[str, object], str | None, str]] = [
    ("key", {}, None, "things_workspace"),
    ("key", {}, "expired", "things_workspace"),
    ("prt", {"integration_id = $?": "int_7"}, "invited", "things_(integration|workspace)"),
    ("lnk", {"partner_id = $?": "prt_7"}, "open", "things_partner"),
    ("key", {"partner_id = $?": "prt_7"}, None, "things_partner"),
    ("top", {"integration_id = $?": "int_7"}, "active", "things_(integration|workspace)"),
]


async def test_a_page_of_the_past_is_read_from_indexes_and_a_version_by_its_position(full: Database) -> None:
    """One look at an index for each thing, whatever has happened to it; and what began since isn't passed over."""
    postgres = explaining(full)
    for prefix, filters, status, index in PAST:
        for cursor in (None, f"{prefix}_5"):
            await Past(postgres, OPENER).page(
                prefix, "ws_7", filters, status=status, at=MOMENT, cursor=cursor, limit=50
            )
            plan = postgres.plans.pop()
            assert_uses(plan, index)
            assert_uses(plan, "versions_pkey")
            assert_uses(plan, "things_workspace_id_aggregate_position_latest_id_key")


async def test_what_changed_is_read_from_indexes(full: Database) -> None:
    postgres = explaining(full)
    stretches: list[tuple[dict[str, object], str]] = [
        ({}, "versions_workspace"),
        ({"partner_id = $?": "prt_7"}, "(things_partner|versions_workspace)"),
        ({"id = $?": "key_70"}, "versions_pkey"),
    ]
    for filters, index in stretches:
        await Past(postgres, OPENER).changes("ws_7", filters, after=20_000, until=21_000, cursor=None, limit=50)
        assert_uses(postgres.plans.pop(), index)


async def test_the_past_of_a_thing_and_the_position_of_a_moment_are_read_from_indexes(full: Database) -> None:
    async with connected(full.api_url) as connection:
        for name, arguments, index in (
            ("load_before", 2, "log_stream_version_key"),
            ("prefixes", 2, "log_stream_version_key"),
            ("began", 1, "log_stream_version_key"),
            ("position_at", 3, "versions_time"),
        ):
            assert_uses(await generic_plan(connection, query(name), arguments), index)
    async with connected(full.worker_url, search_path="projections") as connection:
        plan = await generic_plan(connection, query("latest_ids"), 2)
        assert_uses(plan, "things_workspace_id_aggregate_position_latest_id_key")


def assert_uses(plan: set[str], index: str) -> None:
    assert not any(each.startswith("Seq Scan") for each in plan), plan
    assert any(re.search(rf"Index.* {index}$", each) for each in plan), (index, plan)
