"""Errors: what is no key, what is not there, what is malformed; always problem+json, never a 500."""

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest

from .routes import NOWHERE, Things, routes
from .tenant import PARTNER, Tenant, app_of, bearer, problem

NOTHING = Things(*(f"{prefix}_{NOWHERE}" for prefix in ("int", "prt", "lnk", "key", "rol", "top", "evt", "key")))


GARBAGE: list[str | bytes] = [
    "",
    "Bearer",
    "Bearer ",
    "Basic a2V5Og==",
    "Bearer kf_",
    "Bearer " + "x" * 10_000,
    b"Bearer \xff\xfe",
    b"\xff",
    "Bearer kfl_01h455vb4pex5vsknk084sn02q_" + "0" * 49,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda each: repr(each[:20]))
async def test_a_garbage_key_is_no_key(api: httpx.AsyncClient, garbage: str | bytes) -> None:
    answer = await api.get(
        "/api/v1/partners", headers={b"Authorization": garbage if isinstance(garbage, bytes) else garbage.encode()}
    )
    problem(answer, 401, "unauthenticated")


async def test_a_key_with_one_character_changed_or_another_secret_is_no_key(
    workspace: Tenant, neighbour: Tenant
) -> None:
    mine, other = workspace.owner_key, neighbour.owner_key
    changed = mine[:-1] + ("A" if mine[-1] != "A" else "B")
    for key in (changed, mine + "x", mine[:-1]):
        problem(await workspace.api.get("/api/v1/keys", headers=bearer(key)), 401, "unauthenticated")
    assert mine != other


