"""What every answer has, and what nobody is ever shown twice."""

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import asyncpg
import httpx
import pytest
from litestar.routes import HTTPRoute

from keyfold.bus.subjects import LIFECYCLE
from keyfold.web.auth import EVENTS, SESSION
from keyfold.web.pages.openapi import camel_path
from keyfold.worker.worker import Worker

from .conftest import System
from .routes import application, routes, things_of
from .tenant import PARTNER, Tenant, bearer, position_of

TABLES = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


async def test_every_answer_has_a_request_id_and_the_security_headers(workspace: Tenant) -> None:
    for answer in [
        await workspace.ask_to_invite(),
        await workspace.get("/api/v1/partners"),
        await workspace.get("/nope"),
        await workspace.api.get("/health/live"),
        await workspace.api.get("/onboard"),
        await workspace.api.post(PARTNER),
        await workspace.api.options("/api/v1/keys"),
    ]:
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in answer.headers


async def test_every_write_answers_with_its_position(workspace: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    invited = await workspace.ask_to_invite()
    redeemed = await workspace.redeem(invited.json()["data"]["url"].partition("#")[2])
    at = position_of(await workspace.ask_to_invite())
    (open_link,) = (await workspace.get("/api/v1/links", status="open", minPosition=at)).json()["data"]
    writes = [
        invited,
        redeemed,
        await workspace.post(f"/api/v1/links/{open_link['id']}/withdraw", {"reason": "x"}),
        await workspace.post("/api/v1/integrations", {"name": "x"}),
        await workspace.post("/api/v1/keys", {"kind": "account", "name": "x", "role": "viewer"}),
        await workspace.post(f"/api/v1/keys/{keys['dev']['id']}/revoke", {"reason": "x"}),
        await workspace.delete(f"/api/v1/partners/{partner_id}"),
    ]
    positions = [position_of(answer) for answer in writes]
    assert [answer.status_code for answer in writes] == [201, 201, 200, 201, 201, 200, 200]
    assert positions == sorted({*positions})
    assert positions[-1] == await workspace.services.journal.head()


async def test_the_openapi_document_describes_every_route_of_the_api(workspace: Tenant) -> None:
    answer = await workspace.api.get("/openapi.json")
    described = answer.json()
    assert answer.status_code == 200
    assert described["openapi"].startswith("3.1")
    routes = {
        (unnamed(route.path_format), method.lower())
        for route in application().routes
        if isinstance(route, HTTPRoute) and route.path.startswith("/api/")
        for method in route.methods - {"OPTIONS"}
    }
    assert {(unnamed(path), method) for path, item in described["paths"].items() for method in item} >= routes


def unnamed(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "{}", path)


async def test_the_openapi_document_says_what_a_change_and_a_limit_need(workspace: Tenant) -> None:
    described = (await workspace.api.get("/openapi.json")).json()
    for path, item in described["paths"].items():
        for method, operation in item.items():
            headers = {
                each["name"]: each["required"] for each in operation.get("parameters", []) if each["in"] == "header"
            }
            statuses = {*operation["responses"]}
            is_change = method == "patch"
            assert headers.get("If-Match", False) is is_change, path
            assert ({"412", "428"} <= statuses) is is_change, path
            assert ("429" in statuses) is (operation["x-permission"] != "public"), path
            if is_change:
                content = operation["requestBody"]["content"]
                assert content["application/json"] == content["application/merge-patch+json"], path
    assert {*described["components"]["responses"]["Problem429"]["headers"]} == {
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
    }


async def test_the_etag_that_is_described_is_the_one_that_is_sent(workspace: Tenant) -> None:
    described = (await workspace.api.get("/openapi.json")).json()["paths"]
    things, owner = await things_of(workspace), bearer(workspace.owner_key)
    told = set()
    for route in routes():
        if route.method == "GET" and route.permission not in (EVENTS, SESSION):
            answer = await route.ask(workspace.api, things, owner)
            assert answer.status_code == 200, route
            headers = described[camel_path(route.path)]["get"]["responses"]["200"].get("headers", {})
            assert ("ETag" in headers) is ("etag" in answer.headers), route
            told |= {route.path} if headers else set()
    assert len(told) == 9


async def tell_all(tenant: Tenant) -> tuple[set[str], list[httpx.Response]]:
    """A partner's whole life: every secret that was shown in it, and every answer that must show none."""
    _, unused = await tenant.invite()
    invited = await tenant.ask_to_invite(Idempotency_Key="canary-idempotency")
    partner_id, token = invited.json()["data"]["id"], invited.json()["data"]["url"].partition("#")[2]
    preview = await tenant.api.post("/api/v1/onboarding/preview", json={"token": token})
    redeemed = await tenant.redeem(token, Idempotency_Key="canary-redemption")
    session = tenant.api.cookies["__Host-keyfold-portal"]
    keys = {key["environment"]: key for key in redeemed.json()["data"]["keys"]}
    wanted = {"kind": "service", "name": "x", "environment": "dev", "partnerId": partner_id}
    issued = await tenant.post("/api/v1/keys", wanted, Idempotency_Key="canary-key")
    secrets = {tenant.owner_key, tenant.integration_key, unused, token, session, issued.json()["data"]["secret"]}
    secrets |= {key["secret"] for key in keys.values()}
    mine, prod = issued.json()["data"]["id"], keys["prod"]["secret"]
    answers = [
        preview,
        await tenant.api.get("/api/v1/portal"),
        await tenant.post("/api/v1/keys/verify", {"key": prod}),
        await tenant.post("/api/v1/keys/verify", {"key": prod[:-1] + "!"}),
        await tenant.post("/api/v1/keys/verify", {"key": [prod]}),
        await tenant.api.get("/api/v1/keys", headers=bearer(prod)),
        await tenant.redeem(token),
        await tenant.api.post("/api/v1/onboarding/redeem", json={"token": [token]}),
        await tenant.api.get(f"/onboard?token={token}"),
        await tenant.api.get(f"/api/v1/nothing?key={prod}"),
        await tenant.post("/api/v1/keys", wanted | {"kind": "account"}, Idempotency_Key="canary-key"),
        await tenant.post(f"/api/v1/keys/{mine}/revoke", {"reason": "canary"}),
        await tenant.delete(f"/api/v1/partners/{partner_id}"),
    ]
    at = await tenant.services.journal.head()
    lists = ("integrations", "partners", "links", "keys", "audit/events")
    answers += [await tenant.get(f"/api/v1/{path}", minPosition=at, limit=200) for path in lists]
    answers += [await tenant.api.get(path) for path in ("/metrics", "/health/ready", "/openapi.json", "/onboard")]
    return secrets, answers


async def everything_in_postgres(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        tables = [row[0] for row in await connection.fetch(TABLES)]
        rows = [row[0] for table in tables for row in await connection.fetch(f"SELECT t::text FROM {table} t")]
    finally:
        await connection.close()
    assert len(tables) >= 8
    return rows


async def everything_in_nats(worker: Worker, last: int) -> list[str]:
    stream = worker.bus.jetstream()
    messages = [await stream.get_msg(LIFECYCLE, seq=sequence) for sequence in range(max(1, last - 60), last + 1)]
    return [f"{message.subject} {message.headers} {(message.data or b'').decode()}" for message in messages]


async def test_no_secret_is_anywhere_but_in_the_first_answer(
    system: System, workspace: Tenant, log: list[MutableMapping[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it is the client here, which may log what it asks for
    secrets, answers = await tell_all(workspace)
    assert len(secrets) == 9
    places = {
        "answers": [f"{answer.headers} {answer.text}" for answer in answers],
        "postgres": await everything_in_postgres(system.settings.admin_database_url),
        "nats": await everything_in_nats(system.worker, await workspace.services.journal.head()),
        "log": [repr(entry) for entry in log],
        "other logs": [record.getMessage() for record in caplog.records],
    }
    assert [name for name in ("answers", "postgres", "nats", "log") if not places[name]] == []
    traces = {text for secret in secrets for text in (secret[-49:], secret[-49:-6])}
    traces |= {text.encode().hex() for text in traces} | {"canary-idempotency", "canary-redemption", "canary-key"}
    found = [(name, trace) for name, texts in places.items() for text in texts for trace in traces if trace in text]
    assert found == []


async def test_the_access_log_names_routes_and_not_what_was_asked(
    workspace: Tenant, log: list[MutableMapping[str, Any]]
) -> None:
    _, token = await workspace.invite()
    log.clear()
    answer = await workspace.api.get(f"/api/v1/keys/{token}?secret={token}", headers=bearer(workspace.owner_key))
    (entry,) = [entry for entry in log if entry["event"] == "request"]
    assert (entry["method"], entry["route"], entry["status"]) == ("GET", "/api/v1/keys/{key_id}", 400)
    assert entry["request_id"] == answer.headers["x-request-id"]


async def test_metrics_count_by_route_and_never_by_id(workspace: Tenant) -> None:
    partner_id, _ = await workspace.onboard()
    await workspace.get(f"/api/v1/partners/{partner_id}")
    await workspace.get("/some/unknown/place")
    text = (await workspace.api.get("/metrics")).text
    assert 'keyfold_http_request_seconds_count{method="GET",route="/api/v1/partners/{partner_id}",status="200"}' in text
    assert 'route="none",status="404"' in text
    assert partner_id not in text
    assert "unknown/place" not in text


async def test_the_process_is_ready_while_its_loops_are_alive(api: httpx.AsyncClient) -> None:
    answer = await api.get("/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert {"postgres", "nats", "loop relay", "projection current", "projection audit"} <= {*answer.json()["checks"]}
    assert (await api.get("/health/live")).json() == {"status": "live"}
