"""Time travel: what a moment of the past shows is what was shown at that moment, to whoever may see it today."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from keyfold.domain.permissions import PERMISSIONS, Conditions
from keyfold.web.auth import EVENTS, SELF

from .keys import KEYS, held, issue, join
from .routes import routes, things_of
from .tenant import Clock, Tenant, bearer, pointers, position_of, problem

NOON = datetime.fromisoformat("2031-03-01T12:00:00+00:00")
"""Ahead of the worker, which goes by the real time, so that its schedules find nothing to do."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STATUSES = ("pending", "active", "retiring", "retired", "suspended", "expired", "revoked", "compromised")

Question = tuple[str, dict[str, str]]


class Remembered(NamedTuple):
    """An answer of then, the position if something happened at that very moment, and the time."""

    question: Question
    answer: Any
    position: int | None
    time: datetime


def without_use(data: Any) -> Any:
    """An answer without what was observed of keys, which is no part of the past."""
    if isinstance(data, dict):
        return {name: without_use(value) for name, value in data.items() if name != "lastUsedAt"}
    return [without_use(each) for each in data] if isinstance(data, list) else data


async def asked(workspace: Tenant, question: Question, **params: Any) -> Any:
    path, given = question
    answer = await workspace.get(f"/api/v1/{path}", **given, **params)
    assert answer.status_code in (200, 404), (question, params, answer.text)
    return without_use(answer.json()) if answer.status_code == 200 else 404


