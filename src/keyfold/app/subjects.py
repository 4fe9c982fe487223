"""Brings together all that a judgement of a key depends on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from keyfold.app.ports import Loaded
from keyfold.domain.aggregates import INTEGRATION, KEY, ROLE, WORKSPACE, Aggregate
from keyfold.domain.judgement import Subject
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import INTEGRATION_KEY, ROLES, Permission
from keyfold.domain.role import CustomRole

Load = Callable[[Aggregate[Any], str], Awaitable[Loaded[Any]]]


async def load_subject(load: Load, key_id: str) -> tuple[Subject | None, frozenset[str]]:
    """The subject, None when there is no such key, and the streams that it was folded from."""
    key: Key | None = (await load(KEY, key_id)).state
    if key is None:
        return None, frozenset({key_id})
    wanted: dict[Aggregate[Any], str | None] = {
        WORKSPACE: key.workspace_id,
        INTEGRATION: key.integration_id,
        ROLE: custom_role(key),
    }
    found, parents = await asyncio.gather(_states(load, wanted), _parents(load, key))
    workspace, integration = found[WORKSPACE], found[INTEGRATION]
    offer = integration and key.environment and integration.terms.environments.get(key.environment)
    house = workspace and workspace.house
    rate = (offer and offer.policy.rate) if key.kind == "service" else house and house.key_rate
    subject = Subject(
        key=key,
        parents=parents,
        offer=offer or None,
        permissions=permissions_of(key, found[ROLE]),
        rate=rate or None,
        workspace_rate=house and house.rate,
    )
    streams = {key.id, *(each.id for each in parents), *(of for of in wanted.values() if of)}
    return subject, frozenset(streams)


def permissions_of(key: Key, role: CustomRole | None) -> frozenset[Permission]:
    """What a key may manage; a service key manages nothing, and neither does one whose role can't be found."""
    match key.kind:
        case "account":
            name = key.document.role
            built_in = next((given for each, given in ROLES.items() if each == name), frozenset[Permission]())
            return role.permissions if role is not None else built_in
        case "integration":
            return INTEGRATION_KEY
        case "service":
            return frozenset()


def custom_role(key: Key) -> str | None:
    """The id of the key's role, where that isn't a built-in one."""
    role = key.document.role
    return role if role is not None and role not in ROLES else None


async def _states(load: Load, wanted: dict[Aggregate[Any], str | None]) -> dict[Aggregate[Any], Any]:
    async def state(aggregate: Aggregate[Any], of: str | None) -> Any:
        return (await load(aggregate, of)).state if of else None

    states = await asyncio.gather(*[state(aggregate, of) for aggregate, of in wanted.items()])
    return dict(zip(wanted, states, strict=True))


async def _parents(load: Load, key: Key) -> tuple[Key, ...]:
    parents: list[Key] = []
    while key.parent_id is not None:
        above: Key | None = (await load(KEY, key.parent_id)).state
        if above is None:
            raise LookupError(f"{key.parent_id}, which {key.id} was delegated by, doesn't exist")
        parents.append(key := above)
    return tuple(parents)
