"""How keys used events, through the API: by step and outcome, one's own and nobody else's."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from keyfold.app.event_usage import LATENCY_BOUNDS
from keyfold.web.services import Services

from .conftest import System
from .tenant import Tenant, bearer, pointers, problem

HOUR = timedelta(hours=1)


async def flushed(system: System) -> None:
    """All that was noted is in Postgres."""
    await system.services.event_usage_sender.flush()
    while (await system.services.bus.jetstream().stream_info("USAGE")).state.messages:
        await asyncio.sleep(0.05)


async def usage_of(tenant: Tenant, path: str, **params: Any) -> Any:
    answer = await tenant.get(path, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_what_a_key_did_is_told_by_step_and_outcome(
    system: System, workspace: Tenant, services: Services
) -> None:
    _, keys = await workspace.onboard()
    noon = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 2 * HOUR
    mine, other = keys["prod"]["id"], keys["dev"]["id"]
    note = services.event_usage.note
    note(mine, "published", at=noon, count=2, size=100, seconds=0.003)
    note(mine, "published", at=noon + HOUR, size=7, seconds=0.2)
    note(mine, "refused:rate-limited", at=noon + timedelta(minutes=5))
    note(other, "published", at=noon, size=1)
    await flushed(system)
    path = f"/api/v1/keys/{mine}/events-usage"
    span = {"from": noon.isoformat(), "to": (noon + 2 * HOUR).isoformat()}
    data = await usage_of(workspace, path, **span)
    assert data == {
        "from": f"{noon:%FT%TZ}",
        "to": f"{noon + 2 * HOUR:%FT%TZ}",
        "resolution": "hour",
        "series": [
            {"at": f"{noon:%FT%TZ}", "outcome": "published", "count": 2, "bytes": 100},
            {"at": f"{noon:%FT%TZ}", "outcome": "refused:rate-limited", "count": 1, "bytes": 0},
            {"at": f"{noon + HOUR:%FT%TZ}", "outcome": "published", "count": 1, "bytes": 7},
        ],
        "totals": {"published": {"count": 3, "bytes": 107}, "refused:rate-limited": {"count": 1, "bytes": 0}},
        "latency": {
            "bounds": [*LATENCY_BOUNDS],
            "byOutcome": {
                "published": {
                    "counts": [0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                    "p50": 0.004,
                    "p99": 0.256,
                }
            },
        },
    }
    by_minute = await usage_of(workspace, path, **span, resolution="minute")
    assert [(each["at"], each["count"]) for each in by_minute["series"]] == [
        (f"{noon:%FT%TZ}", 2),
        (f"{noon + timedelta(minutes=5):%FT%TZ}", 1),
        (f"{noon + HOUR:%FT%TZ}", 1),
    ]
    headers = bearer(keys["prod"]["secret"])
    own = await workspace.api.get("/api/v1/keys/self/events-usage", params=span, headers=headers)
    assert own.json()["data"] == data


async def test_a_partners_usage_is_that_of_its_keys_which_the_caller_sees(
    system: System, workspace: Tenant, services: Services
) -> None:
    partner_id, keys = await workspace.onboard()
    _, others = await workspace.onboard()
    now = services.clock()
    for n, environment in enumerate(("dev", "stage", "prod")):
        services.event_usage.note(keys[environment]["id"], "published", at=now, count=10**n)
        services.event_usage.note(others[environment]["id"], "published", at=now, count=10**6)
    await flushed(system)
    await services.lists.include("current", await services.journal.head())
    path = f"/api/v1/partners/{partner_id}/events-usage"
    assert (await usage_of(workspace, path))["totals"]["published"]["count"] == 111
    narrowed = {"kind": "account", "name": "x", "role": "viewer", "conditions": {"environments": ["dev", "stage"]}}
    key = (await workspace.post("/api/v1/keys", narrowed)).json()["data"]["secret"]
    seen = await workspace.api.get(path, headers=bearer(key))
    assert seen.json()["data"]["totals"]["published"]["count"] == 11


async def test_a_key_that_was_never_used_has_an_empty_report(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    data = await usage_of(workspace, f"/api/v1/keys/{keys['dev']['id']}/events-usage")
    assert (data["series"], data["totals"], data["latency"]["byOutcome"]) == ([], {}, {})


async def test_nobody_sees_the_usage_of_what_they_do_not_see(workspace: Tenant, neighbour: Tenant) -> None:
    partner_id, keys = await workspace.onboard()
    session = workspace.api.cookies["__Host-keyfold-portal"]
    other_id, others = await workspace.onboard()
    workspace.api.cookies.clear()
    foreign = [f"/api/v1/keys/{others['dev']['id']}/events-usage", f"/api/v1/partners/{other_id}/events-usage"]
    own = [f"/api/v1/keys/{keys['dev']['id']}/events-usage", f"/api/v1/partners/{partner_id}/events-usage"]
    cookie = {"Cookie": f"__Host-keyfold-portal={session}"}
    for path in foreign:
        problem(await neighbour.get(path), 404, "not-found")
        problem(await workspace.api.get(path, headers=cookie), 404, "not-found")
        service = await workspace.api.get(path, headers=bearer(keys["dev"]["secret"]))
        problem(service, 403, "permission-missing")
    for path in own:
        assert (await workspace.api.get(path, headers=cookie)).status_code == 200


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, ["?from"]),
        ({"from": f"{NOW + timedelta(days=2):%FT%TZ}"}, ["?from"]),
        ({"from": "0001-01-01T00:00:00Z"}, ["?resolution"]),
        ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "resolution": "day"}, ["?resolution"]),
        ({"from": f"{NOW - timedelta(hours=26):%FT%TZ}", "resolution": "minute"}, ["?resolution"]),
        ({"from": "2026-03-01T00:00:00"}, ["?from"]),
        ({"from": "0001-01-01T00:00:00+14:00"}, ["?from"]),
        ({"resolution": "week"}, ["?resolution"]),
        ({"to": "yesterday"}, ["?to"]),
    ],
)
async def test_a_span_that_makes_no_sense_is_refused_and_says_where(
    workspace: Tenant, query: dict[str, str], where: list[str]
) -> None:
    _, keys = await workspace.onboard()
    answer: httpx.Response = await workspace.get(f"/api/v1/keys/{keys['dev']['id']}/events-usage", **query)
    assert pointers(answer) == where


async def test_the_earliest_time_there_is_gives_an_empty_report(workspace: Tenant) -> None:
    _, keys = await workspace.onboard()
    query = {"from": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"}
    data = await usage_of(workspace, f"/api/v1/keys/{keys['dev']['id']}/events-usage", **query)
    assert data["series"] == []
