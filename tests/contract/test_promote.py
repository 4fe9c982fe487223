"""Promotion: what a partner's key may do in dev is given to its key in stage, and then to that in prod."""

from typing import Any

import httpx
import pytest

from keyfold.domain.ids import new_id
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Options, Send

from .keys import KEYS, Partner, changed, delegate, done, excess, held, issue, join, read, trail
from .tenant import Tenant, bearer, pointers, problem

WIDE = Offer()
NARROW = Offer(permitted=("send",), options=Options(send=Send(topics=("app/order/**",))))
RULE = {
    "permitted": ["send"],
    "options": {"send": {"topics": ["app/order/created"], "autofill": {"from": "shop"}}},
}


async def promote(
    workspace: Tenant, from_id: str, to_id: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    headers = bearer(workspace.owner_key) if headers is None else headers
    return await workspace.api.post(f"{KEYS}/{from_id}/promote", json={"toKeyId": to_id, **more}, headers=headers)


async def promoted(workspace: Tenant, from_id: str, to_id: str, **more: Any) -> Any:
    answer = await promote(workspace, from_id, to_id, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def staged(workspace: Tenant, prod: Offer = WIDE) -> Partner:
    """A partner with a key in each environment, whose dev key has been narrowed."""
    partner = await join(workspace, dev=WIDE, stage=WIDE, prod=prod)
    await changed(workspace, partner.keys["dev"].id, {"name": "mine", "purpose": "trying", "tags": ["x"], **RULE})
    return partner


async def test_a_later_key_gets_what_the_earlier_may_and_nothing_else(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    before = await read(workspace, keys["prod"].id)
    said = await promoted(workspace, keys["dev"].id, keys["prod"].id)
    after = await read(workspace, keys["prod"].id)
    assert {name for name in after if after[name] != before[name]} == {"permitted", "options"}
    assert (after["permitted"], after["options"]) == (["send"], RULE["options"])
    assert said["key"] == after
    assert said["before"] == {name: before[name] for name in ("permitted", "options")}
    assert said["after"] == {name: after[name] for name in ("permitted", "options")}
    (*_, last) = await trail(workspace, keys["prod"].id)
    assert last["type"] == "key.changed.v1"
    assert {*last["data"]["after"]} == {*last["data"]["before"]} == {"rule"}
    assert (await workspace.verdict(keys["prod"].secret, action="receive"))["code"] == "action-not-permitted"


async def test_it_goes_step_by_step_or_at_once_but_never_back(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    order = ["dev", "stage", "prod"]
    for source in order:
        for target in order:
            answer = await promote(workspace, keys[source].id, keys[target].id)
            if order.index(target) > order.index(source):
                assert answer.status_code == 200
            else:
                assert pointers(answer) == ["/toKeyId"]


async def test_doing_it_again_changes_nothing(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    await promoted(workspace, keys["dev"].id, keys["prod"].id)
    head = await workspace.services.journal.head()
    again = await promoted(workspace, keys["dev"].id, keys["prod"].id)
    assert again["before"] == again["after"]
    assert await workspace.services.journal.head() == head


async def test_a_dry_run_tells_what_would_be_and_does_nothing(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    before, head = await read(workspace, keys["prod"].id), await workspace.services.journal.head()
    told = await promoted(workspace, keys["dev"].id, keys["prod"].id, dryRun=True)
    assert await workspace.services.journal.head() == head
    assert await read(workspace, keys["prod"].id) == before
    assert told["before"]["permitted"] == ["send", "receive"]
    assert await promoted(workspace, keys["dev"].id, keys["prod"].id) == told


@pytest.mark.parametrize("dry_run", [True, False])
async def test_the_later_environments_rule_is_the_ceiling_and_each_excess_is_named(
    workspace: Tenant, dry_run: bool
) -> None:
    keys = (await staged(workspace, NARROW)).keys
    topics = ["app/order/*", "app/*", "app/order/paid", "**"]
    wide = {"permitted": ["receive", "send"], "options": {"send": {"topics": topics}}}
    await changed(workspace, keys["dev"].id, wide)
    head = await workspace.services.journal.head()
    refused = await promote(workspace, keys["dev"].id, keys["prod"].id, dryRun=dry_run)
    assert excess(refused) == ["/permitted", "/options/send/topics/1", "/options/send/topics/3"]
    assert await workspace.services.journal.head() == head


async def test_a_delegated_key_stays_below_the_one_above_it(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    part = held(await delegate(workspace, keys["prod"].id, permitted=["receive"]))
    await promoted(workspace, keys["dev"].id, part.id)
    await changed(workspace, keys["prod"].id, {"permitted": ["receive"]})
    await changed(workspace, part.id, {"permitted": ["receive"]})
    assert excess(await promote(workspace, keys["dev"].id, part.id)) == ["/permitted"]


async def test_the_portal_only_narrows(workspace: Tenant) -> None:
    partner = await staged(workspace)
    keys = partner.keys
    narrowed = await promote(workspace, keys["dev"].id, keys["prod"].id, partner.headers)
    assert narrowed.status_code == 200
    wider = await promote(workspace, keys["stage"].id, keys["prod"].id, partner.headers)
    assert {*excess(wider)} == {"/permitted", "/options/send/topics/0", "/options/send/autofill"}
    assert (await promote(workspace, keys["stage"].id, keys["prod"].id)).status_code == 200


async def test_only_keys_of_the_same_partner_are_promoted(workspace: Tenant) -> None:
    one, other = await staged(workspace), await staged(workspace)
    account = held(await issue(workspace, kind="account", name="x", role="viewer")).id
    dev = one.keys["dev"].id
    for source, target in [(dev, other.keys["prod"].id), (dev, account), (account, dev), (account, account)]:
        assert pointers(await promote(workspace, source, target)) == ["/toKeyId"]


async def test_a_key_that_has_ended_gets_nothing(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    await done(workspace, "revoke", keys["prod"].id)
    problem(await promote(workspace, keys["dev"].id, keys["prod"].id), 409, "key-ended")


async def test_what_the_caller_does_not_see_is_not_found(workspace: Tenant, neighbour: Tenant) -> None:
    mine, theirs, other = await staged(workspace), await staged(neighbour), await staged(workspace)
    nowhere = new_id("key", workspace.services.clock(), bytes(10))
    dev = mine.keys["dev"].id
    for unseen in (theirs.keys["prod"].id, nowhere, workspace.integration_id):
        problem(await promote(workspace, dev, unseen), 404, "not-found")
        problem(await promote(workspace, unseen, dev), 404, "not-found")
    foreign = await promote(workspace, dev, other.keys["prod"].id, mine.headers)
    problem(foreign, 404, "not-found")


async def test_it_takes_the_permission_to_change_keys(workspace: Tenant) -> None:
    keys = (await staged(workspace)).keys
    lacking = await promote(workspace, keys["dev"].id, keys["prod"].id, bearer(await workspace.key("auditor")))
    problem(lacking, 403, "permission-missing")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [({}, ["/toKeyId"]), ({"toKeyId": 1}, ["/toKeyId"]), ({"toKeyId": "key_1", "force": True}, ["/force"])],
)
async def test_a_wrong_body_is_refused_with_pointers(workspace: Tenant, body: Any, wrong: list[str]) -> None:
    key_id = (await join(workspace)).keys["dev"].id
    assert pointers(await workspace.post(f"{KEYS}/{key_id}/promote", body)) == wrong
