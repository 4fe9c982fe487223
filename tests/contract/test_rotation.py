"""Rotation: a successor with all that the old key has, and no moment in which neither is taken."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from keyfold.domain.permissions import Conditions
from keyfold.domain.policy import KeyPolicy, Offer

from .keys import (
    KEYS,
    NOON,
    Held,
    act,
    changed,
    code,
    delegate,
    done,
    eventually,
    held,
    issue,
    join,
    prod,
    read,
    rotated,
    told,
    trail,
    types,
)
from .tenant import Clock, Tenant, bearer, pointers, problem

MOMENT = timedelta(microseconds=1)
DAY = 86400


async def use(workspace: Tenant, key: Held) -> None:
    """Uses the successor of a rotation, and waits until that is written down."""
    assert await code(workspace, key.secret) == "valid"

    async def noted() -> bool:
        return "first-used" in await types(workspace, key.id)

    await eventually(noted)


async def owner(workspace: Tenant) -> str:
    """The id of the owner's key."""
    return str((await workspace.verdict(workspace.owner_key))["keyId"])


async def owners(workspace: Tenant) -> list[str]:
    found: list[str] = (await workspace.get("/api/v1/workspace")).json()["data"]["owners"]
    return found


@pytest.mark.parametrize("days", [7, 30])
async def test_both_keys_are_taken_until_the_overlap_is_over(workspace: Tenant, clock: Clock, days: int) -> None:
    clock.set(NOON)
    old = await prod(workspace)
    new = await rotated(workspace, old.id, overlapSeconds=days * DAY, overlapStarts="now")
    ends = NOON + timedelta(days=days)
    assert new.data["predecessorId"] == old.id
    before = new.data["predecessor"]
    assert (before["status"], before["successorId"]) == ("retiring", new.id)
    assert datetime.fromisoformat(before["retiresAt"]) == ends
    verdict = await workspace.verdict(old.secret)
    assert (verdict["code"], verdict["remainingSeconds"]) == ("valid", days * DAY)
    clock.set(ends - MOMENT)
    assert [await code(workspace, each.secret) for each in (old, new)] == ["valid", "valid"]
    clock.set(ends)
    assert [await code(workspace, each.secret) for each in (old, new)] == ["retired", "valid"]
    assert (await workspace.verdict(old.secret))["remainingSeconds"] == 0
    assert (await read(workspace, old.id))["status"] == "retired"


async def test_without_overlap_the_old_key_retires_at_once(workspace: Tenant) -> None:
    old = await prod(workspace)
    new = await rotated(workspace, old.id, overlapSeconds=0, overlapStarts="now")
    assert [await code(workspace, each.secret) for each in (old, new)] == ["retired", "valid"]


