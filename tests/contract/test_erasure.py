"""Erasing a partner over HTTP: who may, what is said, what everybody sees from then on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from keyfold.web.services import Services

from .conftest import System
from .tenant import Tenant, app_of, bearer, position_of, problem, running

ADDRESS = "203.0.113.78"
INVITATION = {"appName": "Hedwig", "appDescription": "Kiesler", "metadata": {"mail": "h.k@frequency.test"}}
CANARIES = ("Hedwig", "Kiesler", "h.k@frequency.test", ADDRESS)


@pytest_asyncio.fixture(loop_scope="package")
async def elsewhere(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an address of its own."""
    transport = httpx.ASGITransport(app_of(services), client=(ADDRESS, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://keyfold.test") as client:
        yield client


async def onboard(workspace: Tenant, visitor: httpx.AsyncClient) -> tuple[str, dict[str, Any]]:
    partner_id, token = await workspace.invite(INVITATION)
    answer = await visitor.post("/api/v1/onboarding/redeem", json={"token": token}, headers={"Idempotency-Key": "1"})
    keys = {key["environment"]: key for key in answer.json()["data"]["keys"]}
    return partner_id, keys | {"token": token}


async def said_of(tenant: Tenant, api: httpx.AsyncClient, partner_id: str, at: int) -> str:
    """All that there is to be read of a partner, up to a position."""
    paths = (
        *(f"/api/v1/partners/{partner_id}", f"/api/v1/partners?minPosition={at}", f"/api/v1/keys?minPosition={at}"),
        *(
            f"/api/v1/audit/events?minPosition={at}&limit=200",
            f"/api/v1/audit/events?address={ADDRESS}&minPosition={at}",
        ),
        *(f"/api/v1/partners/{partner_id}?asOf={at}", f"/api/v1/keys?asOf={at}"),
    )
    answers = [await api.get(path, headers=bearer(tenant.owner_key)) for path in paths]
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    return "".join(answer.text for answer in answers)


async def test_what_was_erased_is_shown_by_no_process_and_the_story_stays(
    workspace: Tenant, elsewhere: httpx.AsyncClient, system: System, other_process: httpx.AsyncClient
) -> None:
    partner_id, keys = await onboard(workspace, elsewhere)
    head = await system.services.journal.head()
    for api in (workspace.api, other_process):
        assert {each for each in CANARIES if each in await said_of(workspace, api, partner_id, head)} == {*CANARIES}
    path = f"/api/v1/partners/{partner_id}/erase"

    rehearsed = await workspace.post(f"{path}?dryRun=true", {"reason": "asked for it"})
    plan = rehearsed.json()["data"]
    assert (rehearsed.status_code, plan["dryRun"], plan["alreadyErased"]) == (200, True, False)
    assert plan["addresses"] == [ADDRESS]
    assert plan["fields"]["partner.invited.v1 data.metadata"] == 1
    assert plan["revokedKeys"] == plan["erased"][1:] == [keys[each]["id"] for each in ("dev", "stage", "prod")]
    assert await system.services.journal.head() == head

    erased = await workspace.post(path, {"reason": "asked for it"})
    done = erased.json()["data"]
    assert (erased.status_code, done) == (200, {**plan, "dryRun": False})
    at = position_of(erased)
    assert at == head + 8, "offboarded, erased, and both for each of three keys"
    for api in (other_process, workspace.api):
        assert [each for each in CANARIES if each in await said_of(workspace, api, partner_id, at)] == []
        assert [each for each in CANARIES if each in await said_of(workspace, api, partner_id, head)] == []
    shown = (await workspace.get(f"/api/v1/partners/{partner_id}")).json()["data"]
    assert (shown["appName"], shown["appDescription"], shown["metadata"], shown["status"]) == (
        None,
        None,
        {},
        "offboarded",
    )
    assert shown["erasedAt"] == shown["offboardedAt"]
    key = (await workspace.get(f"/api/v1/keys/{keys['dev']['id']}")).json()["data"]
    assert (key["name"], key["purpose"], key["status"], key["revokedReason"]) == ("", None, "revoked", "asked for it")
    told = (await workspace.get("/api/v1/audit/events", partnerId=partner_id, limit=200, order="asc")).json()["data"]
    assert told[0]["type"] == "partner.invited.v1"
    assert {each["causationId"] for each in told if each["type"] == "key.erased.v1"} == {
        each["id"] for each in told if each["type"] == "partner.erased.v1"
    }

    # an answer that was kept isn't given again, and doing it again changes nothing
    body, again = {"token": keys["token"]}, {"Idempotency-Key": "1"}
    problem(await elsewhere.post("/api/v1/onboarding/redeem", json=body, headers=again), 410, "link-used")
    repeated = await workspace.post(path, {"reason": "again"})
    assert repeated.json()["data"]["alreadyErased"]
    assert repeated.json()["data"]["erased"] == repeated.json()["data"]["revokedKeys"] == []
    assert position_of(repeated) <= await system.services.journal.head()
    events = (await workspace.get("/api/v1/audit/events", type="partner.erased.v1", minPosition=at)).json()["data"]
    assert len(events) == 1


async def test_an_invited_partner_is_erased_with_its_link(workspace: Tenant) -> None:
    partner_id, token = await workspace.invite(INVITATION)
    assert (await workspace.post(f"/api/v1/partners/{partner_id}/erase", {"reason": "no"})).status_code == 200
    body = {"token": token}
    problem(await workspace.api.post("/api/v1/onboarding/preview", json=body), 410, "link-withdrawn")
    problem(await workspace.redeem(token), 410, "link-withdrawn")


async def test_only_owners_and_admins_erase_and_only_what_they_see(
    workspace: Tenant, neighbour: Tenant, elsewhere: httpx.AsyncClient
) -> None:
    partner_id, _ = await onboard(workspace, elsewhere)
    path, body = f"/api/v1/partners/{partner_id}/erase", {"reason": "asked for it"}
    for role in ("key-manager", "auditor", "viewer"):
        refused = await workspace.api.post(path, json=body, headers=bearer(await workspace.key(role)))
        assert "partners:erase" in problem(refused, 403, "permission-missing")["detail"]
    problem(await neighbour.post(path, body), 404, "not-found")
    problem(await neighbour.post(f"{path}?dryRun=true", body), 404, "not-found")
    problem(await workspace.post(path, {}), 400, "invalid-request")
    admin = await workspace.api.post(path, json=body, headers=bearer(await workspace.key("admin")))
    assert admin.status_code == 200


async def test_a_process_that_starts_afterwards_reads_what_the_others_read(
    workspace: Tenant, elsewhere: httpx.AsyncClient, system: System
) -> None:
    partner_id, _ = await onboard(workspace, elsewhere)
    at = position_of(await workspace.post(f"/api/v1/partners/{partner_id}/erase", {"reason": "asked for it"}))
    async with running(system.settings, system.clock) as (_, api):
        assert [each for each in CANARIES if each in await said_of(workspace, api, partner_id, at)] == []


async def test_names_of_keys_are_changed_and_handed_on_as_before(
    workspace: Tenant, elsewhere: httpx.AsyncClient, system: System
) -> None:
    """Sealed or not, what people wrote is what they read, after every change and by every process."""
    _, keys = await onboard(workspace, elsewhere)
    of = f"/api/v1/keys/{keys['dev']['id']}"
    assert keys["dev"]["name"] == "Hedwig dev"
    headers = bearer(workspace.owner_key) | {"If-Match": "*"}
    changed = await workspace.api.patch(of, json={"name": "Lamarr", "purpose": "hopping"}, headers=headers)
    cleared = await workspace.api.patch(of, json={"purpose": None}, headers=headers)
    rotated = await workspace.post(f"{of}/rotate", {})
    assert [each.json()["data"]["name"] for each in (changed, cleared, rotated)] == ["Lamarr"] * 3
    assert [each.json()["data"]["purpose"] for each in (changed, cleared, rotated)] == ["hopping", None, None]
    at = position_of(rotated)
    found = (await workspace.get("/api/v1/keys", q="lamarr", minPosition=at)).json()["data"]
    assert {each["id"] for each in found} == {keys["dev"]["id"], rotated.json()["data"]["id"]}
    async with running(system.settings, system.clock) as (_, api):
        assert (await api.get(of, headers=bearer(workspace.owner_key))).json()["data"]["name"] == "Lamarr"
    told = (
        await workspace.get("/api/v1/audit/events", keyId=keys["dev"]["id"], type="key.changed.v1", order="asc")
    ).json()
    assert told["data"][0]["data"]["before"] == {"name": "Hedwig dev", "purpose": None}
    assert told["data"][1]["data"]["after"] == {"purpose": None}