class Story:
    """A workspace in which things happen at random, one after another, while time goes on."""

    def __init__(self, workspace: Tenant, clock: Clock, seed: int) -> None:
        self.workspace = workspace
        self.clock = clock
        self.random = random.Random(seed)
        self.ids: dict[str, list[str]] = {name: [] for name in ("partners", "links", "keys", "roles", "topics")}
        self.ids["integrations"] = [workspace.integration_id]
        self.tokens: list[str] = []
        self.remembered: list[Remembered] = []

    def some(self, what: str) -> str | None:
        return self.random.choice(self.ids[what][-6:]) if self.ids[what] else None

    async def post(self, path: str, body: Any) -> Any:
        answer = await self.workspace.post(f"/api/v1/{path}", body)
        assert answer.status_code < 500, answer.text
        return answer.json().get("data") if answer.is_success else None

    async def patch(self, path: str, body: Any) -> None:
        headers = bearer(self.workspace.owner_key) | {"If-Match": "*"}
        answer = await self.workspace.api.patch(f"/api/v1/{path}", json=body, headers=headers)
        assert answer.status_code < 500, answer.text

    async def make(self, what: str, path: str, body: Any) -> None:
        if made := await self.post(path, body):
            self.ids[what].append(made["id"])

    async def invite(self) -> None:
        partner_id, token = await self.workspace.invite({"appName": f"App {self.random.random()}"})
        self.ids["partners"].append(partner_id)
        self.tokens.append(token)

    async def redeem(self) -> None:
        if self.tokens:
            answer = await self.workspace.redeem(self.tokens.pop())
            self.workspace.api.cookies.clear()
            self.ids["keys"] += [key["id"] for key in answer.json().get("data", {}).get("keys", [])]

    async def issue(self) -> None:
        now = self.clock()
        ends = now + self.random.randint(2, 9) * HOUR
        times = {"notBefore": (now + HOUR).isoformat(), "expiresAt": ends.isoformat()}
        name, role = self.random.choice(["Nightly", "audit 2"]), self.some("roles") or "viewer"
        wanted = {"kind": "account", "name": name, "role": role, "tags": ["n"]}
        await self.make("keys", "keys", wanted | (times if self.random.random() < 0.7 else {}))

    async def do_something(self) -> None:
        key, role, topic, of = self.some("keys"), self.some("roles"), self.some("topics"), self.workspace.integration_id
        number = self.random.randint(1, 99)
        narrower = {"prod": {"options": {"send": {"topics": [f"app/{self.random.choice('ab')}/*"]}}}}
        doing: list[Callable[[], Any]] = [
            self.invite,
            self.redeem,
            self.issue,
            self.issue,
            lambda: self.make("roles", "roles", {"name": f"R{number}", "permissions": ["keys:read"]}),
            lambda: self.make("topics", f"integrations/{of}/topics", {"name": f"app/a/t{number}"}),
            lambda: self.make("integrations", "integrations", {"name": f"I{number}"}),
            lambda: self.patch("workspace", {"name": f"W{number}"}),
            lambda: self.patch(f"integrations/{of}", {"environments": narrower}),
        ]
        if key:
            life = [("suspend", {"reason": "x"}), ("reinstate", {}), ("revoke", {"reason": "x"}), ("delegate", {})]
            verb, body = self.random.choice(life)
            doing += [
                lambda: self.post(f"keys/{key}/{verb}", body),
                lambda: self.make("keys", f"keys/{key}/rotate", {"overlapSeconds": 7200}),
                lambda: self.patch(f"keys/{key}", {"tags": [f"t{number % 3}"], "name": f"K{number}"}),
            ] * 2
        if role:
            doing.append(lambda: self.patch(f"roles/{role}", {"description": f"D{number}"}))
            doing.append(lambda: self.workspace.delete(f"/api/v1/roles/{role}"))
        if topic:
            doing.append(lambda: self.workspace.delete(f"/api/v1/topics/{topic}"))
        if partner := self.some("partners"):
            doing.append(lambda: self.workspace.delete(f"/api/v1/partners/{partner}"))
        await self.random.choice(doing)()

    def questions(self) -> list[Question]:
        """Everything that can be asked of the past, a few of each kind."""
        of, now, one = self.workspace.integration_id, self.clock(), self.some("keys")
        singles: list[Question] = [(f"{what}/{self.some(what)}", {}) for what in self.ids if self.ids[what]]
        if one:
            singles += [(f"keys/{one}/topics", {}), ("keys", {"parentId": one})]
            singles.append(("keys", {"limit": "2", "cursor": one}))
        filters = [
            {"status": self.random.choice(STATUSES)},
            {"tag": self.random.choice(["n", "t1"])},
            {"q": "aUDit"},
            {"role": self.some("roles") or "viewer"},
            {"kind": "service", "environment": "prod"},
            {"issuedBefore": (now - HOUR).isoformat()},
            {"expiresWithinDays": "1"},
            {"rotationDueWithinDays": "9"},
            {"partnerId": self.some("partners") or "prt_x"},
            {"action": "send", "topic": "app/a/created"},
        ]
        return [
            ("workspace", {}),
            ("roles", {}),
            ("partners", {"status": self.random.choice(["invited", "onboarded", "offboarded"])}),
            ("links", {"status": self.random.choice(["open", "redeemed", "withdrawn", "expired"])}),
            ("integrations", {"limit": "1"}),
            (f"integrations/{of}/topics", {}),
            *[("keys", each) for each in filters],
            *singles,
        ]

    async def go_on(self) -> bool:
        """Whether anything has happened: some of it is refused, as in life."""
        before = await self.workspace.services.journal.head()
        await self.do_something()
        return await self.workspace.services.journal.head() > before

    async def remember(self, questions: int, *, happened: bool) -> None:
        head = await self.workspace.services.journal.head()
        everything = [each for each in self.questions() for _ in range(2 if "/" in each[0] else 1)]
        await self.workspace.services.lists.include("current", head)
        for each in self.random.sample(everything, questions):
            answer = await asked(self.workspace, each)
            self.remembered.append(Remembered(each, answer, head if happened else None, self.clock()))


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_past_is_what_was_answered_then_by_position_and_by_time(
    workspace: Tenant, clock: Clock, seed: int
) -> None:
    clock.set(NOON)
    await change_policy(workspace)
    story = Story(workspace, clock, seed)
    for _ in range(20):
        clock.advance(timedelta(seconds=story.random.randint(11, 3000)))
        await story.remember(5, happened=await story.go_on())
        clock.advance(timedelta(seconds=story.random.randint(1, 5000)))
        await story.remember(2, happened=False)
    clock.advance(DAY)
    assert sum(each.answer != 404 for each in story.remembered) > 60
    for then in story.remembered:
        assert await asked(workspace, then.question, asOf=then.time.isoformat()) == then.answer, then
        if then.position is not None:
            assert await asked(workspace, then.question, asOf=then.position) == then.answer, then


async def change_policy(workspace: Tenant) -> None:
    """Keys of the partners are to be rotated, so that there is something to find by that."""
    headers = bearer(workspace.owner_key) | {"If-Match": "*"}
    body = {"environments": {"prod": {"policy": {"rotationSeconds": 500_000}}}}
    path = f"/api/v1/integrations/{workspace.integration_id}"
    assert (await workspace.api.patch(path, json=body, headers=headers)).status_code == 200


