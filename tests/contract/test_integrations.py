"""Integrations: created as asked for, or refused by what can't be."""

from typing import Any

import pytest

from keyfold.domain.permissions import ENVIRONMENTS

from .tenant import Tenant, pointers, problem


async def test_an_integration_says_what_partners_get(workspace: Tenant) -> None:
    wanted = {
        "name": "Café 書店",
        "description": "Two\nlines",
        "color": "#AABBCC",
        "icon": "https://x.test/i.svg",
        "environments": {"stage": {"permitted": ["receive", "receive"], "options": {"receive": {"topics": ["a/**"]}}}},
        "linkLifetimeSeconds": 300,
        "keyLifetimeSeconds": 60,
    }
    answer = await workspace.post("/api/v1/integrations", wanted)
    data = answer.json()["data"]
    assert answer.status_code == 201
    assert data["presentation"] == {name: wanted[name] for name in ("description", "color", "icon")}
    assert data["environments"]["stage"]["permitted"] == ["receive"]
    assert (await workspace.get(f"/api/v1/integrations/{data['id']}")).json()["data"] == data
    default = (await workspace.post("/api/v1/integrations", {"name": "x"})).json()["data"]
    assert [*default["environments"]] == [*ENVIRONMENTS]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({}, "/name"),
        ({"name": "x", "color": "red"}, "/color"),
        ({"name": "x", "icon": "javascript:alert(1)"}, "/icon"),
        ({"name": "x", "description": "a\0"}, "/description"),
        ({"name": "x", "linkLifetimeSeconds": 299}, "/linkLifetimeSeconds"),
        ({"name": "x", "linkLifetimeSeconds": 10**30}, "/linkLifetimeSeconds"),
        ({"name": "x", "linkLifetimeSeconds": -(10**30)}, "/linkLifetimeSeconds"),
        ({"name": "x", "keyLifetimeSeconds": 10**30}, "/keyLifetimeSeconds"),
        ({"name": "x", "environments": {}}, "/environments"),
        ({"name": "x", "environments": {"test": {}}}, "/environments"),
        ({"name": "x", "environments": {"dev": {"permit": []}}}, "/environments"),
        ({"name": "x", "environments": {"dev": {"options": {"send": {"topics": ["a b"]}}}}}, "/environments/dev"),
    ],
)
async def test_an_integration_that_cant_be_is_refused(workspace: Tenant, wanted: Any, wrong: str) -> None:
    assert pointers(await workspace.post("/api/v1/integrations", wanted)) == [wrong]


async def test_an_integration_too_large_for_a_record_is_refused_as_too_large(workspace: Tenant) -> None:
    topics = {"topics": ["a" * 200] * 100}
    rules = {each: {"options": {"send": topics, "receive": topics}} for each in ENVIRONMENTS}
    problem(await workspace.post("/api/v1/integrations", {"name": "x", "environments": rules}), 413, "record-too-large")
