"""The life of a key: suspended and back, revoked for good, with all that was delegated by it; named and limited."""

from datetime import timedelta

import httpx
import pytest

from keyfold.domain.policy import KeyPolicy, Offer

from .keys import (
    NOON,
    act,
    change,
    changed,
    code,
    delegate,
    done,
    excess,
    hears,
    held,
    issue,
    join,
    prod,
    read,
    rotated,
    trail,
    types,
)
from .tenant import Clock, Tenant, pointers, problem


async def test_a_suspended_key_comes_back(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = await prod(workspace)
    data = (await act(workspace, "suspend", key.id, {"reason": "the weekend"})).json()["data"]
    assert (data["status"], data["isActive"], data["suspendedBy"]) == ("suspended", False, "own")
    assert (data["suspendedAt"], data["suspendedReason"]) == ("2031-03-01T12:00:00Z", "the weekend")
    assert await code(workspace, key.secret) == "suspended"
    data = await done(workspace, "reinstate", key.id)
    assert (data["status"], data["isActive"]) == ("active", True)
    assert (data["suspendedAt"], data["suspendedReason"], data["suspendedBy"]) == (None, None, None)
    assert await code(workspace, key.secret) == "valid"


@pytest.mark.parametrize("what", ["suspend", "reinstate", "revoke"])
async def test_doing_it_again_changes_nothing(workspace: Tenant, what: str) -> None:
    key = await prod(workspace)
    await done(workspace, what, key.id)
    head = await workspace.services.journal.head()
    again = await act(workspace, what, key.id)
    assert (again.status_code, int(again.headers["Keyfold-Position"])) == (200, head)
    assert await workspace.services.journal.head() == head


async def test_the_first_reason_stays(workspace: Tenant) -> None:
    key = await prod(workspace)
    for reason in ("first", "second"):
        assert (await act(workspace, "suspend", key.id, {"reason": reason})).json()["data"][
            "suspendedReason"
        ] == "first"
    for reason in ("third", "fourth"):
        assert (await act(workspace, "revoke", key.id, {"reason": reason})).json()["data"]["revokedReason"] == "third"


async def test_a_revoked_key_never_comes_back(workspace: Tenant) -> None:
    key = await prod(workspace)
    await done(workspace, "suspend", key.id)
    assert (await done(workspace, "revoke", key.id))["status"] == "revoked"
    for what, body in (("reinstate", {}), ("suspend", {"reason": "x"}), ("rotate", {}), ("delegate", {})):
        problem(await act(workspace, what, key.id, body), 409, "key-ended")
    assert await code(workspace, key.secret) == "revoked"
    assert await types(workspace, key.id) == ["issued", "suspended", "revoked"]


async def test_an_expired_key_ends_but_can_still_be_revoked(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    key = await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=60)))
    clock.advance(timedelta(seconds=60))
    assert (await read(workspace, key.id))["status"] == "expired"
    problem(await act(workspace, "suspend", key.id), 409, "key-ended")
    assert (await done(workspace, "revoke", key.id))["status"] == "revoked"


async def test_what_happens_to_a_key_happens_to_all_below_it_in_one_stroke(workspace: Tenant) -> None:
    key = await prod(workspace)
    child = held(await delegate(workspace, key.id))
    grandchild = held(await delegate(workspace, child.id))
    family = [key, child, grandchild]
    for what, status, said in [
        ("suspend", "suspended", "suspended"),
        ("reinstate", "active", "valid"),
        ("revoke", "revoked", "revoked"),
    ]:
        head = await workspace.services.journal.head()
        answer = await act(workspace, what, key.id)
        assert int(answer.headers["Keyfold-Position"]) == await workspace.services.journal.head() == head + 3
        assert [(await read(workspace, each.id))["status"] for each in family] == [status] * 3
        assert [await code(workspace, each.secret) for each in family] == [said] * 3
    for each in family[1:]:
        events = await trail(workspace, each.id)
        assert [event["data"].get("reason") for event in events[-3:]] == [
            "parent suspended: because", None, "parent revoked: because",
        ]  # fmt: skip
        assert events[-3]["data"]["by"] == "parent"
        assert events[-1]["correlationId"] == answer.headers["x-request-id"]


async def test_only_what_was_suspended_with_the_parent_comes_back_with_it(workspace: Tenant) -> None:
    key = await prod(workspace)
    first, second, third = [held(await delegate(workspace, key.id)) for _ in range(3)]
    below = held(await delegate(workspace, first.id))
    await done(workspace, "suspend", first.id)
    await done(workspace, "suspend", key.id)
    await done(workspace, "suspend", second.id)
    await done(workspace, "revoke", third.id)
    await done(workspace, "reinstate", key.id)
    status = {each.id: (await read(workspace, each.id))["status"] for each in (key, first, second, third, below)}
    assert [*status.values()] == ["active", "suspended", "suspended", "revoked", "suspended"]
    await done(workspace, "reinstate", first.id)
    assert (await read(workspace, below.id))["status"] == "active"