async def key_at(workspace: Tenant, key_id: str, moment: Any) -> Any:
    answer = await workspace.get(f"{KEYS}/{key_id}", asOf=moment)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_status_that_time_decides_is_that_of_the_moment(workspace: Tenant, clock: Clock) -> None:
    clock.set(NOON)
    times = {"notBefore": (NOON + HOUR).isoformat(), "expiresAt": (NOON + 3 * HOUR).isoformat()}
    key = held(await issue(workspace, kind="account", name="x", role="viewer", **times))
    clock.set(NOON + 2 * HOUR)
    await workspace.post(f"{KEYS}/{key.id}/rotate", {"overlapSeconds": 1800})
    clock.set(NOON + DAY)
    microsecond = timedelta(microseconds=1)
    for moment, status in [
        (NOON, "pending"),
        (NOON + HOUR - microsecond, "pending"),
        (NOON + HOUR, "active"),
        (NOON + 2 * HOUR - microsecond, "active"),
        (NOON + 2 * HOUR, "retiring"),
        (NOON + 2.5 * HOUR, "retired"),
        (NOON + 23 * HOUR, "retired"),
    ]:
        assert (await key_at(workspace, key.id, moment.isoformat()))["status"] == status, moment
        listed = (await workspace.get(KEYS, asOf=moment.isoformat(), status=status)).json()["data"]
        assert key.id in [each["id"] for each in listed], moment


