"""Verification: every answer there is, the same from memory and from the truth, to whoever may ask."""

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest

from keyfold.app.views import KeyView
from keyfold.app.work import Cause, Work
from keyfold.bus.hearing import Hearing
from keyfold.domain import key
from keyfold.domain.aggregates import KEY
from keyfold.domain.permissions import Conditions
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.rates import Rate
from keyfold.domain.record import Actor
from keyfold.domain.rule import Options, Receive, Send
from keyfold.domain.tokens import mint
from keyfold.web.services import Services

from .conftest import System
from .keys import (
    KEYS,
    NOON,
    Held,
    changed,
    code,
    deaf,
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
)
from .tenant import Clock, Tenant, bearer, pointers, problem, running

RULE = Offer(
    ("send", "receive", "schema"),
    Options(send=Send(("app/order/*", "app/**")), receive=Receive(("app/order/created",))),
)
UNKNOWN = mint("kf_prod", "key_" + "0" * 26, b"s" * 32).reveal
NOTHING = dict.fromkeys(
    ("keyId", "kind", "workspaceId", "integrationId", "partnerId", "environment", "expiresAt", "remainingSeconds")
) | {"valid": False, "code": "unknown-key", "retryAfterSeconds": None, "rule": None}


class Case(NamedTuple):
    """`rule` is the level that decided, of the thing with the id `by`, and the pattern where one did."""

    code: str
    key: Held
    asked: dict[str, str]
    level: str | None
    by: str | None
    pattern: str | None = None


async def compromise(workspace: Tenant, key_id: str) -> None:
    async def command(work: Work) -> KeyView:
        this = await work.load(KEY, key_id)
        return KeyView.of(work.append(KEY, key_id, key.decide(this, key.ReportCompromised("seen"), work.now)), work.now)

    cause = Cause(Actor(kind="operator", id="test"), "req_test")
    await workspace.services.office.carry_out(cause, KeyView, command)


async def cases(workspace: Tenant, clock: Clock) -> list[Case]:
    """One key for each thing that a verification can say, an hour after noon."""
    clock.set(NOON)
    partner = await join(workspace, RULE)
    plain = partner.keys["prod"]
    wanted = {"kind": "service", "partnerId": partner.id, "environment": "prod"}

    async def fresh(**more: Any) -> Held:
        return held(await issue(workspace, **wanted, **more))

    async def after(what: str) -> Held:
        this = await fresh()
        await done(workspace, what, this.id)
        return this

    async def part(**of: Any) -> tuple[Held, str]:
        above = await fresh(**of)
        return held(await delegate(workspace, above.id)), above.id

    soon, later = NOON + timedelta(minutes=5), NOON + timedelta(hours=9)
    leaked, networked = await fresh(), await fresh(sourceNetworks=["192.0.2.0/24", "2001:db8::/32"])
    await compromise(workspace, leaked.id)
    pending, expired = await fresh(notBefore=later.isoformat()), await fresh(expiresAt=soon.isoformat())
    retired = await fresh()
    await rotated(workspace, retired.id, overlapSeconds=60)
    of_pending, above_pending = await part()
    await changed(workspace, above_pending, {"notBefore": later.isoformat()})
    of_expired, above_expired = await part()
    await changed(workspace, above_expired, {"expiresAt": soon.isoformat()})
    of_networked, above_networked = await part()
    await changed(workspace, above_networked, {"sourceNetworks": ["192.0.2.0/24"]})
    of_narrowed, above_narrowed = await part()
    await changed(workspace, above_narrowed, {"options": {"send": {"topics": ["app/invoice/*"]}}})
    few = await fresh(permitted=["receive", "schema"])
    elsewhere = await _of_a_narrowed_integration(workspace)
    gone = await _of_a_gone_environment(workspace)
    clock.set(NOON + timedelta(hours=1))
    order, here = {"action": "send", "topic": "app/order/new"}, {"address": "192.0.2.7"}
    return [
        Case("valid", plain, {}, None, None),
        Case("valid", plain, {"action": "send"}, None, None),
        Case("valid", plain, order, "key", plain.id, "app/order/*"),
        Case("valid", plain, order | {"topic": "app/a/b/c"}, "key", plain.id, "app/**"),
        Case("valid", networked, here, None, None),
        Case("valid", networked, {"address": "::ffff:192.0.2.7"}, None, None),
        Case("valid", networked, {"address": "2001:db8::9"}, None, None),
        Case("network-not-allowed", networked, {"address": "192.0.3.7"}, "key", networked.id),
        Case("network-not-allowed", networked, {"address": "somewhere"}, "key", networked.id),
        Case("address-needed", networked, {}, "key", networked.id),
        Case("address-needed", of_networked, {}, "parent", above_networked),
        Case("network-not-allowed", of_networked, {"address": "8.8.8.8"}, "parent", above_networked),
        Case("action-not-permitted", few, order, "key", few.id),
        Case("action-not-available", few, {"action": "schema"}, "key", few.id),
        Case("topic-not-permitted", few, {"action": "receive", "topic": "app/order/gone"}, "key", few.id),
        Case("beyond-parent", of_narrowed, order, "parent", above_narrowed),
        Case("beyond-integration", *elsewhere),
        Case("environment-not-offered", *gone),
        Case("pending", pending, {}, "key", pending.id),
        Case("suspended", this := await after("suspend"), order, "key", this.id),
        Case("retired", retired, {}, "key", retired.id),
        Case("expired", expired, {}, "key", expired.id),
        Case("revoked", this := await after("revoke"), {}, "key", this.id),
        Case("compromised", leaked, {}, "key", leaked.id),
        Case("parent-pending", of_pending, {}, "parent", above_pending),
        Case("parent-expired", of_expired, order, "parent", above_expired),
    ]


