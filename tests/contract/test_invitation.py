"""`POST /api/v1/external/partner`: the request of the partner guide, and the limits of what it may say."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from .tenant import PARTNER, Clock, Tenant, bearer, pointers, position_of, problem

AS_JSON = {"Content-Type": "application/json"}


async def kept(workspace: Tenant, answer: httpx.Response) -> Any:
    assert answer.status_code == 201, answer.text
    return (await workspace.get(f"/api/v1/partners/{answer.json()['data']['id']}")).json()["data"]


async def send(workspace: Tenant, body: bytes) -> httpx.Response:
    return await workspace.api.post(PARTNER, content=body, headers=bearer(workspace.integration_key) | AS_JSON)


async def test_the_request_of_the_partner_guide_gets_exactly_what_it_promises(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    answer = await workspace.api.post(
        "/api/v1/external/partner",
        content=b'{"appName": "Orders", "appDescription": "Syncs orders", "metadata": {"crmId": "42"}}',
        headers={"Authorization": f"Bearer {workspace.integration_key}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert {*answer.json()} == {"data"}
    data = answer.json()["data"]
    assert {*data} == {"id", "url", "expiresAt"}
    assert data["id"].startswith("prt_")
    page, _, token = data["url"].partition("#")
    assert page == f"{workspace.services.settings.public_url}/onboard"
    assert token.startswith("kfl_")
    assert data["expiresAt"] == "2026-03-01T12:30:00Z"


async def test_the_invitation_may_be_cached_by_nobody_and_says_its_position(workspace: Tenant) -> None:
    answer = await workspace.ask_to_invite()
    assert answer.headers["cache-control"] == "no-store"
    assert position_of(answer) == await workspace.services.journal.head()


async def test_every_field_is_optional(workspace: Tenant) -> None:
    partner = await kept(workspace, await workspace.ask_to_invite({}))
    assert (partner["appName"], partner["appDescription"], partner["metadata"]) == (None, None, {})


@pytest.mark.parametrize(
    ("field", "pointer"), [("appname", "/appname"), ("", "/"), ("data", "/data"), ("a/b", "/a~1b"), ("x\ny", "/x\ny")]
)
async def test_an_unknown_field_is_refused_by_name(workspace: Tenant, field: str, pointer: str) -> None:
    assert pointers(await workspace.ask_to_invite({"appName": "Orders", field: 1})) == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"appName": 5}, "/appName"),
        ({"appName": ""}, "/appName"),
        ({"appName": "é" * 257}, "/appName"),
        ({"appName": "a\nb"}, "/appName"),
        ({"appName": "a\0b"}, "/appName"),
        ({"appDescription": []}, "/appDescription"),
        ({"appDescription": "é" * 4097}, "/appDescription"),
        ({"appDescription": "a\0b"}, "/appDescription"),
        ({"metadata": None}, "/metadata"),
        ({"metadata": ["a"]}, "/metadata"),
        ({"metadata": {"k": "x" * 16 * 1024}}, "/metadata"),
        ({"metadata": {"n": [2**64]}}, "/metadata/n/0"),
        ({"metadata": {"n": {"deep": -(2**63) - 1}}}, "/metadata/n/deep"),
        ({"metadata": {"t": "a\0b"}}, "/metadata/t"),
        ({"metadata": {"a": [[[[[[[["8 inside the object"]]]]]]]]}}, "/metadata/a/0/0/0/0/0/0/0"),
        ([], ""),
        ("text", ""),
    ],
)
async def test_what_an_invitation_may_not_say_is_pointed_at(workspace: Tenant, body: Any, pointer: str) -> None:
    before = await workspace.services.journal.head()
    assert pointers(await workspace.ask_to_invite(body)) == [pointer]
    assert await workspace.services.journal.head() == before


@pytest.mark.parametrize(
    "body",
    [
        {"appName": "é" * 256, "appDescription": "書" * 4096, "metadata": {"k": "😀" * 4000}},
        {
            "appName": "Ünïcødé 書店 👩🏽‍💻 \u202eRTL\u2066",
            "appDescription": "line\n\tline",
            "metadata": {"ключ": "\u0085"},
        },
        {"appName": "é", "appDescription": "e\u0301", "metadata": {"\u212b": "\u00c5", "": "", "\x01": "\x1f"}},
        {"metadata": {"a": [[[[[[["8 with the object"]]]]]]], "n": [2**64 - 1, -(2**63), 0.1, 1e300, True, None]}},
        {"appName": "'; DROP TABLE log; --", "metadata": {"$where": "<script>", "__proto__": {"$?": "%s{}"}}},
    ],
)
async def test_what_it_may_say_comes_back_as_it_went_in(workspace: Tenant, body: dict[str, Any]) -> None:
    partner = await kept(workspace, await workspace.ask_to_invite(body))
    assert {name: partner[name] for name in body} == body


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}x",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{'appName': 'Orders'}",
        b'{"appName": "a\x00b"}',
        b'{"appName": "\xed\xa0\x80"}',
        b'{"metadata": {"\xff": "\xfe"}}',
        b'{"appName": "\\ud800"}',
        b'{"metadata": {"n": 1e999}}',
        b'{"metadata": {"n": NaN}}',
        b'{"metadata": ' + b"[" * 100_000,
        b'{"metadata": ' + b'{"a":' * 40_000 + b"1" + b"}" * 40_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_no_json_is_refused_as_such(workspace: Tenant, body: bytes) -> None:
    problem(await send(workspace, body), 400, "invalid-json")


async def test_an_empty_body_is_refused_and_says_what_to_send(workspace: Tenant) -> None:
    assert "JSON object" in problem(await send(workspace, b""), 400, "invalid-request")["detail"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
async def test_another_content_type_is_refused(workspace: Tenant, kind: str | None) -> None:
    headers = bearer(workspace.integration_key) | ({} if kind is None else {"Content-Type": kind})
    problem(await workspace.api.post(PARTNER, content=b"{}", headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
async def test_json_with_a_charset_or_in_capitals_is_json(workspace: Tenant, kind: str) -> None:
    headers = bearer(workspace.integration_key) | {"Content-Type": kind}
    assert (await workspace.api.post(PARTNER, content=b"{}", headers=headers)).status_code == 201


async def test_a_body_of_two_megabytes_is_refused_however_it_comes(workspace: Tenant) -> None:
    async def in_pieces() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    problem(await send(workspace, json.dumps({"appName": "x" * 2_000_000}).encode()), 413, "body-too-large")
    headers = bearer(workspace.integration_key) | AS_JSON
    problem(await workspace.api.post(PARTNER, content=in_pieces(), headers=headers), 413, "body-too-large")


async def test_an_account_key_joins_nobody_since_it_belongs_to_no_integration(workspace: Tenant) -> None:
    problem(await workspace.post(PARTNER, {}), 403, "permission-missing")


async def test_links_live_as_long_as_their_integration_says(workspace: Tenant, clock: Clock) -> None:
    clock.set("2026-03-01T12:00:00+00:00")
    slow = await workspace.integration(link_lifetime_seconds=7 * 86400)
    workspace.integration_key = await workspace.key_of_integration(slow)
    expires = (await workspace.ask_to_invite()).json()["data"]["expiresAt"]
    assert datetime.fromisoformat(expires) == clock() + timedelta(days=7)
