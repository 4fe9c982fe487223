"""Conditions: what an account key is narrowed to is all that there is for it, wherever it looks, whatever it does."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from .keys import KEYS, Held, Partner, change, changed, excess, held, issue, join
from .tenant import Tenant, bearer, pointers, problem


class Scene(NamedTuple):
    """Two integrations, the first with two partners."""

    mine: Partner
    beside: Partner
    other: Partner

    def all(self) -> set[str]:
        """The id of everything that is bound to something."""
        partners = (self.mine, self.beside, self.other)
        return {each.integration_id for each in partners} | {each.id for each in partners} | self.keys()

    def keys(self, environment: str | None = None) -> set[str]:
        return {
            key.id
            for partner in (self.mine, self.beside, self.other)
            for name, key in partner.keys.items()
            if environment in (None, name)
        }


async def scene(workspace: Tenant) -> Scene:
    mine, beside = await join(workspace), await join(workspace)
    workspace.integration_id = await workspace.integration()
    workspace.integration_key = await workspace.key_of_integration(workspace.integration_id)
    return Scene(mine, beside, await join(workspace))


async def narrowed(workspace: Tenant, role: str = "admin", /, **conditions: Any) -> Held:
    return held(await issue(workspace, kind="account", name="narrow", role=role, conditions=conditions))


def within(of: Scene, what: str) -> tuple[dict[str, Any], set[str]]:
    """Conditions, and the ids that lie within them."""
    mine, beside, other = of
    integrations, partners = {mine.integration_id, other.integration_id}, {mine.id, beside.id, other.id}
    its_keys = {key.id for key in mine.keys.values()}
    match what:
        case "integrations":
            beside_keys = {key.id for key in beside.keys.values()}
            return {what: [mine.integration_id]}, {mine.integration_id, mine.id, beside.id} | its_keys | beside_keys
        case "partners":
            return {what: [mine.id]}, integrations | {mine.id} | its_keys
        case "environments":
            return {what: ["dev"]}, integrations | partners | of.keys("dev")
        case _:
            everything = {"integrations": [mine.integration_id], "partners": [mine.id], "environments": ["dev"]}
            return everything, {mine.integration_id, mine.id, mine.keys["dev"].id}


def path_of(this: str) -> str:
    names = {"int": "integrations", "prt": "partners", "key": "keys", "lnk": "links", "rol": "roles"}
    return f"/api/v1/{names[this.partition('_')[0]]}/{this}"


NARROWINGS = ["integrations", "partners", "environments", "all of them"]


@pytest.mark.parametrize("what", NARROWINGS)
async def test_single_reads_and_lists_show_what_lies_within_and_nothing_else(workspace: Tenant, what: str) -> None:
    of = await scene(workspace)
    conditions, seen = within(of, what)
    key = await narrowed(workspace, "viewer", **conditions)
    head = await workspace.services.journal.head()
    listed: set[str] = set()
    for kind in ("integrations", "partners", "keys"):
        answer = await workspace.api.get(f"/api/v1/{kind}?limit=200&minPosition={head}", headers=key.headers)
        listed |= {each["id"] for each in answer.json()["data"]}
    integration_keys = (
        {each for each in listed - of.all() if each.startswith("key_")} if what == "integrations" else set()
    )
    assert listed - integration_keys == seen
    assert len(integration_keys) == (1 if what == "integrations" else 0)  # the one that invites to it
    for this in of.all():
        answer = await workspace.api.get(path_of(this), headers=key.headers)
        if this in seen:
            assert answer.status_code == 200, this
        else:
            problem(answer, 404, "not-found")


@pytest.mark.parametrize("what", NARROWINGS)
async def test_the_audit_trail_tells_of_what_lies_within_and_nothing_else(workspace: Tenant, what: str) -> None:
    of = await scene(workspace)
    conditions, seen = within(of, what)
    key = await narrowed(workspace, "auditor", **conditions)
    await workspace.post("/api/v1/roles", {"name": "x", "permissions": []})
    head = await workspace.services.journal.head()
    path = f"/api/v1/audit/events?limit=200&order=asc&minPosition={head}"
    events = (await workspace.api.get(path, headers=key.headers)).json()["data"]
    everything = (await workspace.api.get(path, headers=bearer(workspace.owner_key))).json()["data"]
    assert events == [event for event in everything if admitted(event["data"], conditions, of)]
    assert {event["stream"] for event in events} & of.all() <= seen
    assert {event["stream"] for event in events if event["stream"].startswith("key_")} >= seen & of.keys()
    assert not [event for event in events if event["stream"].startswith(("rol_", "ws_"))]
    assert key.id not in {event["stream"] for event in events}
    assert len(everything) > len(events) > 0


def admitted(data: Any, conditions: Any, of: Scene) -> bool:
    """Whether an event is of something that is bound to all that there is a condition on."""
    return (
        data.get("integrationId") in conditions.get("integrations", [data.get("integrationId")])
        and data.get("partnerId") in conditions.get("partners", [data.get("partnerId")])
        and ("environments" not in conditions or data.get("keyId") in of.keys("dev"))
    )


async def test_a_filter_for_what_lies_outside_is_404_exactly_as_for_what_doesnt_exist(workspace: Tenant) -> None:
    of = await scene(workspace)
    by = {
        "integrationId": await narrowed(workspace, integrations=[of.mine.integration_id]),
        "partnerId": await narrowed(workspace, partners=[of.mine.id]),
        "environment": await narrowed(workspace, environments=["dev"]),
    }
    outside = {"integrationId": of.other.integration_id, "partnerId": of.other.id, "environment": "prod"}
    inside = {"integrationId": of.mine.integration_id, "partnerId": of.mine.id, "environment": "dev"}
    for path, names in (
        ("partners", ["integrationId"]),
        ("links", ["integrationId", "partnerId"]),
        ("keys", ["integrationId", "partnerId", "environment"]),
        ("audit/events", ["integrationId", "partnerId"]),
    ):
        for name in names:
            asked = f"/api/v1/{path}?minPosition={await workspace.services.journal.head()}&{name}="
            refused = await workspace.api.get(f"{asked}{outside[name]}", headers=by[name].headers)
            assert outside[name] in problem(refused, 404, "not-found")["detail"], (path, name)
            found = await workspace.api.get(f"{asked}{inside[name]}", headers=by[name].headers)
            assert found.json()["data"], (path, name)


def actions(key_id: str) -> Iterator[tuple[str, str, Any]]:
    for what in ("suspend", "reinstate", "rotate", "delegate", "revoke"):
        reason = {"reason": "x"} if what in ("suspend", "revoke") else {}
        yield "POST", f"{KEYS}/{key_id}/{what}", reason
    yield "PATCH", f"{KEYS}/{key_id}", {"purpose": "x"}


async def do(workspace: Tenant, key: Held, method: str, path: str, body: Any) -> httpx.Response:
    return await workspace.api.request(method, path, json=body, headers={**key.headers, "If-Match": "*"})


@pytest.mark.parametrize("what", NARROWINGS)
async def test_what_lies_outside_is_404_to_everything_that_is_done(workspace: Tenant, what: str) -> None:
    of = await scene(workspace)
    conditions, seen = within(of, what)
    key = await narrowed(workspace, **conditions)
    head = await workspace.services.journal.head()
    outside = of.all() - seen
    for this in outside & of.keys():
        for method, path, body in actions(this):
            problem(await do(workspace, key, method, path, body), 404, "not-found")
    for partner in {of.mine.id, of.beside.id, of.other.id} & outside:
        problem(await do(workspace, key, "DELETE", path_of(partner), None), 404, "not-found")
        wanted = {"kind": "service", "environment": "dev", "partnerId": partner}
        problem(await do(workspace, key, "POST", KEYS, wanted), 404, "not-found")
    for integration in {of.mine.integration_id, of.other.integration_id} & outside:
        problem(await do(workspace, key, "PATCH", path_of(integration), {"name": "x"}), 404, "not-found")
        wanted = {"kind": "integration", "name": "x", "integrationId": integration}
        problem(await do(workspace, key, "POST", KEYS, wanted), 404, "not-found")
    assert await workspace.services.journal.head() == head
    for method, path, body in actions(of.mine.keys["dev"].id):
        assert (await do(workspace, key, method, path, body)).status_code in (200, 201, 409), path


async def test_a_key_outside_is_an_unknown_key_to_verify(workspace: Tenant) -> None:
    of = await scene(workspace)
    key = await narrowed(workspace, environments=["dev"])
    codes = {}
    for environment, shown in of.mine.keys.items():
        answer = await do(workspace, key, "POST", f"{KEYS}/verify", {"key": shown.secret})
        codes[environment] = answer.json()["data"]["code"]
    assert codes == {"dev": "valid", "stage": "unknown-key", "prod": "unknown-key"}


async def test_a_key_for_an_environment_outside_is_refused(workspace: Tenant) -> None:
    of = await scene(workspace)
    key = await narrowed(workspace, environments=["dev"])
    wanted = {"kind": "service", "partnerId": of.mine.id}
    assert excess(await do(workspace, key, "POST", KEYS, wanted | {"environment": "prod"})) == ["/environment"]
    assert (await do(workspace, key, "POST", KEYS, wanted | {"environment": "dev"})).status_code == 201


async def test_nobody_issues_a_key_that_is_narrowed_less_than_theirs(workspace: Tenant) -> None:
    of = await scene(workspace)
    integrations = [of.mine.integration_id, of.other.integration_id]
    key = await narrowed(workspace, integrations=integrations, environments=["dev", "stage"])
    wanted = {"kind": "account", "name": "x", "role": "viewer"}
    for conditions, wrong in (
        (None, ["/conditions/integrations", "/conditions/environments"]),
        ({}, ["/conditions/integrations", "/conditions/environments"]),
        ({"integrations": integrations}, ["/conditions/environments"]),
        ({"integrations": integrations, "environments": ["dev", "prod"]}, ["/conditions/environments"]),
        ({"environments": ["dev"], "partners": [of.mine.id]}, ["/conditions/integrations"]),
    ):
        refused = await do(workspace, key, "POST", KEYS, wanted | {"conditions": conditions})
        assert excess(refused) == wrong, conditions
    inviter = {"kind": "integration", "name": "x", "integrationId": of.mine.integration_id}
    assert excess(await do(workspace, key, "POST", KEYS, inviter)) == ["/conditions/environments"]
    less = {"integrations": [of.mine.integration_id], "environments": ["stage"]}
    made = await do(workspace, key, "POST", KEYS, wanted | {"conditions": less})
    assert (made.status_code, made.json()["data"]["conditions"]) == (201, less)


async def test_an_integration_key_is_issued_by_whoever_has_the_whole_integration(workspace: Tenant) -> None:
    of = await scene(workspace)
    key = await narrowed(workspace, integrations=[of.mine.integration_id])
    inviter = {"kind": "integration", "name": "x", "integrationId": of.mine.integration_id}
    assert (await do(workspace, key, "POST", KEYS, inviter)).status_code == 201


async def test_a_key_that_is_narrowed_sees_and_rotates_itself_and_gains_nothing(workspace: Tenant) -> None:
    of = await scene(workspace)
    conditions = {"partners": [of.mine.id]}
    key = await narrowed(workspace, "key-manager", **conditions)
    itself = (await workspace.api.get(f"{KEYS}/self", headers=key.headers)).json()["data"]
    assert (itself["id"], itself["conditions"]) == (key.id, conditions)
    for more in ({"conditions": None}, {"conditions": {"partners": [of.mine.id, of.other.id]}}):
        assert excess(await change(workspace, key.id, more, headers=key.headers)) == ["/conditions/partners"]
    problem(await change(workspace, key.id, {"role": "admin"}, headers=key.headers), 403, "permission-missing")
    successor = held(await workspace.api.post(f"{KEYS}/self/rotate", json={}, headers=key.headers))
    assert successor.data["conditions"] == conditions
    for holder in (key, successor):
        problem(await workspace.api.get(path_of(of.other.id), headers=holder.headers), 404, "not-found")


async def test_a_key_that_is_narrowed_creates_no_integration(workspace: Tenant) -> None:
    of = await scene(workspace)
    for conditions in ({"integrations": [of.mine.integration_id]}, {"environments": ["dev"]}):
        key = await narrowed(workspace, **conditions)
        problem(await do(workspace, key, "POST", "/api/v1/integrations", {"name": "x"}), 403, "permission-missing")


async def test_an_integration_is_changed_by_whoever_has_the_whole_of_it(workspace: Tenant) -> None:
    of = await scene(workspace)
    path = path_of(of.mine.integration_id)
    for narrow in ({"partners": [of.mine.id]}, {"environments": ["dev"]}):
        key = await narrowed(workspace, **narrow)
        problem(await do(workspace, key, "PATCH", path, {"name": "x"}), 403, "permission-missing")
    key = await narrowed(workspace, integrations=[of.mine.integration_id])
    assert (await do(workspace, key, "PATCH", path, {"name": "x"})).status_code == 200


async def test_conditions_are_changed_at_once(workspace: Tenant) -> None:
    of = await scene(workspace)
    key = await narrowed(workspace, "viewer", partners=[of.mine.id])
    problem(await workspace.api.get(path_of(of.other.id), headers=key.headers), 404, "not-found")
    await changed(workspace, key.id, {"conditions": {"partners": [of.other.id]}})
    assert (await workspace.api.get(path_of(of.other.id), headers=key.headers)).status_code == 200
    problem(await workspace.api.get(path_of(of.mine.id), headers=key.headers), 404, "not-found")
    await changed(workspace, key.id, {"conditions": None})
    assert (await workspace.api.get(path_of(of.mine.id), headers=key.headers)).status_code == 200


async def test_conditions_on_nothing_show_nothing(workspace: Tenant) -> None:
    of = await scene(workspace)
    for what, path in (("integrations", "integrations"), ("partners", "partners"), ("environments", "keys")):
        key = await narrowed(workspace, "auditor", **{what: []})
        head = await workspace.services.journal.head()
        for asked in (path, "audit/events"):
            answer = await workspace.api.get(f"/api/v1/{asked}?minPosition={head}", headers=key.headers)
            assert answer.json()["data"] == [], (what, asked)
    assert of.all()


@pytest.mark.parametrize(
    ("conditions", "wrong"),
    [
        ({"integrations": ["int_1"]}, ["/conditions/integrations/0"]),
        ({"partners": ["key_01h455vb4pex5vsknk084sn02q"]}, ["/conditions/partners/0"]),
        ({"environments": ["test"]}, ["/conditions/environments/0"]),
        ({"topics": ["a"]}, ["/conditions/topics"]),
    ],
)
async def test_conditions_that_cant_be_are_refused(workspace: Tenant, conditions: Any, wrong: list[str]) -> None:
    wanted = {"kind": "account", "name": "x", "role": "viewer"}
    assert pointers(await issue(workspace, **wanted, conditions=conditions)) == wrong


async def test_only_an_account_key_has_conditions(workspace: Tenant) -> None:
    of = await scene(workspace)
    conditions = {"environments": ["dev"]}
    service = {"kind": "service", "partnerId": of.mine.id, "environment": "dev"}
    for wanted in (service, {"kind": "integration", "name": "x", "integrationId": of.mine.integration_id}):
        assert pointers(await issue(workspace, **wanted, conditions=conditions)) == ["/conditions"]
