"""Rates: how often a key may ask, told in headers and in verifications, and how attempts at unknown keys are slowed."""

import asyncio
import itertools
import re
from typing import Any

import httpx
import pytest

from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.tokens import mint
from keyfold.web.services import Services

from .keys import KEYS, change, changed, code, coming_from, eventually, join, prod
from .tenant import Tenant, bearer, problem

WORKSPACE = "/api/v1/workspace"
SELF = f"{KEYS}/self"
_addresses = itertools.count(1)


def address() -> str:
    """One that no other test comes from: what has failed there is counted for the whole process."""
    return f"203.0.113.{next(_addresses)}"


def unknown() -> str:
    return mint("kf_dev", f"key_{next(_addresses):026d}", b"s" * 32).reveal


async def limit(workspace: Tenant, **rates: Rate | None) -> None:
    """Sets the workspace's rates, which the owner's key has to keep to as well."""
    wanted = {name: rate and {"requests": rate.requests, "seconds": rate.seconds} for name, rate in rates.items()}

    async def status() -> int:
        return (await change(workspace, WORKSPACE, wanted, match="*")).status_code

    await eventually(status, 200, seconds=1)


def told(answer: httpx.Response) -> tuple[int, int]:
    """How many requests are left, and in how many seconds all of them are there again."""
    found = re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found, answer.headers
    return int(found[1]), int(found[2])


def about(seconds: int) -> Any:
    """That many, less what a slow machine has taken meanwhile."""
    return pytest.approx(seconds - 5, abs=5)


async def test_without_a_limit_there_are_no_headers(workspace: Tenant) -> None:
    answer = await workspace.get(SELF)
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_an_account_key_is_told_its_limit_and_refused_beyond_it(workspace: Tenant) -> None:
    viewer = bearer(await workspace.key("viewer"))
    await limit(workspace, keyRate=Rate(3, 60))
    for left in (2, 1, 0):
        answer = await workspace.api.get(SELF, headers=viewer)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"key";q=3;w=60'
        assert told(answer) == (left, about(60 - left * 20))
        assert "retry-after" not in answer.headers
    head = await workspace.services.journal.head()
    for path in (f"{SELF}/rotate", WORKSPACE):
        answer = await workspace.api.request("GET" if path == WORKSPACE else "POST", path, headers=viewer)
        said = problem(answer, 429, "rate-limited")
        assert "3 requests in 60 seconds" in said["detail"]
        assert answer.headers["ratelimit-policy"] == '"key";q=3;w=60'
        assert told(answer) == (0, about(20))
        assert int(answer.headers["retry-after"]) == about(20)
    assert await workspace.services.journal.head() == head
    another = bearer(await workspace.key("viewer"))
    assert (await workspace.api.get(SELF, headers=another)).headers["ratelimit"].startswith('"key";r=2;')
    inviter = await workspace.api.get(SELF, headers=bearer(workspace.integration_key))
    assert inviter.headers["ratelimit"].startswith('"key";r=2;')


async def test_a_changed_limit_is_in_force_at_once(workspace: Tenant, other_process: httpx.AsyncClient) -> None:
    viewer = bearer(await workspace.key("viewer"))
    await limit(workspace, keyRate=Rate(4, 60))
    for _ in range(4):
        assert (await workspace.api.get(SELF, headers=viewer)).status_code == 200
    problem(await workspace.api.get(SELF, headers=viewer), 429, "rate-limited")
    await limit(workspace, keyRate=Rate(1000, 1))  # nobody owes more than one window, which is now a second
    assert (await workspace.api.get(SELF, headers=viewer)).headers["ratelimit-policy"] == '"key";q=1000;w=1'
    await asyncio.sleep(0.002)
    assert (await workspace.api.get(SELF, headers=viewer)).status_code == 200
    await limit(workspace, keyRate=None)

    async def policy() -> Any:
        return (await other_process.get(SELF, headers=viewer)).headers.get("ratelimit-policy")

    answer = await workspace.api.get(SELF, headers=viewer)
    assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
    await eventually(policy, None, seconds=1)
    await limit(workspace, keyRate=Rate(7, 60))
    await eventually(policy, '"key";q=7;w=60', seconds=1)


async def test_the_workspace_has_a_limit_for_all_its_keys_together(workspace: Tenant, neighbour: Tenant) -> None:
    viewers = [bearer(await workspace.key("viewer")) for _ in range(3)]
    await limit(workspace, rate=Rate(2, 60), keyRate=Rate(100, 60))
    first = await workspace.api.get(SELF, headers=viewers[0])
    assert first.headers["ratelimit-policy"] == '"key";q=100;w=60, "workspace";q=2;w=60'
    assert first.headers["ratelimit"] == '"key";r=99;t=1, "workspace";r=1;t=30'
    assert (await workspace.api.get(SELF, headers=viewers[1])).status_code == 200
    refused = await workspace.api.get(SELF, headers=viewers[2])
    assert "2 requests in 60 seconds" in problem(refused, 429, "rate-limited")["detail"]
    assert int(refused.headers["retry-after"]) == about(30)
    assert (await neighbour.get(SELF)).status_code == 200


