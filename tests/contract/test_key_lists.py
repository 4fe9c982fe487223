"""Which keys are there: by any of what a key is, by how it is used, and by what it may do this very moment."""

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from keyfold.app import search
from keyfold.app.keys import NewKey
from keyfold.app.usage import Usage
from keyfold.domain.ids import ENTROPY, new_id
from keyfold.domain.permissions import Conditions
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rule import Options, Send

from .conftest import System
from .tenant import Clock, Tenant, bearer, pointers, problem

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
DAY = timedelta(days=1)
EDGE = timedelta(microseconds=1)


async def found(workspace: Tenant, secret: str = "", **filters: Any) -> list[str]:
    """The ids of all pages, by all that was written so far, once every page is known to be as long as it can be."""
    at, ids, cursor = await workspace.services.journal.head(), [], None
    limit = filters.setdefault("limit", 50)
    while True:
        params = filters | {"minPosition": at} | ({"cursor": cursor} if cursor else {})
        answer = await workspace.api.get("/api/v1/keys", params=params, headers=bearer(secret or workspace.owner_key))
        assert answer.status_code == 200, answer.text
        page, cursor = answer.json()["data"], answer.json()["nextCursor"]
        ids += [each["id"] for each in page]
        assert ids == sorted(ids, reverse=True)
        if cursor is None:
            return ids
        assert len(page) == limit


async def issued(workspace: Tenant, partner_id: str, **wanted: Any) -> str:
    new = NewKey(**{"kind": "service", "partner_id": partner_id, "environment": "prod"} | wanted)
    return (await workspace.services.keys.issue(workspace.caller, new)).view.id


async def account(workspace: Tenant, **wanted: Any) -> str:
    made = await workspace.services.keys.issue(workspace.caller, NewKey(kind="account", **wanted))
    return made.view.id


async def used(workspace: Tenant, key_id: str, at: datetime, action: str | None = None, outcome: str = "valid") -> None:
    usage = Usage()
    usage.note(key_id, outcome, at, action=action)
    await workspace.services.usage_store.flush(usage)


async def integration_of(workspace: Tenant, **environments: Offer) -> str:
    """A partner of a further integration that offers just this."""
    this = await workspace.integration(environments=environments)
    workspace.integration_key = await workspace.key_of_integration(this)
    workspace.integration_id = this
    return (await workspace.onboard())[0]


async def test_a_tag_is_found_whole_and_never_as_part_of_another(workspace: Tenant) -> None:
    night = await account(workspace, name="a", role="viewer", tags=("night", "export"))
    nightly = await account(workspace, name="b", role="viewer", tags=("nightly",))
    assert await found(workspace, tag="night") == [night]
    assert await found(workspace, tag="export") == [night]
    assert await found(workspace, tag="nightly") == [nightly]
    assert await found(workspace, tag="nigh%") == []


async def test_a_role_is_found_by_its_name(workspace: Tenant) -> None:
    auditor = await account(workspace, name="a", role="auditor")
    await account(workspace, name="b", role="viewer")
    assert await found(workspace, role="auditor") == [auditor]
    assert await found(workspace, role="auditor", status="revoked") == []


async def test_a_part_of_the_name_is_found_whatever_its_case(workspace: Tenant) -> None:
    first = await account(workspace, name="Bestellung ÄRGER 100%", role="viewer")
    second = await account(workspace, name="bestellung", role="viewer")
    assert {*await found(workspace, q="BESTELL")} == {second, first}
    assert await found(workspace, q="ärger") == [first]
    assert await found(workspace, q="100%") == [first]
    assert await found(workspace, q="1__%") == []


