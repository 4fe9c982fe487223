"""`Idempotency-Key`: the same request again does nothing and gets the same answer, which is nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from cryptography.exceptions import InvalidTag

from keyfold.web.services import Services

from .tenant import PARTNER, Tenant, bearer, problem

ISSUE = {"kind": "account", "name": "ci", "role": "viewer"}
CREATE = {"name": "Second"}


@pytest_asyncio.fixture(loop_scope="package")
async def database(services: Services) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(services.settings.admin_database_url)
    yield connection
    await connection.close()


async def create(workspace: Tenant, what: str, key: str, body: Any = None) -> httpx.Response:
    """One of the requests that create, with an Idempotency-Key."""
    match what:
        case "partner":
            return await workspace.ask_to_invite(body or {"appName": "Orders"}, Idempotency_Key=key)
        case "key":
            return await workspace.post("/api/v1/keys", body or ISSUE, Idempotency_Key=key)
        case _:
            return await workspace.post("/api/v1/integrations", body or CREATE, Idempotency_Key=key)


CREATING = pytest.mark.parametrize("what", ["partner", "key", "integration"])


@CREATING
async def test_the_same_request_again_gets_the_same_answer_and_does_nothing(workspace: Tenant, what: str) -> None:
    first = await create(workspace, what, "once")
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    head = await workspace.services.journal.head()
    again = await create(workspace, what, "once")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["keyfold-position"] == first.headers["keyfold-position"]
    assert again.headers["idempotency-replayed"] == "true"
    assert await workspace.services.journal.head() == head


@CREATING
async def test_another_idempotency_key_is_another_request(workspace: Tenant, what: str) -> None:
    first, second = await create(workspace, what, "one"), await create(workspace, what, "two")
    assert first.json()["data"]["id"] != second.json()["data"]["id"]


@CREATING
async def test_another_body_with_the_same_key_is_refused(workspace: Tenant, what: str) -> None:
    await create(workspace, what, "once")
    other = {"partner": {"appName": "Other"}, "key": ISSUE | {"name": "other"}, "integration": {"name": "Third"}}[what]
    head = await workspace.services.journal.head()
    problem(await create(workspace, what, "once", other), 422, "idempotency-key-reused")
    assert await workspace.services.journal.head() == head


@CREATING
async def test_twenty_at_once_with_one_key_have_one_effect_and_one_answer(
    workspace: Tenant, other_process: httpx.AsyncClient, what: str
) -> None:
    elsewhere = Tenant(other_process, workspace.services, workspace.caller)
    elsewhere.owner_key, elsewhere.integration_key = workspace.owner_key, workspace.integration_key
    head = await workspace.services.journal.head()
    answers = await asyncio.gather(*(create(each, what, "once") for each in [workspace, elsewhere] * 10))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["keyfold-position"] for answer in answers}) == 1
    assert await workspace.services.journal.head() == head + (2 if what == "partner" else 1)


async def test_a_lost_redemption_is_had_again_by_whoever_holds_token_and_key(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    first = await workspace.redeem(token, Idempotency_Key="once")
    again = await workspace.redeem(token, Idempotency_Key="once")
    assert (again.status_code, again.content) == (201, first.content)
    assert "set-cookie" not in again.headers
    secret = again.json()["data"]["keys"][0]["secret"]
    assert (await workspace.verdict(secret))["valid"] is True
    problem(await workspace.redeem(token, Idempotency_Key="other"), 410, "link-used")
    problem(await workspace.redeem(token), 410, "link-used")


async def test_the_key_alone_gives_no_redemption_away(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    await workspace.redeem(token, Idempotency_Key="once")
    _, other = await workspace.invite()
    for wrong in (token[:31] + other[31:], token[:-1]):
        problem(await workspace.redeem(wrong, Idempotency_Key="once"), 404, "link-unknown")


async def test_a_repetition_that_is_overtaken_by_the_first_request_gets_its_answer(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for an answer before there is one, and decides when the link is used already."""
    _, token = await workspace.invite()
    first = await workspace.redeem(token, Idempotency_Key="overtaken")
    journal = workspace.services.journal
    replay, looks = journal.replay, []

    async def too_early(of: bytes) -> Any:
        looks.append(of)
        return None if len(looks) == 1 else await replay(of)

    monkeypatch.setattr(journal, "replay", too_early)
    again = await workspace.redeem(token, Idempotency_Key="overtaken")
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(looks) == 2


