"""The whole OpenAPI document, tried on the running system: by whomever, with what it permits and what it doesn't."""

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

import pytest
from schemathesis import Case
from schemathesis import GenerationMode as Mode

from keyfold.web.pages.openapi import document
from keyfold.web.services import Services
from keyfold.web.sessions import SESSION_COOKIE

from .fuzzing import Grounding, Operation, ask, cases, client, operations
from .routes import application, things_of
from .tenant import ORIGIN, Tenant, bearer

NUMBER = 2
"""Requests for each operation, and as many that are wrong; more with the long ones."""
SEEDS = range(1, 7)
CALLERS = {"owner": 42, "inviter": 12, "service": 12, "session": 16, "nobody": 2}
"""Who asks, and how many operations of the document at least are carried out for them."""
LAST = ("/revoke", "/erase", "/compromise", "/bulk", "/promote", "/rotate", "/suspend")
"""What takes from the others what they are tried on."""
AFTER_ALL = ("/workspace", "/session")
"""What may leave the caller with no right to anything."""

Made = list[tuple[Operation, list[Case[Any]]]]


class Caller(NamedTuple):
    """Somebody, and what there is for it to ask for."""

    headers: Mapping[str, str]
    grounding: Grounding


@pytest.fixture(scope="module")
def described() -> list[Operation]:
    """All operations. The application needs nothing running to say what it does."""
    return operations(document(application()))


@pytest.fixture(scope="module")
def made(described: list[Operation]) -> Made:
    return make(described, NUMBER, start=1)


def make(described: list[Operation], number: int, *, start: int) -> Made:
    """Requests for every operation, in an order in which the first leave something to the last."""
    todo = [(each, [case for mode in Mode for case in cases(each, mode, number, start=start)]) for each in described]
    return sorted(todo, key=lambda each: (each[0].path.endswith(AFTER_ALL), _takes_away(each[0])))


def _takes_away(operation: Operation) -> bool:
    return operation.method == "delete" or operation.path.endswith(LAST)


async def caller(workspace: Tenant, who: str, *, seed: int) -> Caller:
    """One of `CALLERS`, in a workspace that has one of everything."""
    things = await things_of(workspace)
    cookie = f"{SESSION_COOKIE}={workspace.api.cookies[SESSION_COOKIE]}"
    _, keys = await workspace.onboard()
    _, token = await workspace.invite()
    workspace.api.cookies.clear()
    headers = {
        "owner": bearer(workspace.owner_key),
        "inviter": bearer(workspace.integration_key),
        "service": bearer(keys["dev"]["secret"]),
        "session": {"Cookie": cookie, "Origin": ORIGIN},
        "nobody": {},
    }
    secrets = {"token": [token, f"{token[:-1]}!"], "key": [keys["prod"]["secret"]]}
    return Caller(headers[who], Grounding(things, seed=seed, **secrets))


async def tried(services: Services, made: Made, by: Caller, log: list[MutableMapping[str, Any]]) -> set[str]:
    """Sends all of it, demands that every answer is as described, and gives the operations that were carried out."""
    wrong, done = [], set()
    async with client(services) as api:
        for operation, requests in made:
            for case in requests:
                log.clear()
                asked = await ask(api, by.grounding.ground(case), by.headers)
                if asked.succeeded:
                    done.add(operation.label)
                if said := asked.wrong():
                    broken = [entry for entry in log if entry["event"] == "request.failed"]
                    wrong.append(f"{operation.label}\n{said}\n{broken or ''}")
    assert not wrong, "\n\n".join([f"{len(wrong)} answers are not as described", *wrong[:10]])
    return done


@pytest.mark.parametrize("who", ["owner", *(pytest.param(each, marks=pytest.mark.long) for each in [*CALLERS][1:])])
async def test_every_answer_is_as_the_document_says(
    workspace: Tenant, made: Made, who: str, log: list[MutableMapping[str, Any]]
) -> None:
    done = await tried(workspace.services, made, await caller(workspace, who, seed=1), log)
    assert len(done) >= CALLERS[who], sorted(done)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_answer_to_many_more_is_as_the_document_says(
    workspace: Tenant, neighbour: Tenant, described: list[Operation], seed: int, log: list[MutableMapping[str, Any]]
) -> None:
    more = make(described, 10, start=seed)
    for tenant, who in ((workspace, "owner"), (neighbour, "service"), (workspace, "session")):
        await tried(tenant.services, more, await caller(tenant, who, seed=seed), log)