async def test_keys_are_found_by_the_key_that_they_were_handed_on_from(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    part = await workspace.services.keys.delegate(workspace.caller, keys["prod"]["id"], NewKey())
    assert await found(workspace, parentId=keys["prod"]["id"]) == [part.view.id]
    assert await found(workspace, parentId=keys["dev"]["id"]) == []
    rotated = await workspace.post(f"/api/v1/keys/{keys['prod']['id']}/rotate", {})
    assert await found(workspace, parentId=rotated.json()["data"]["id"]) == [part.view.id]
    assert await found(workspace, parentId=keys["prod"]["id"]) == []


async def test_issued_before_and_expiring_follow_the_services_clock_to_the_instant(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    timed = await account(workspace, name="a", role="viewer", expires_at=NOON + 10 * DAY)
    ended = await account(workspace, name="b", role="viewer", expires_at=NOON + 10 * DAY)
    await workspace.services.key_life.revoke(workspace.caller, ended, "x")
    clock.set(NOON + DAY)
    assert timed in await found(workspace, issuedBefore=(NOON + EDGE).isoformat())
    assert timed not in await found(workspace, issuedBefore=NOON.isoformat())
    for moment, is_found in [
        (NOON + 5 * DAY - EDGE, False),
        (NOON + 5 * DAY, True),
        (NOON + 10 * DAY - EDGE, True),
        (NOON + 10 * DAY, False),
    ]:
        clock.set(moment)
        assert await found(workspace, expiresWithinDays=5) == [timed] * is_found, moment


async def test_a_rotation_that_is_due_or_overdue_is_found_until_it_is_done(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    offer = Offer(policy=KeyPolicy(rotation_seconds=30 * 86400))
    partner_id = await integration_of(workspace, prod=offer)
    (key_id,) = await found(workspace, partnerId=partner_id)
    for moment, is_found in [(NOON + 23 * DAY - EDGE, False), (NOON + 23 * DAY, True), (NOON + 90 * DAY, True)]:
        clock.set(moment)
        assert await found(workspace, rotationDueWithinDays=7) == [key_id] * is_found, moment
    await workspace.post(f"/api/v1/keys/{key_id}/rotate", {})
    assert await found(workspace, rotationDueWithinDays=7) == []


async def test_idle_keys_are_those_without_a_valid_use_for_so_long(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    names = ("never", "long-ago", "lately", "refused", "dead")
    ids = {name: await account(workspace, name=name, role="viewer", tags=("t",)) for name in names}
    await used(workspace, ids["long-ago"], NOON + 10 * DAY)
    await used(workspace, ids["lately"], NOON + 10 * DAY + EDGE)
    await used(workspace, ids["refused"], NOON + 39 * DAY, outcome="suspended")
    await workspace.services.key_life.revoke(workspace.caller, ids["dead"], "x")
    clock.set(NOON + 40 * DAY)
    young = await account(workspace, name="young", role="viewer", tags=("t",))
    idle = await found(workspace, idleDays=30, tag="t")
    assert idle == sorted((ids[name] for name in ("never", "long-ago", "refused")), reverse=True)
    assert young not in await found(workspace, idleDays=1)
    assert ids["never"] in await found(workspace, idleDays=40)
    assert ids["never"] not in await found(workspace, idleDays=41)


async def test_over_wide_keys_may_send_or_receive_and_didnt_for_so_long(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner_id, _ = await workspace.onboard()
    both = await issued(workspace, partner_id, name="both", tags=("t",))
    wide = await issued(workspace, partner_id, name="wide", tags=("t",))
    narrow = await issued(workspace, partner_id, name="narrow", tags=("t",), permitted=("receive",))
    asked_only = await issued(workspace, partner_id, name="asked", tags=("t",), permitted=("receive",))
    schema = await issued(workspace, partner_id, name="none", tags=("t",), permitted=())
    later = NOON + 20 * DAY
    for key_id, action in [(both, "send"), (both, "receive"), (wide, "send"), (narrow, "receive"), (schema, None)]:
        await used(workspace, key_id, later, action)
    await used(workspace, asked_only, later)
    await used(workspace, asked_only, later, "receive", outcome="topic-not-permitted")
    clock.set(NOON + 30 * DAY)
    assert await found(workspace, overWideDays=20, tag="t") == sorted((wide, asked_only), reverse=True)
    assert await found(workspace, overWideDays=20, tag="t", q="ask") == [asked_only]
    assert len(await found(workspace, overWideDays=10, tag="t")) == 4
    assert await found(workspace, overWideDays=31, tag="t") == []


ORDERS = Options(send=Send(topics=("app/order/*",)))


async def test_who_may_send_is_answered_as_a_verification_would(workspace: Tenant) -> None:
    partner_id = await integration_of(workspace, prod=Offer(options=ORDERS), dev=Offer(("receive",)))
    await workspace.services.keys.issue(workspace.caller, NewKey(kind="account", name="a", role="owner"))
    names: dict[str, dict[str, Any]] = {
        "open": {},
        "exactly": {"options": {"send": {"topics": ("app/order/created",)}}},
        "elsewhere": {"options": {"send": {"topics": ("app/order/paid",)}}},
        "receives": {"permitted": ("receive",)},
        "networked": {"source_networks": ("198.51.100.0/24",)},
        "suspended": {},
        "revoked": {},
        "pending": {"not_before": NOON.replace(year=2090)},
    }
    made = {
        name: await workspace.services.keys.issue(
            workspace.caller, NewKey(name=name, partner_id=partner_id, environment="prod", tags=("t",), **wanted)
        )
        for name, wanted in names.items()
    }
    life, by = workspace.services.key_life, workspace.caller
    await life.suspend(by, made["suspended"].view.id, "x")
    await life.revoke(by, made["revoked"].view.id, "x")
    for asked in ({"action": "send", "topic": "app/order/created"}, {"action": "receive"}, {"action": "datasets"}):
        expected = [
            each.view.id
            for each in made.values()
            if (await workspace.verdict(each.view.secret, address="198.51.100.7", **asked))["valid"]
        ]
        assert await found(workspace, tag="t", **asked) == sorted(expected, reverse=True), asked
    sending = await found(workspace, tag="t", action="send", topic="app/order/created")
    assert {*sending} == {made[name].view.id for name in ("networked", "exactly", "open")}


async def test_who_may_send_follows_a_parent_and_an_integration_that_were_narrowed_a_moment_ago(
    workspace: Tenant,
) -> None:
    partner_id = await integration_of(workspace, prod=Offer(options=ORDERS))
    (parent,) = await found(workspace, partnerId=partner_id)
    keys = workspace.services.keys
    part = (await keys.delegate(workspace.caller, parent, NewKey(name="part"))).view.id
    asked: dict[str, Any] = {"action": "send", "topic": "app/order/created", "partnerId": partner_id}
    url = f"/api/v1/keys/{parent}"

    async def now() -> list[str]:
        """Without waiting for any position: the list is exact by itself."""
        answer = await workspace.get("/api/v1/keys", **asked)
        return [each["id"] for each in answer.json()["data"]]

    assert {*await now()} == {part, parent}
    await changed(workspace, url, {"options": {"send": {"topics": ["app/order/paid"]}}})
    assert await now() == []
    await changed(workspace, url, {"options": {"send": {"topics": ["app/order/*"]}}})
    assert {*await now()} == {part, parent}
    await changed(
        workspace,
        f"/api/v1/integrations/{workspace.integration_id}",
        {"environments": {"prod": {"permitted": ["receive"]}}},
    )
    assert await now() == []


async def test_pages_of_those_who_may_are_full_and_continue_where_they_ended(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BATCH", 3)
    partner_id, _ = await workspace.onboard()
    keys = [
        await issued(
            workspace, partner_id, name=f"{n}", tags=("t",), permitted=("send",) if n % 3 == 0 else ("receive",)
        )
        for n in range(24)
    ]
    expected = sorted(keys[::3], reverse=True)
    for limit in (1, 3, 4, 8, 50):
        assert await found(workspace, action="send", topic="a", tag="t", limit=limit) == expected, limit
    monkeypatch.setattr(search, "MOST", 6)
    answer = await workspace.get("/api/v1/keys", action="send", tag="t", limit=5)
    assert [each["id"] for each in answer.json()["data"]] == expected[:2]
    ids, cursor = [], None
    for _ in range(4):
        answer = await workspace.get(
            "/api/v1/keys", action="send", tag="t", limit=5, **({"cursor": cursor} if cursor else {})
        )
        ids += [each["id"] for each in answer.json()["data"]]
        cursor = answer.json()["nextCursor"]
    assert ids == expected


async def test_filters_never_reach_beyond_the_caller(workspace: Tenant, neighbour: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    other_id, _ = await workspace.onboard()
    await neighbour.onboard()
    narrow = await workspace.key("viewer", conditions=Conditions(partners=(partner_id,), environments=("dev",)))
    for asked in ({"q": "e"}, {"action": "send", "topic": "a"}, {"overWideDays": 1}):
        own = "overWideDays" not in asked
        assert await found(workspace, narrow, **asked) == [keys["dev"]["id"]] * own, asked
        theirs = {*await found(neighbour, **asked)}
        assert not theirs & {*await found(workspace, **asked)}
    for asked in ({"partnerId": other_id}, {"partnerId": other_id, "action": "send"}):
        answer = await workspace.api.get("/api/v1/keys", params=asked, headers=bearer(narrow))
        problem(answer, 404, "not-found")


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"topic": "a"}, "?action"),
        ({"action": "send", "topic": "a/*"}, "?topic"),
        ({"action": "fly"}, "?action"),
        ({"action": "send", "cursor": "x"}, "?cursor"),
        ({"idleDays": 0}, "?idleDays"),
        ({"overWideDays": 3661}, "?overWideDays"),
        ({"expiresWithinDays": "soon"}, "?expiresWithinDays"),
        ({"rotationDueWithinDays": -1}, "?rotationDueWithinDays"),
        ({"issuedBefore": "2026-03-01T12:00:00"}, "?issuedBefore"),
        ({"issuedBefore": "0001-01-01T00:00:00+14:00"}, "?issuedBefore"),
        ({"q": ""}, "?q"),
        ({"q": "a\0"}, "?q"),
        ({"tag": "a\nb"}, "?tag"),
        ({"role": "\0"}, "?role"),
        ({"parentId": "\0"}, "?parentId"),
    ],
)
async def test_what_makes_no_filter_is_refused_by_name(workspace: Tenant, asked: dict[str, Any], pointer: str) -> None:
    assert pointers(await workspace.get("/api/v1/keys", **asked)) == [pointer]


async def test_ten_thousand_keys_are_searched(
    workspace: Tenant, system: System, clock: Clock, record_property: Callable[[str, object], None]
) -> None:
    """Each search passes over all of them, or nearly all."""
    partner_id, keys = await workspace.onboard()
    others = await found(workspace)
    likenesses = await multiply(system.settings.worker_database_url, keys["prod"]["id"], 10_000)
    clock.advance(40 * DAY)
    usage = Usage()
    for key_id in [*likenesses, *others]:
        usage.note(key_id, "valid", clock(), action="send")
        usage.note(key_id, "valid", clock(), action="receive")
    await workspace.services.usage_store.flush(usage)

    took = {}

    async def listed(**asked: Any) -> int:
        started = time.perf_counter()
        answer = await workspace.get("/api/v1/keys", limit=200, **asked)
        took[str(asked)] = time.perf_counter() - started
        return len(answer.json()["data"])

    asked: dict[str, Any] = {"action": "send", "topic": "app/order/created"}
    for nothing in (
        {"q": "no such name"},
        {"tag": "no such tag"},
        {"parentId": keys["dev"]["id"]},
        {"idleDays": 30},
        {"overWideDays": 30},
        {"expiresWithinDays": 30},
        {"rotationDueWithinDays": 30},
        {"action": "datasets"},
        asked | {"q": "no such name"},
        asked | {"idleDays": 30},
    ):
        assert await listed(**nothing) == 0, nothing
    assert await listed(**asked) == 200
    narrowed = {"environments": {"prod": {"permitted": ["receive"]}}}
    await changed(workspace, f"/api/v1/integrations/{workspace.integration_id}", narrowed)
    assert await listed(partnerId=partner_id, environment="prod", **asked) == 0
    slowest = max(took, key=lambda each: took[each])
    record_property("measured", f"the slowest search over 10,000 keys: {slowest} in {took[slowest] * 1000:.0f} ms")


async def changed(workspace: Tenant, url: str, change: Any) -> None:
    """A merge patch of what stands there by now."""
    headers = bearer(workspace.owner_key) | {"If-Match": (await workspace.get(url)).headers["etag"]}
    assert (await workspace.api.patch(url, json=change, headers=headers)).status_code == 200


async def multiply(worker_url: str, key_id: str, count: int) -> list[str]:
    """So many likenesses of a key, in the lists alone."""
    ids = [new_id("key", NOON, secrets.token_bytes(ENTROPY)) for _ in range(count)]
    connection = await asyncpg.connect(worker_url)
    try:
        names = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'projections'"
            " AND table_name = 'keys' AND column_name NOT IN ('id', 'state')"
        )
        others = ", ".join(each["column_name"] for each in names)
        await connection.execute(
            f"INSERT INTO projections.keys (id, state, {others})"
            f" SELECT likeness, replace(state::text, id, likeness)::json, {others}"
            " FROM projections.keys, unnest($2::text[]) AS likeness WHERE id = $1",
            key_id,
            ids,
        )
    finally:
        await connection.close()
    return ids