async def test_link_tokens_and_portal_sessions_are_no_keys(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    session = (await workspace.redeem(token)).cookies["__Host-keyfold-portal"]
    for text in (token, session):
        problem(await workspace.api.get("/api/v1/partners", headers=bearer(text)), 401, "unauthenticated")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer ", " Bearer"])
async def test_the_scheme_is_bearer_in_whatever_case(workspace: Tenant, scheme: str) -> None:
    headers = {"Authorization": f"{scheme.strip()} {workspace.owner_key}"}
    assert (await workspace.api.get("/api/v1/partners", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PARTNER, "OPTIONS, POST"),
        ("PATCH", "/api/v1/partners", "GET, OPTIONS"),
        ("PUT", f"/api/v1/partners/prt_{NOWHERE}", "DELETE, GET, OPTIONS"),
        ("GET", "/api/v1/keys/verify", "OPTIONS, POST"),
        ("GET", "/api/v1/onboarding/redeem", "OPTIONS, POST"),
        ("POST", "/health/live", "GET, OPTIONS"),
        ("TRACE", "/api/v1/keys/", "GET, OPTIONS, POST"),
    ],
)
async def test_another_method_is_refused_with_those_that_are_allowed(
    api: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await api.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allow


async def test_options_needs_no_key_on_any_route(api: httpx.AsyncClient) -> None:
    for route in routes():
        answer = await api.options(route.at(NOTHING))
        assert answer.status_code == 204, route
        assert "OPTIONS" in answer.headers["allow"]


async def test_head_on_the_api_is_answered_and_never_does_anything(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    before = await workspace.services.journal.head()
    for route in routes():
        answer = await workspace.api.head(route.at(NOTHING), headers=bearer(workspace.owner_key))
        assert answer.status_code < 500, route
        assert answer.content == b""
    assert await workspace.services.journal.head() == before
    assert (await workspace.redeem(token)).status_code == 201


@pytest.mark.parametrize("path", ["/nope", "/api", "/api/v1", "/api/v2/partners", "/api/v1/keys/a/b"])
async def test_what_isnt_there_is_404(api: httpx.AsyncClient, path: str) -> None:
    problem(await api.get(path), 404, "not-found")


@pytest.mark.parametrize(
    "this", ["%00", "%ff", "x" * 5_000, "key_", f"prt_{NOWHERE}", f"KEY_{NOWHERE}", f"key_{NOWHERE}", "..."]
)
async def test_what_is_no_key_of_ours_is_404(workspace: Tenant, this: str) -> None:
    problem(await workspace.get(f"/api/v1/keys/{this}"), 404, "not-found")


async def test_a_trailing_slash_makes_no_difference(workspace: Tenant) -> None:
    assert (await workspace.get("/api/v1/partners/")).status_code == 200
    assert (
        await workspace.post("/api/v1/keys/", {"kind": "account", "name": "a", "role": "viewer"})
    ).status_code == 201


WRONG = {
    "limit": ["abc", "0", "201", "", "1.5", "-1", "9" * 40],
    "minPosition": ["abc", "-1", "9" * 40],
    "cursor": ["", "x", "%00", "key_", f"prt_{NOWHERE}"],
    "status": ["", "nope", "%00", "ACTIVE"],
    "kind": ["nope", "%00"],
    "environment": ["%ff", "production"],
    "integrationId": ["%00", "a%0ab"],
    "partnerId": ["%00"],
}
WRONG_OF_AUDIT = {
    "since": ["abc", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00%2B12:00", "9999-12-31T23:59:59-12:00"],
    "until": ["yesterday", "9999-12-31T23:59:59-12:00"],
    "afterPosition": ["-1", "x", "9" * 20],
    "beforePosition": ["-1", "x", "9" * 20],
    "order": ["up", "%00"],
    "cursor": ["x", "-1", "9" * 20],
    "type": ["%00"],
    "keyId": ["%00"],
    "actorId": ["%00"],
    "correlationId": ["%00"],
    "partnerId": ["%00"],
    "integrationId": ["%00"],
}


@pytest.mark.parametrize(("path", "wrong"), [("/api/v1/keys", WRONG), ("/api/v1/audit/events", WRONG_OF_AUDIT)])
async def test_a_wrong_query_parameter_is_refused_by_its_name(
    workspace: Tenant, path: str, wrong: dict[str, list[str]]
) -> None:
    for name, values in wrong.items():
        for value in values:
            answer = await workspace.api.get(f"{path}?{name}={value}", headers=bearer(workspace.owner_key))
            assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == [f"?{name}"], (
                value
            )


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("unknown=1", "unknown"),
        ("limit=1&limit=2", "limit"),
        ("status=active&status=revoked", "status"),
        ("%00=1", "\0"),
        ("&&==", ""),
        ("a", "a"),
    ],
)
async def test_unknown_and_repeated_query_parameters_are_refused_by_their_names(
    workspace: Tenant, query: str, name: str
) -> None:
    answer = await workspace.api.get(f"/api/v1/keys?{query}", headers=bearer(workspace.owner_key))
    assert [each["pointer"] for each in problem(answer, 400, "invalid-request")["errors"]] == [f"?{name}"]


async def test_a_request_id_of_the_clients_own_is_kept_if_it_is_harmless(api: httpx.AsyncClient) -> None:
    kept = await api.get("/nope", headers={"X-Request-Id": "trace-1/2:3"})
    assert problem(kept, 404, "not-found")["requestId"] == "trace-1/2:3"
    for harmful in (b"a b", b"\xff", b"x" * 129, b"<script>", b""):
        answer = await api.get("/nope", headers={b"X-Request-Id": harmful})
        assert problem(answer, 404, "not-found")["requestId"].startswith("req_")


async def test_what_breaks_inside_tells_the_client_nothing_and_the_log_everything(
    workspace: Tenant, log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(position: int) -> None:
        raise ValueError("the inside story")

    monkeypatch.setattr(workspace.services.journal, "load", broken)
    answer = await workspace.get("/api/v1/partners/prt_" + NOWHERE)
    said = problem(answer, 500, "internal")
    assert "story" not in answer.text
    failed = [entry for entry in log if entry["event"] == "request.failed"]
    assert [entry["request_id"] for entry in failed] == [said["requestId"]]


async def test_a_client_that_hangs_up_before_its_body_ends_is_no_failure_of_ours(
    workspace: Tenant, log: list[MutableMapping[str, Any]]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"

    async def hung_up(scope: Any, _: Any, send: Any) -> None:
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Any:
            return next(parts, {"type": "http.disconnect"})

        await app_of(workspace.services)(scope, receive, send)

    transport = httpx.ASGITransport(hung_up)
    async with httpx.AsyncClient(transport=transport, base_url="http://keyfold.test") as client:
        headers = bearer(workspace.integration_key) | {"Content-Type": "application/json"}
        problem(await client.post(PARTNER, content=body(), headers=headers), 400, "invalid-json")
    assert "request.failed" not in [each["event"] for each in log]