async def _of_a_narrowed_integration(workspace: Tenant) -> tuple[Held, dict[str, str], str, str]:
    partner = await join(workspace, Offer())
    rule = {"environments": {"prod": {"options": {"send": {"topics": ["app/order/old"]}}}}}
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", rule)
    asked = {"action": "send", "topic": "app/order/new"}
    return partner.keys["prod"], asked, "integration", partner.integration_id


async def _of_a_gone_environment(workspace: Tenant) -> tuple[Held, dict[str, str], str, str]:
    partner = await join(workspace, dev=Offer(), prod=Offer())
    await changed(workspace, f"/api/v1/integrations/{partner.integration_id}", {"environments": {"dev": None}})
    return partner.keys["dev"], {}, "integration", partner.integration_id


def demand(verdict: Any, case: Case) -> None:
    assert (verdict["valid"], verdict["code"]) == (case.code == "valid", case.code), case
    assert (verdict["keyId"], verdict["kind"]) == (case.key.id, "service")
    for same in ("partnerId", "integrationId", "environment"):
        assert verdict[same] == case.key.data[same]
    given = {"level": case.level, "id": case.by, "pattern": case.pattern}
    assert verdict["rule"] == ({name: value for name, value in given.items() if value} or None), case


async def test_every_answer_is_the_same_from_memory_and_from_the_truth(
    workspace: Tenant, clock: Clock, system: System
) -> None:
    table = await cases(workspace, clock)
    async with running(system.settings, clock) as (services, api), deaf(system.settings, clock) as unhearing:

        async def hears() -> bool:
            return services.hearing.is_current

        await eventually(hears)
        for case in table:
            first = await told(api, workspace, case.key.secret, **case.asked)
            demand(first, case)
            assert first["workspaceId"] == workspace.id
            assert services.memory.find(case.key.secret) is not None
            for client in (api, unhearing, workspace.api):
                assert await told(client, workspace, case.key.secret, **case.asked) == first


async def is_current(system: System) -> bool:
    return system.services.hearing.is_current


async def test_memory_is_not_asked_while_nothing_is_heard(
    workspace: Tenant, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = (await prod(workspace)).secret
    assert await code(workspace, secret) == "valid"
    loads: list[str] = []
    load = system.services.journal.load

    async def noted(aggregate: Any, of: str) -> Any:
        loads.append(of)
        return await load(aggregate, of)

    async def from_memory() -> bool:
        """Both keys: the system's other tenants, and whoever looks after their connections, load what they like."""
        loads.clear()
        assert await code(workspace, secret) == "valid"
        return not {f"key_{each[-76:-50]}" for each in (secret, workspace.owner_key)} & {*loads}

    monkeypatch.setattr(system.services.journal, "load", noted)
    await eventually(lambda: is_current(system))
    await eventually(from_memory)
    with monkeypatch.context() as patch:
        patch.setattr(Hearing, "is_current", False)
        assert not await from_memory()
    await eventually(from_memory)


async def test_an_unknown_key_is_told_nothing_of(workspace: Tenant, neighbour: Tenant) -> None:
    theirs = await prod(neighbour)
    session = (await join(workspace)).cookie
    _, link = await workspace.invite()
    wrong = theirs.secret[:-1] + ("a" if theirs.secret[-1] != "a" else "b")
    assert await code(neighbour, theirs.secret) == "valid"
    for secret in (theirs.secret, neighbour.owner_key, UNKNOWN, wrong, session, link, "", "kf_", "x" * 256, "\x00 é"):
        for asked in ({}, {"action": "send", "topic": "a/b"}):
            assert await workspace.verdict(secret, **asked) == NOTHING, secret


async def test_a_narrowed_caller_knows_only_what_it_sees(workspace: Tenant) -> None:
    partner = await join(workspace)
    narrowed = await workspace.key("key-manager", conditions=Conditions(environments=("dev",)))
    said = {}
    for environment, held_key in partner.keys.items():
        answer = await workspace.api.post(f"{KEYS}/verify", json={"key": held_key.secret}, headers=bearer(narrowed))
        said[environment] = answer.json()["data"]["code"]
    assert said == {"dev": "valid", "stage": "unknown-key", "prod": "unknown-key"}


async def test_keys_that_manage_are_verified_too_and_permit_no_action(workspace: Tenant) -> None:
    for secret, kind in ((workspace.owner_key, "account"), (workspace.integration_key, "integration")):
        verdict = await workspace.verdict(secret)
        assert (verdict["code"], verdict["kind"], verdict["partnerId"]) == ("valid", kind, None)
        assert (await workspace.verdict(secret, action="send"))["code"] == "action-not-permitted"


async def test_the_remaining_lifetime_is_that_of_what_ends_first(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    forever, limited = await prod(workspace), await prod(workspace, Offer(policy=KeyPolicy(lifetime_seconds=3600)))
    part = held(await delegate(workspace, limited.id))

    async def left(this: Held) -> Any:
        return (await workspace.verdict(this.secret))["remainingSeconds"]

    assert [await left(each) for each in (forever, limited, part)] == [None, 3600, 3600]
    clock.advance(timedelta(seconds=0.25))
    assert await left(limited) == 3599.75
    await rotated(workspace, limited.id, overlapSeconds=600)
    await rotated(workspace, forever.id, overlapSeconds=7200)
    assert [await left(each) for each in (forever, limited)] == [7200, 600]
    clock.advance(timedelta(hours=9))
    verdict = await workspace.verdict(limited.secret)
    assert (verdict["code"], verdict["remainingSeconds"]) == ("retired", 0)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, ["/key"]),
        ({"key": None}, ["/key"]),
        ({"key": "x" * 257}, ["/key"]),
        ({"key": "x", "action": "fly"}, ["/action"]),
        ({"key": "x", "topic": "a/b"}, ["/action"]),
        ({"key": "x", "action": "send", "topic": "a/*"}, ["/topic"]),
        ({"key": "x", "action": "send", "topic": ""}, ["/topic"]),
        ({"key": "x", "address": "1" * 65}, ["/address"]),
        ({"key": "x", "secret": "y"}, ["/secret"]),
    ],
)
async def test_a_wrong_question_is_refused(workspace: Tenant, body: Any, wrong: list[str]) -> None:
    assert pointers(await workspace.post(f"{KEYS}/verify", body)) == wrong