async def test_before_it_began_a_thing_is_not_there_and_the_answer_says_since_when_it_is(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    before = await workspace.services.journal.head()
    clock.advance(HOUR)
    key = held(await issue(workspace, kind="account", name="x", role="viewer"))
    for moment in (NOON.isoformat(), before, 0):
        said = problem(await workspace.get(f"{KEYS}/{key.id}", asOf=moment), 404, "not-found")
        assert f"began at 2031-03-01T13:00:00Z, position {before + 1}" in said["detail"]
        assert key.id not in (await workspace.get(KEYS, asOf=moment)).text
    assert (await workspace.get("/api/v1/workspace", asOf=0)).status_code == 404
    assert await key_at(workspace, key.id, before + 1) == await key_at(workspace, key.id, clock().isoformat())


async def test_the_present_is_a_moment_too_and_the_past_has_a_position_in_place_of_an_etag(
    workspace: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    partner = await join(workspace)
    path = f"/api/v1/partners/{partner.id}"
    now, then = await workspace.get(path), await workspace.get(path, asOf=NOON.isoformat())
    assert then.json() == now.json()
    assert "etag" in now.headers
    assert "etag" not in then.headers
    assert int(then.headers["keyfold-position"]) <= await workspace.services.journal.head()


@pytest.mark.parametrize("path", ["workspace", "keys", "partners", "links", "integrations", "roles", "roles/owner"])
async def test_what_hasnt_come_and_what_is_no_moment_is_refused_with_a_pointer(
    workspace: Tenant, clock: Clock, path: str
) -> None:
    clock.set(NOON)
    head = await workspace.services.journal.head()
    ahead = (NOON + timedelta(microseconds=1)).isoformat()
    for moment in (ahead, head + 1, "9" * 40):
        said = problem(await workspace.get(f"/api/v1/{path}", asOf=moment), 422, "not-yet")
        assert [each["pointer"] for each in said["errors"]] == ["?asOf"]
    for nonsense in ("yesterday", "2031-03-01T12:00:00", "-1", "9999-12-31T23:59:59-12:00", "1.5", "", "٣"):
        assert pointers(await workspace.get(f"/api/v1/{path}", asOf=nonsense)) == ["?asOf"], nonsense


async def test_no_write_is_done_in_the_past_and_no_read_takes_the_past_for_the_present(workspace: Tenant) -> None:
    """Whatever has a parameter for a moment answers as of it; everything else refuses to be asked for one."""
    partner = await join(workspace)
    key, owner = partner.keys["prod"], bearer(workspace.owner_key)
    things = await things_of(workspace)
    head = await workspace.services.journal.head()
    by_key = PERMISSIONS | {EVENTS, SELF}
    writes = [each for each in routes() if each.method != "GET" and each.permission in by_key]
    assert len(writes) > 20
    for each in writes:
        headers = key.headers if each.permission == EVENTS else owner
        answer = await workspace.api.request(
            each.method, each.at(things), params={"asOf": "1"}, json={"key": key.secret}, headers=headers
        )
        assert pointers(answer) == ["?asOf"], (each, answer.text)
    for path in (f"keys/{key.id}/usage", "audit/events", f"keys/{key.id}/events-usage"):
        assert pointers(await workspace.get(f"/api/v1/{path}", asOf="1")) == ["?asOf"], path
    assert await workspace.services.journal.head() == head


async def test_how_keys_were_used_is_not_known_of_the_past(workspace: Tenant) -> None:
    key = (await join(workspace)).keys["prod"]
    await workspace.verdict(key.secret)
    await workspace.services.usage_store.flush(workspace.services.usage)
    assert (await workspace.get(f"{KEYS}/{key.id}")).json()["data"]["lastUsedAt"] is not None
    head = await workspace.services.journal.head()
    assert (await key_at(workspace, key.id, head))["lastUsedAt"] is None
    for name in ("idleDays", "overWideDays"):
        assert pointers(await workspace.get(KEYS, asOf=head, **{name: 3})) == [f"?{name}"]


async def test_the_past_is_shown_to_whoever_may_see_the_present_and_to_nobody_else(
    workspace: Tenant, neighbour: Tenant, clock: Clock
) -> None:
    clock.set(NOON)
    mine, other = await join(workspace), await join(workspace)
    theirs = await join(neighbour)
    head = await workspace.services.journal.head()
    narrowed = bearer(await workspace.key("auditor", conditions=Conditions(partners=(mine.id,), environments=("dev",))))
    for moment in (head, clock().isoformat()):
        listed = await workspace.api.get(KEYS, params={"asOf": moment}, headers=narrowed)
        assert [each["id"] for each in listed.json()["data"]] == [mine.keys["dev"].id]
        for hidden in (mine.keys["prod"].id, other.keys["dev"].id, theirs.keys["dev"].id):
            answer = await workspace.api.get(f"{KEYS}/{hidden}", params={"asOf": moment}, headers=narrowed)
            assert answer.json()["detail"] == f"There is no key {hidden} in this workspace."
        by_partner = await workspace.api.get(KEYS, params={"asOf": moment, "partnerId": other.id}, headers=narrowed)
        problem(by_partner, 404, "not-found")
        assert theirs.id not in (await workspace.get("/api/v1/partners", asOf=moment)).text
    itself = await workspace.api.get(f"{KEYS}/self", params={"asOf": head}, headers=bearer(mine.keys["prod"].secret))
    assert itself.json()["data"]["id"] == mine.keys["prod"].id
    viewer = bearer(await workspace.key("viewer"))
    for path in ("changes?from=0", "holders?action=send"):
        problem(await workspace.api.get(f"/api/v1/audit/{path}", headers=viewer), 403, "permission-missing")


async def test_a_moment_finds_the_last_position_even_where_clocks_disagree(workspace: Tenant, clock: Clock) -> None:
    """What is noted behind a record of a clock that is ahead belongs to its moment, and takes that record with it."""
    clock.set(NOON)
    first = held(await issue(workspace, kind="account", name="first", role="viewer"))
    clock.set(NOON + timedelta(seconds=8))
    ahead = held(await issue(workspace, kind="account", name="ahead", role="viewer"))
    clock.set(NOON + timedelta(seconds=1))
    answer = await issue(workspace, kind="account", name="second", role="viewer")
    second, at = held(answer), position_of(answer)
    clock.set(NOON + DAY)
    listed = (await workspace.get(KEYS, asOf=(NOON + timedelta(seconds=2)).isoformat())).json()["data"]
    assert {first.id, ahead.id, second.id} <= {each["id"] for each in listed}
    found = await workspace.get("/api/v1/workspace", asOf=(NOON + timedelta(seconds=2)).isoformat())
    assert int(found.headers["keyfold-position"]) == at
    listed = (await workspace.get(KEYS, asOf=NOON.isoformat())).json()["data"]
    assert first.id in [each["id"] for each in listed]
    assert second.id not in [each["id"] for each in listed]


async def test_a_position_that_the_history_doesnt_include_yet_is_waited_for(
    workspace: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[str, int]] = []
    include = workspace.services.lists.include

    async def noted(projection: str, position: int) -> None:
        waited.append((projection, position))
        await include(projection, position)

    monkeypatch.setattr(workspace.services.lists, "include", noted)
    await join(workspace)
    head = await workspace.services.journal.head()
    await workspace.get(KEYS, asOf=head - 1)
    assert waited == [("history", head - 1)]
    await workspace.get(KEYS, asOf=workspace.services.clock().isoformat())
    assert waited[1:] == [("history", head)]