async def test_a_service_key_is_verified_as_often_as_its_policy_says(workspace: Tenant) -> None:
    partner = await join(workspace, Offer(policy=KeyPolicy(rate=Rate(2, 60))))
    key = partner.keys["prod"]
    for _ in range(2):
        verdict = await workspace.verdict(key.secret)
        assert (verdict["valid"], verdict["retryAfterSeconds"]) == (True, None)
    verdict = await workspace.verdict(key.secret)
    assert (verdict["valid"], verdict["code"]) == (False, "rate-limited")
    assert verdict["retryAfterSeconds"] == about(30)
    answer = await workspace.api.get(SELF, headers=key.headers)
    problem(answer, 429, "rate-limited")
    assert answer.headers["ratelimit-policy"] == '"key";q=2;w=60'
    path = f"/api/v1/integrations/{partner.integration_id}"
    await changed(workspace, path, {"environments": {"prod": {"policy": {"rate": {"requests": 1000, "seconds": 1}}}}})
    await eventually(lambda: code(workspace, key.secret), "valid", seconds=1)
    await changed(workspace, path, {"environments": {"prod": {"policy": {"rate": None}}}})
    assert "ratelimit" not in (await workspace.api.get(SELF, headers=key.headers)).headers


async def test_what_is_refused_for_another_reason_costs_nothing(workspace: Tenant) -> None:
    key = await prod(workspace, Offer(("send",), policy=KeyPolicy(rate=Rate(1, 60))))
    for _ in range(3):
        assert (await workspace.verdict(key.secret, action="receive"))["code"] == "action-not-permitted"
    assert (await workspace.verdict(key.secret))["code"] == "valid"
    assert (await workspace.verdict(key.secret, action="receive"))["code"] == "action-not-permitted"
    assert (await workspace.verdict(key.secret))["code"] == "rate-limited"


async def test_an_address_that_tries_keys_is_slowed_and_locks_nobody_out(workspace: Tenant, services: Services) -> None:
    async def attempt(client: httpx.AsyncClient, key: str) -> httpx.Response:
        return await client.get(SELF, headers=bearer(key))

    async with coming_from(services, address()) as there, coming_from(services, address()) as elsewhere:
        assert (await attempt(there, workspace.owner_key)).status_code == 200
        for _ in range(10):
            for wrong in ("kf_nonsense", unknown()):
                problem(await attempt(there, wrong), 401, "unauthenticated")
        attempts = [asyncio.create_task(attempt(there, unknown())) for _ in range(8)]
        done, waiting = await asyncio.wait(attempts, timeout=0.5)
        refused = [each.result() for each in done if each.result().status_code == 429]
        assert len(refused) >= 3  # at once, for their turn is too far away
        for answer in refused:
            problem(answer, 429, "too-many-failures")
            assert 3 <= int(answer.headers["retry-after"]) <= 9
        assert (await attempt(there, workspace.owner_key)).status_code == 200
        problem(await attempt(elsewhere, unknown()), 401, "unauthenticated")
        problem(await next(asyncio.as_completed(waiting)), 401, "unauthenticated")  # it waited for its turn
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_verification_counts_attempts_against_the_address_it_was_told(workspace: Tenant) -> None:
    guesser, good = address(), await prod(workspace)
    assert (await workspace.verdict(good.secret, address=guesser))["code"] == "valid"
    for _ in range(10):
        for wrong in ("kf_nonsense", unknown()):
            assert (await workspace.verdict(wrong, address=guesser))["code"] == "unknown-key"
    verdicts = [asyncio.create_task(workspace.verdict(unknown(), address=guesser)) for _ in range(8)]
    done, waiting = await asyncio.wait(verdicts, timeout=0.5)
    refused = [each.result() for each in done if each.result()["code"] != "unknown-key"]
    assert len(refused) >= 3
    for each in refused:
        assert (each["valid"], each["code"], each["keyId"]) == (False, "too-many-failures", None)
        assert each["retryAfterSeconds"] > 2
    assert (await workspace.verdict(good.secret, address=guesser))["code"] == "valid"
    assert (await workspace.verdict(unknown(), address=address()))["code"] == "unknown-key"
    assert (await workspace.verdict(unknown()))["code"] == "unknown-key"
    assert waiting
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