async def test_whoever_may_ask_is_answered_and_nobody_else(workspace: Tenant, api: httpx.AsyncClient) -> None:
    own = await prod(workspace)
    for role, status in [("owner", 200), ("admin", 200), ("key-manager", 200), ("auditor", 403), ("viewer", 403)]:
        asker = bearer(await workspace.key(role))
        answer = await api.post(f"{KEYS}/verify", json={"key": own.secret}, headers=asker)
        assert answer.status_code == status, role
        assert status != 200 or answer.headers["cache-control"] == "no-store"
    for secret in (workspace.integration_key, own.secret):
        answer = await api.post(f"{KEYS}/verify", json={"key": own.secret}, headers=bearer(secret))
        problem(answer, 403, "permission-missing")
    problem(await api.post(f"{KEYS}/verify", json={"key": own.secret}), 401, "unauthenticated")


async def test_uses_are_counted_by_outcome_and_the_last_is_known(
    workspace: Tenant, services: Services, clock: Clock
) -> None:
    clock.set(NOON)
    own = await prod(workspace, Offer(("send",), policy=KeyPolicy(rate=Rate(3, 3600))))
    path = f"{KEYS}/{own.id}/usage"
    assert (await workspace.get(path)).json()["data"] == {"lastUsedAt": None, "counts": {}, "lastUsedByAction": {}}
    assert (await read(workspace, own.id))["lastUsedAt"] is None
    await code(workspace, own.secret)
    await code(workspace, own.secret, action="send")
    clock.advance(timedelta(seconds=30))
    await code(workspace, own.secret, action="send", address="192.0.2.7")
    clock.advance(timedelta(seconds=30))
    for action in ("receive", "receive", "send"):
        await code(workspace, own.secret, action=action)
    wanted = {
        "lastUsedAt": "2031-03-01T12:00:30Z",
        "counts": {"valid": 3, "action-not-permitted": 2, "rate-limited": 1},
        "lastUsedByAction": {"send": "2031-03-01T12:00:30Z"},
    }

    async def usage() -> Any:
        await services.usage_store.flush(services.usage)
        return (await workspace.get(path)).json()["data"]

    await eventually(usage, wanted)
    assert (await read(workspace, own.id))["lastUsedAt"] == "2031-03-01T12:00:30Z"
    head = await services.journal.head()
    listed = await workspace.get(KEYS, minPosition=head, kind="service")
    assert {each["id"]: each["lastUsedAt"] for each in listed.json()["data"]} == {own.id: "2031-03-01T12:00:30Z"}


async def test_the_usage_of_what_isnt_seen_is_not_told(workspace: Tenant, neighbour: Tenant) -> None:
    theirs = await prod(neighbour)
    problem(await workspace.get(f"{KEYS}/{theirs.id}/usage"), 404, "not-found")


async def test_many_at_once_are_answered_alike(workspace: Tenant) -> None:
    keys = [*(await join(workspace)).keys.values()]
    verdicts = await asyncio.gather(*[workspace.verdict(each.secret) for each in keys * 20])
    assert [each["keyId"] for each in verdicts] == [each.id for each in keys * 20]
    assert {each["code"] for each in verdicts} == {"valid"}