async def test_nothing_comes_back_below_a_suspended_parent(workspace: Tenant) -> None:
    key = await prod(workspace)
    child = held(await delegate(workspace, key.id))
    await done(workspace, "suspend", key.id)
    problem(await act(workspace, "reinstate", child.id), 409, "parent-suspended")
    assert await code(workspace, child.secret) == "suspended"
    await done(workspace, "reinstate", key.id)
    assert await code(workspace, child.secret) == "valid"


async def test_a_key_that_is_not_valid_yet_can_be_suspended_and_becomes_valid_by_itself(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    partner = await join(workspace)
    start = NOON + timedelta(hours=1)
    asked = {"kind": "service", "partnerId": partner.id, "environment": "prod", "notBefore": start.isoformat()}
    key = held(await issue(workspace, **asked))
    assert (key.data["status"], key.data["isActive"]) == ("pending", True)
    problem(await act(workspace, "rotate", key.id), 409, "key-not-in-use")
    await done(workspace, "suspend", key.id)
    assert (await done(workspace, "reinstate", key.id))["status"] == "pending"
    clock.set(start - timedelta(microseconds=1))
    assert await code(workspace, key.secret) == "pending"
    clock.set(start)
    assert await code(workspace, key.secret) == "valid"


async def test_keys_are_named_by_the_template_of_the_policy(workspace: Tenant) -> None:
    offer = Offer(policy=KeyPolicy(name_template="{integration}: {app} ({environment})"))
    partner = await join(workspace, dev=offer, prod=offer)
    assert {name: key.data["name"] for name, key in partner.keys.items()} == {
        "dev": "Shop: Orders (dev)",
        "prod": "Shop: Orders (prod)",
    }
    asked = {"kind": "service", "partnerId": partner.id, "environment": "dev"}
    assert held(await issue(workspace, **asked)).data["name"] == "Shop: Orders (dev)"
    assert held(await issue(workspace, **asked, name="mine")).data["name"] == "mine"
    part = held(await delegate(workspace, partner.keys["dev"].id))
    assert part.data["name"] == "Shop: Orders (dev) (part)"
    assert pointers(await issue(workspace, kind="account", role="viewer")) == ["/name"]


async def test_only_so_many_keys_of_a_partner_live_in_an_environment(workspace: Tenant) -> None:
    limited = Offer(policy=KeyPolicy(live_keys=2))
    partner = await join(workspace, prod=limited, dev=limited)
    first = partner.keys["prod"]
    asked = {"kind": "service", "partnerId": partner.id, "environment": "prod"}
    second = held(await issue(workspace, **asked))
    await done(workspace, "suspend", second.id)
    for answer in (await issue(workspace, **asked), await delegate(workspace, first.id)):
        problem(answer, 409, "too-many-keys")
    held(await issue(workspace, **asked | {"environment": "dev"}))
    successor = await rotated(workspace, first.id)
    problem(await issue(workspace, **asked), 409, "too-many-keys")
    await done(workspace, "revoke", successor.id)
    held(await issue(workspace, **asked))
    assert (await join(workspace)).id != partner.id


async def test_a_key_lives_by_the_policy_of_its_birth(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace, Offer(policy=KeyPolicy(lifetime_seconds=86400, rotation_seconds=3600)))
    key = partner.keys["prod"]
    assert (key.data["expiresAt"], key.data["rotationDueAt"]) == ("2031-03-02T12:00:00Z", "2031-03-01T13:00:00Z")
    policy = {"environments": {"prod": {"policy": {"lifetimeSeconds": 60, "rotationSeconds": None}}}}
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", policy)
    assert (await read(workspace, key.id))["expiresAt"] == "2031-03-02T12:00:00Z"
    asked = {"kind": "service", "partnerId": partner.id, "environment": "prod"}
    later = held(await issue(workspace, **asked))
    assert (later.data["expiresAt"], later.data["rotationDueAt"]) == ("2031-03-01T12:01:00Z", None)


async def test_a_key_of_an_environment_that_is_offered_no_more_can_be_renamed_suspended_and_revoked(
    workspace: Tenant,
) -> None:
    partner = await join(workspace, dev=Offer(), prod=Offer())
    key = partner.keys["dev"]
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", {"environments": {"dev": None}})
    assert await code(workspace, key.secret) == "environment-not-offered"
    assert (await changed(workspace, key.id, {"name": "left over", "isActive": False}))["name"] == "left over"
    await done(workspace, "reinstate", key.id)
    problem(await act(workspace, "rotate", key.id), 409, "key-not-in-use")
    assert excess(await change(workspace, key.id, {"permitted": ["send"]})) == ["/permitted"]
    assert (await done(workspace, "revoke", key.id))["status"] == "revoked"


async def test_what_one_process_did_the_other_hears_of(workspace: Tenant, other_process: httpx.AsyncClient) -> None:
    key = await prod(workspace)
    child = held(await delegate(workspace, key.id))
    for what, said in [("reinstate", "valid"), ("suspend", "suspended"), ("reinstate", "valid"), ("revoke", "revoked")]:
        await done(workspace, what, key.id)
        for each in (key, child):
            await hears(other_process, workspace, each.secret, said)