async def test_twenty_redemptions_at_once_with_one_key_are_one(workspace: Tenant) -> None:
    _, token = await workspace.invite()
    answers = await asyncio.gather(*(workspace.redeem(token, Idempotency_Key="once") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


async def test_the_same_key_of_another_caller_is_independent(workspace: Tenant, neighbour: Tenant) -> None:
    mine, theirs = await create(workspace, "key", "once"), await create(neighbour, "key", "once")
    colleague = bearer(await workspace.key("owner")) | {"Idempotency-Key": "once"}
    hers = await workspace.api.post("/api/v1/keys", json=ISSUE, headers=colleague)
    assert len({answer.json()["data"]["secret"] for answer in (mine, theirs, hers)}) == 3


async def test_the_same_key_on_another_route_is_independent_but_not_on_the_same_with_a_slash(workspace: Tenant) -> None:
    first = await create(workspace, "partner", "once")
    headers = bearer(workspace.integration_key) | {"Idempotency-Key": "once"}
    slashed = await workspace.api.post(PARTNER + "/", json={"appName": "Orders"}, headers=headers)
    assert slashed.content == first.content
    assert (await create(workspace, "key", "once")).status_code == 201
    assert (await create(workspace, "integration", "once")).status_code == 201


async def test_a_refused_request_leaves_its_key_free(workspace: Tenant) -> None:
    problem(await create(workspace, "key", "once", {"kind": "account", "name": "x"}), 400, "invalid-request")
    assert (await create(workspace, "key", "once")).status_code == 201


@pytest.mark.parametrize("key", [b"", b"a b", b"\xff", "é".encode(), b"x" * 256, b"a\tb"])
async def test_a_malformed_key_is_refused(workspace: Tenant, key: bytes) -> None:
    headers = {b"Idempotency-Key": key, b"Authorization": f"Bearer {workspace.integration_key}".encode()}
    answer = await workspace.api.post(PARTNER, json={}, headers=headers)
    assert "Idempotency-Key" in problem(answer, 400, "invalid-request")["detail"]


async def test_a_key_of_255_characters_is_taken(workspace: Tenant) -> None:
    assert (await create(workspace, "partner", "~" * 255)).status_code == 201


async def test_a_stored_answer_holds_no_secret_and_opens_with_nothing_but_the_callers_key(
    workspace: Tenant, services: Services, database: asyncpg.Connection
) -> None:
    before = {row["id"] for row in await database.fetch("SELECT id FROM keyfold.replays")}
    answer = await create(workspace, "key", "a-very-unlikely-key")
    secret = answer.json()["data"]["secret"]
    rows = await database.fetch("SELECT id, fingerprint, answer FROM keyfold.replays")
    (kept,) = [row for row in rows if row["id"] not in before]
    for column in kept.values():
        for plain in (secret, secret[-49:], "a-very-unlikely-key", "secret", "name"):
            assert plain.encode() not in column
    owner = (await workspace.verdict(workspace.owner_key))["keyId"]
    body = answer.request.content
    right = services.vault.replay_key("a-very-unlikely-key", f"{owner} POST /api/v1/keys", body)
    assert right.id == kept["id"]
    assert secret.encode() in services.vault.unseal(right, kept["answer"])
    wrong = services.vault.replay_key("another-key", f"{owner} POST /api/v1/keys", body)
    with pytest.raises(InvalidTag):
        services.vault.unseal(wrong, kept["answer"])