async def test_an_overlap_that_starts_with_the_first_use_waits_for_it(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    old = await prod(workspace)
    new = await rotated(workspace, old.id, overlapSeconds=3600, overlapStarts="first-use")
    assert (new.data["predecessor"]["status"], new.data["predecessor"]["retiresAt"]) == ("retiring", None)
    clock.advance(timedelta(days=60))
    verdict = await workspace.verdict(old.secret)
    assert (verdict["code"], verdict["remainingSeconds"]) == ("valid", None)
    await use(workspace, new)
    assert await types(workspace, old.id) == ["issued", "rotated", "retiring"]
    retires = datetime.fromisoformat((await read(workspace, old.id))["retiresAt"])
    assert retires == NOON + timedelta(days=60, hours=1)
    (event,) = [each for each in await trail(workspace, old.id) if each["type"] == "key.retiring.v1"]
    assert (event["actor"]["kind"], event["actor"]["id"]) == ("system", "first-use")
    clock.set(retires - MOMENT)
    assert await code(workspace, old.secret) == "valid"
    clock.set(retires)
    assert [await code(workspace, each.secret) for each in (old, new)] == ["retired", "valid"]


async def test_a_refused_use_is_no_first_use(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    old = await prod(workspace)
    new = await rotated(workspace, old.id, overlapStarts="first-use")
    await changed(workspace, new.id, {"permitted": ["send"]})
    assert await code(workspace, new.secret, action="receive") == "action-not-permitted"
    await changed(workspace, new.id, {"permitted": ["send", "receive"]})  # whatever was begun has come to its end
    assert "first-used" not in await types(workspace, new.id)
    again = await rotated(workspace, old.id)
    assert [await code(workspace, each.secret) for each in (new, again)] == ["revoked", "valid"]


async def test_the_first_use_is_seen_in_every_process_and_written_once(
    workspace: Tenant, other_process: httpx.AsyncClient
) -> None:
    old = await prod(workspace)
    new = await rotated(workspace, old.id, overlapStarts="first-use")
    for client in (other_process, workspace.api) * 3:
        assert (await told(client, workspace, new.secret))["code"] == "valid"

    async def noted() -> bool:
        return (await read(workspace, old.id))["retiresAt"] is not None

    await eventually(noted)
    for client in (other_process, workspace.api):
        assert (await told(client, workspace, new.secret))["code"] == "valid"
    assert await types(workspace, new.id) == ["issued", "first-used"]


async def test_what_isnt_said_is_as_the_policy_has_it(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    old = await prod(workspace, Offer(policy=KeyPolicy(overlap_seconds=DAY, overlap_starts="first-use")))
    new = await rotated(workspace, old.id)
    event = (await trail(workspace, old.id))[-1]["data"]
    assert (event["overlapSeconds"], event["overlapStarts"], event["successorId"]) == (DAY, "first-use", new.id)
    new = await rotated(workspace, old.id, overlapSeconds=5)
    event = (await trail(workspace, old.id))[-1]["data"]
    assert (event["overlapSeconds"], event["overlapStarts"], event["successorId"]) == (5, "first-use", new.id)


@pytest.mark.parametrize(
    ("overlap", "wrong"),
    [
        ({"overlapSeconds": -1}, ["/overlapSeconds"]),
        ({"overlapSeconds": 30 * DAY + 1}, ["/overlapSeconds"]),
        ({"overlapSeconds": 1.5}, ["/overlapSeconds"]),
        ({"overlapStarts": "later"}, ["/overlapStarts"]),
        ({"overlap": 1}, ["/overlap"]),
    ],
)
async def test_a_wrong_overlap_is_refused(workspace: Tenant, overlap: dict[str, Any], wrong: list[str]) -> None:
    key = await prod(workspace)
    assert pointers(await act(workspace, "rotate", key.id, overlap)) == wrong
    assert await types(workspace, key.id) == ["issued"]


async def test_the_successor_has_all_that_the_old_key_had_and_no_later_end(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace, Offer(policy=KeyPolicy(lifetime_seconds=10 * DAY)))
    old = held(
        await issue(
            workspace,
            kind="service",
            partnerId=partner.id,
            environment="prod",
            name="orders",
            purpose="sync",
            tags=["a", "b"],
            permitted=["send"],
            options={"send": {"topics": ["app/order/*"], "autofill": {"x": {"y": 1}}}},
            sourceNetworks=["192.0.2.0/24"],
            expiresAt=(NOON + timedelta(days=5)).isoformat(),
        )
    )
    clock.advance(timedelta(days=1))
    new = await rotated(workspace, old.id)
    same = {*old.data} - {"id", "secret", "issuedAt", "predecessorId", "successorId", "retiresAt"}
    assert {name: new.data[name] for name in same} == {name: old.data[name] for name in same}
    assert new.data["expiresAt"] == "2031-03-06T12:00:00Z"


async def test_the_successor_lives_no_longer_than_the_policy_gives_by_now(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace, Offer())
    old = partner.keys["prod"]
    assert old.data["expiresAt"] is None
    shorter = {"environments": {"prod": {"policy": {"lifetimeSeconds": DAY, "rotationSeconds": 3600}}}}
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", shorter)
    new = await rotated(workspace, old.id)
    assert (new.data["expiresAt"], new.data["rotationDueAt"]) == ("2031-03-02T12:00:00Z", "2031-03-01T13:00:00Z")
    clock.advance(timedelta(hours=12))
    assert (await rotated(workspace, new.id)).data["expiresAt"] == "2031-03-02T12:00:00Z"


async def test_a_successor_that_nobody_used_is_replaced(workspace: Tenant) -> None:
    old = await prod(workspace)
    lost = await rotated(workspace, old.id)
    new = await rotated(workspace, old.id)
    assert [await code(workspace, each.secret) for each in (old, lost, new)] == ["valid", "revoked", "valid"]
    assert (await read(workspace, old.id))["successorId"] == new.id
    assert new.data["predecessorId"] == old.id
    assert "before it was used" in (await read(workspace, lost.id))["revokedReason"]


async def test_a_successor_in_use_is_the_one_to_rotate_next_and_two_of_a_line_live(workspace: Tenant) -> None:
    first = await prod(workspace)
    second = await rotated(workspace, first.id)
    await use(workspace, second)
    head = await workspace.services.journal.head()
    assert second.id in problem(await act(workspace, "rotate", first.id), 409, "already-rotated")["detail"]
    assert await workspace.services.journal.head() == head
    third = await rotated(workspace, second.id)
    assert [await code(workspace, each.secret) for each in (first, second, third)] == ["retired", "valid", "valid"]
    assert (await types(workspace, first.id))[-1] == "retired"


async def test_after_its_successor_was_revoked_a_key_is_rotated_anew(workspace: Tenant) -> None:
    old = await prod(workspace)
    new = await rotated(workspace, old.id)
    await use(workspace, new)
    await done(workspace, "revoke", new.id)
    assert await code(workspace, (await rotated(workspace, old.id)).secret) == "valid"


@pytest.mark.parametrize("which", ["owner", "integration", "narrowed", "service"])
async def test_every_valid_key_rotates_itself(workspace: Tenant, which: str) -> None:
    secret = {
        "owner": workspace.owner_key,
        "integration": workspace.integration_key,
        "narrowed": await workspace.key("key-manager", conditions=Conditions(environments=("dev",))),
        "service": (await prod(workspace)).secret,
    }[which]
    api = workspace.api
    answer = await api.post(f"{KEYS}/self/rotate", json={"overlapSeconds": 60}, headers=bearer(secret))
    new = held(answer)
    assert new.data["predecessorId"] == new.data["predecessor"]["id"]
    assert new.secret.split("_")[:2] == secret.split("_")[:2]
    for each in (secret, new.secret):
        answer = await api.get(f"{KEYS}/self", headers=bearer(each))
        assert answer.status_code == 200, answer.text


async def test_what_was_handed_on_moves_to_the_successor(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    old = await prod(workspace)
    part = held(await delegate(workspace, old.id))
    new = await rotated(workspace, old.id, overlapSeconds=60)
    late = held(await delegate(workspace, old.id))
    assert (await read(workspace, part.id))["parentId"] == new.id
    assert await types(workspace, part.id) == ["issued", "adopted"]
    newer = await rotated(workspace, old.id, overlapSeconds=60)
    assert [(await read(workspace, each.id))["parentId"] for each in (part, late)] == [newer.id] * 2
    clock.advance(timedelta(seconds=60))
    assert [await code(workspace, each.secret) for each in (old, part, late)] == ["retired", "valid", "valid"]
    await done(workspace, "suspend", newer.id)
    assert [await code(workspace, each.secret) for each in (part, late)] == ["suspended", "suspended"]
    await done(workspace, "revoke", newer.id)
    assert [await code(workspace, each.secret) for each in (part, late)] == ["revoked", "revoked"]


async def test_what_a_retiring_key_handed_on_ends_with_it(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    old = await prod(workspace)
    await use(workspace, await rotated(workspace, old.id, overlapSeconds=60))
    part = held(await delegate(workspace, old.id))
    assert (await workspace.verdict(part.secret))["remainingSeconds"] == 60
    clock.advance(timedelta(seconds=60))
    assert await code(workspace, part.secret) == "parent-retired"


async def test_a_part_is_rotated_below_the_same_parent(workspace: Tenant) -> None:
    key = await prod(workspace)
    part = held(await delegate(workspace, key.id, permitted=["send"]))
    new = await rotated(workspace, part.id)
    assert (new.data["parentId"], new.data["permitted"]) == (key.id, ["send"])
    await done(workspace, "suspend", key.id)
    assert [await code(workspace, each.secret) for each in (part, new)] == ["suspended", "suspended"]
    await done(workspace, "reinstate", key.id)
    assert [await code(workspace, each.secret) for each in (part, new)] == ["valid", "valid"]


async def test_offboarding_finds_the_successor(workspace: Tenant) -> None:
    partner = await join(workspace)
    new = await rotated(workspace, partner.keys["prod"].id)
    await workspace.delete(f"/api/v1/partners/{partner.id}", reason="over")
    assert await code(workspace, new.secret) == "revoked"


async def test_the_last_owner_rotates_and_again_after_a_lost_answer(workspace: Tenant) -> None:
    first = await owner(workspace)
    lost = await rotated(workspace, first)
    assert await owners(workspace) == [lost.id]
    new = await rotated(workspace, first)
    assert await owners(workspace) == [new.id]
    assert [await code(workspace, each) for each in (workspace.owner_key, lost.secret, new.secret)] == [
        "valid",
        "revoked",
        "valid",
    ]
    problem(await act(workspace, "revoke", new.id), 409, "last-owner")


async def test_only_an_owner_rotates_an_owners_key(workspace: Tenant) -> None:
    admin = bearer(await workspace.key("admin"))
    answer = await workspace.api.post(f"{KEYS}/{await owner(workspace)}/rotate", json={}, headers=admin)
    problem(answer, 403, "permission-missing")


async def test_nobody_rotates_a_key_that_has_more_than_theirs(workspace: Tenant) -> None:
    admin = (await issue(workspace, kind="account", role="admin", name="admin")).json()["data"]["id"]
    manager = bearer(await workspace.key("key-manager"))
    problem(await workspace.api.post(f"{KEYS}/{admin}/rotate", json={}, headers=manager), 403, "permission-missing")


async def test_an_idempotency_key_gives_the_same_successor_again(workspace: Tenant) -> None:
    key = await prod(workspace)
    first, again = [await act(workspace, "rotate", key.id, {}, Idempotency_Key="one") for _ in range(2)]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert held(again).secret == held(first).secret
    other = await act(workspace, "rotate", key.id, {"overlapSeconds": 1}, Idempotency_Key="one")
    problem(other, 422, "idempotency-key-reused")
    own = [
        await workspace.api.post(f"{KEYS}/self/rotate", json={}, headers=key.headers | {"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert own[0].json() == own[1].json()
    assert held(own[0]).id != held(first).id


async def test_of_many_rotations_at_once_one_successor_remains(workspace: Tenant) -> None:
    key = await prod(workspace)
    answers = await asyncio.gather(*[act(workspace, "rotate", key.id) for _ in range(6)])
    made = [held(answer) for answer in answers if answer.status_code == 201]
    assert len(made) > 1
    codes = [await code(workspace, each.secret) for each in made]
    assert sorted(codes) == ["revoked"] * (len(made) - 1) + ["valid"]
    assert made[codes.index("valid")].id == (await read(workspace, key.id))["successorId"]
