"""The past for those who look into it: what changed between two moments, and who could do something at one."""

from collections.abc import Callable
from typing import Any

from keyfold.domain.permissions import Conditions
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Options, Send

from .keys import KEYS, change, delegate, held, issue, join
from .tenant import Clock, Tenant, bearer, pointers, problem
from .test_history import DAY, HOUR, NOON, without_use

NOBODY = "prt_01h455vb4pex5vsknk084sn02q"


async def changes(workspace: Tenant, since: Any, until: Any = None, *, as_key: str = "", **filters: Any) -> list[Any]:
    """All pages of what changed, a few at a time."""
    found: list[Any] = []
    params = {"from": since, "limit": 3, **({} if until is None else {"to": until}), **filters}
    headers = bearer(as_key or workspace.owner_key)
    while True:
        answer = await workspace.api.get("/api/v1/audit/changes", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        if answer.json()["nextCursor"] is None:
            return found
        params["cursor"] = answer.json()["nextCursor"]


async def test_what_changed_between_two_moments_is_told_field_by_field(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    partner = await join(workspace)
    dev, stage, prod = (partner.keys[each] for each in ("dev", "stage", "prod"))
    begin, moment = await workspace.services.journal.head(), clock()
    clock.advance(HOUR)
    patch = {"name": "Other", "tags": ["a"], "options": {"send": {"topics": ["app/a"]}}}
    assert (await change(workspace, dev.id, patch)).status_code == 200
    clock.advance(HOUR)
    await workspace.post(f"{KEYS}/{stage.id}/revoke", {"reason": "leaked"})
    middle = await workspace.services.journal.head()
    clock.advance(HOUR)
    new = held(await issue(workspace, kind="account", name="new", role="viewer"))
    assert (await change(workspace, dev.id, {"name": dev.data["name"], "tags": None})).status_code == 200
    end = await workspace.services.journal.head()
    clock.advance(DAY)
    for since, until in ((begin, end), (moment.isoformat(), None)):
        found = await changes(workspace, since, until)
        assert [(each["id"], each["change"]) for each in found] == [
            (dev.id, "changed"),
            (stage.id, "ended"),
            (new.id, "created"),
        ]
        narrowed, revoked, created = found
        assert narrowed["changed"] == ["/options/send/topics"]
        assert [each["type"] for each in narrowed["events"]] == ["key.changed.v1"] * 2
        assert narrowed["before"]["options"]["send"]["topics"] == ["**"]
        assert narrowed["after"]["options"]["send"]["topics"] == ["app/a"]
        assert set(revoked["changed"]) == {"/status", "/isActive", "/revokedAt", "/revokedReason"}
        assert (created["before"], created["changed"], created["after"]["name"]) == (None, [], "new")
    assert [each["changed"] for each in await changes(workspace, begin, middle, keyId=dev.id)] == [
        ["/name", "/tags", "/options/send/topics"]
    ]
    for found, after in ((narrowed, end), (revoked, end)):
        then = [(await workspace.get(f"{KEYS}/{found['id']}", asOf=at)).json()["data"] for at in (begin, after)]
        assert without_use([found["before"], found["after"]]) == without_use(then)
    assert await changes(workspace, end, end) == []
    assert prod.id not in str(await changes(workspace, begin))


async def test_changes_are_found_by_kind_partner_integration_and_key(workspace: Tenant, neighbour: Tenant) -> None:
    await join(neighbour)
    one, other = await join(workspace), await join(workspace)
    whole = await changes(workspace, 0)
    kinds = {each["kind"] for each in whole}
    assert kinds == {"workspace", "integration", "partner", "link", "key"}
    assert {each["change"] for each in whole} == {"created"}
    for kind in kinds:
        assert {each["id"] for each in await changes(workspace, 0, kind=kind)} == {
            each["id"] for each in whole if each["kind"] == kind
        }
    of_one = {each["id"] for each in await changes(workspace, 0, partnerId=one.id)}
    assert {one.id, *(key.id for key in one.keys.values())} < of_one
    assert len(of_one) == 5
    its = await changes(workspace, 0, integrationId=workspace.integration_id)
    assert {each["kind"] for each in its} == {"integration", "partner", "link", "key"}
    assert len(its) == 2 * 5 + 2
    assert [each["kind"] for each in await changes(workspace, 0, keyId=other.keys["dev"].id)] == ["key"]
    assert await changes(workspace, 0, keyId=NOBODY.replace("prt", "key")) == []
    auditor = await workspace.key("auditor", conditions=Conditions(partners=(one.id,), environments=("prod",)))
    seen = await changes(workspace, 0, as_key=auditor)
    assert [each["id"] for each in seen] == [one.keys["prod"].id]
    answer = await workspace.api.get(
        "/api/v1/audit/changes", params={"from": 0, "partnerId": other.id}, headers=bearer(auditor)
    )
    problem(answer, 404, "not-found")


async def test_a_stretch_that_ends_before_it_begins_is_refused(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    head = await workspace.services.journal.head()
    get = workspace.get
    assert pointers(await get("/api/v1/audit/changes", **{"from": head, "to": head - 1})) == ["?to"]
    assert pointers(await get("/api/v1/audit/changes", **{"from": "x"})) == ["?from"]
    assert pointers(await get("/api/v1/audit/changes", **{"from": 0, "cursor": "x"})) == ["?cursor"]
    said = problem(await get("/api/v1/audit/changes"), 400, "invalid-request")
    assert [each["pointer"] for each in said["errors"]] == ["?from"]
    assert pointers(await get("/api/v1/audit/holders", topic="a")) == ["?action"]
    assert pointers(await get("/api/v1/audit/changes", **{"from": 0, "keyId": NOBODY})) == ["?keyId"]
    assert pointers(await get("/api/v1/audit/holders", action="send", partnerId="")) == ["?partnerId"]
    said = problem(await get("/api/v1/audit/changes", **{"from": 0, "to": head + 1}), 422, "not-yet")
    assert said["errors"][0]["pointer"] == "?to"


async def holders(workspace: Tenant, moment: Any = None, **asked: Any) -> dict[str, Any]:
    given = {"action": "send", "topic": "app/order/created", "environment": "prod", **asked}
    answer = await workspace.get("/api/v1/audit/holders", **given, **({} if moment is None else {"asOf": moment}))
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["data"]}


async def test_holders_are_judged_with_every_ceiling_of_that_moment(workspace: Tenant, clock: Clock) -> None:
    """The key's own rule, the key above it, the integration's offer, and the statuses of all, as they were."""
    clock.set(NOON)
    wide = Offer(options=Options(send=Send(topics=("app/**",))))
    partner = await join(workspace, wide)
    key = partner.keys["prod"]
    child = held(await delegate(workspace, key.id, options={"send": {"topics": ["app/order/*"]}}))
    both = {key.id: "app/**", child.id: "app/order/*"}
    path = f"/api/v1/integrations/{partner.integration_id}"
    offer = {"options": {"send": {"topics": ["app/order/shipped"]}}}
    steps: list[tuple[str, dict[str, str], Callable[[], Any]]] = [
        ("at first", both, lambda: None),
        ("parent suspended", {}, lambda: workspace.post(f"{KEYS}/{key.id}/suspend", {"reason": "x"})),
        ("reinstated", both, lambda: workspace.post(f"{KEYS}/{key.id}/reinstate", {})),
        ("offer narrowed", {}, lambda: change(workspace, path, {"environments": {"prod": offer}})),
        (
            "offer widened",
            both,
            lambda: change(workspace, path, {"environments": {"prod": {"options": {"send": {"topics": ["**"]}}}}}),
        ),
        (
            "parent narrowed",
            {},
            lambda: change(workspace, key.id, {"options": {"send": {"topics": ["app/invoice"]}}}),
        ),
        ("child revoked", {}, lambda: workspace.post(f"{KEYS}/{child.id}/revoke", {"reason": "x"})),
    ]
    moments = []
    for what, expected, step in steps:
        clock.advance(HOUR)
        if (stepping := step()) is not None:
            assert (await stepping).status_code == 200, what
        found = await holders(workspace)
        assert {of: each["pattern"] for of, each in found.items()} == expected, what
        moments.append((what, clock().isoformat(), await workspace.services.journal.head(), found))
    clock.advance(DAY)
    for what, time, position, found in moments:
        for moment in (time, position):
            assert await holders(workspace, moment) == found, what
            listed = await workspace.get(KEYS, action="send", topic="app/order/created", asOf=moment)
            assert {each["id"] for each in listed.json()["data"]} == {*found}, what
    first = moments[0][2]
    assert await holders(workspace, first, topic="other") == {}
    assert await holders(workspace, first, environment="dev") == {}
    assert {*await holders(workspace, first, action="receive", topic="any/thing")} == {key.id, child.id}
    assert await holders(workspace, first, partnerId=NOBODY) == {}
    assert pointers(await workspace.get("/api/v1/audit/holders", action="send", topic="*")) == ["?topic"]
    assert key.secret not in str(moments)
