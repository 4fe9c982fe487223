"""What the tests of the store, the relay, the projections and the processes share."""

import asyncio
import inspect
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import asyncpg
import msgspec
import nats
from nats.aio.client import Client

from conftest import PEPPERS
from keyfold.app.access import Caller
from keyfold.app.keys import NewKey
from keyfold.app.onboarding import Visit
from keyfold.app.ports import Entry, StreamMovedError, Write
from keyfold.app.rotation import Overlap
from keyfold.app.sealing import Sealing
from keyfold.app.views import RedemptionView
from keyfold.app.work import Cause
from keyfold.cli.embedded import Nats
from keyfold.domain import ids
from keyfold.domain.aggregates import KEY
from keyfold.domain.integration import Terms
from keyfold.domain.partner import Invitation
from keyfold.domain.record import Actor, Event, Record, encode
from keyfold.domain.refusals import Refusal
from keyfold.domain.role import RoleTerms
from keyfold.store.data_keys import Opener
from keyfold.store.journal import PostgresJournal
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.rebuild import Verified, verify
from keyfold.web.services import Services
from keyfold.worker.worker import Worker

ACTOR = Actor(kind="operator", id="tests")
CAUSE = Cause(ACTOR, "req_tests")
SEALING = Sealing(PEPPERS, os.urandom)
OPENER = Opener(SEALING)
SHOP = Terms(name="Shop")
HEAD = "SELECT coalesce(max(position), 0) FROM keyfold.log"


LIMIT = 20.0
"""Seconds after which a test takes something for hanging. How soon it should have been is for `tests/bench`."""


async def wait_until(true: Callable[[], Any], seconds: float = LIMIT, every: float = 0.02) -> None:
    """Waits for a condition, a plain one or one to await, which is asked less often the longer it takes."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        held = true()
        if inspect.isawaitable(held):
            held = await held
            every = min(1.3 * every, 0.1)
        if held:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {true}"
        await asyncio.sleep(every)


@asynccontextmanager
async def connected(url: str, **settings: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a test's own statements."""
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def logged_in(server: Nats, name: str, **options: Any) -> AsyncIterator[Client]:
    """A connection as one of our own logins, by its credentials file and with nothing of ours around the client."""

    async def ignore(_: Exception) -> None:
        pass  # the refusals that a test provokes

    given = {"user_credentials": str(server.credentials(name)), "error_cb": ignore, **options}
    client = await nats.connect(server.url, **given)
    try:
        yield client
    finally:
        await client.close()


async def value(url: str, statement: str, *arguments: Any) -> Any:
    async with connected(url) as connection:
        return await connection.fetchval(statement, *arguments)


async def rows(url: str, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async with connected(url) as connection:
        return [tuple(row) for row in await connection.fetch(statement, *arguments)]


def new_id(prefix: str) -> str:
    return ids.new_id(prefix, datetime.now(UTC), os.urandom(ids.ENTROPY))


def entry(stream: str, version: int, text: str | None = None, workspace_id: str = "ws_tests") -> Entry:
    """An entry whose record is any JSON object with something in it: enough for the store, which doesn't read it."""
    text = text or f'{{"stream":"{stream}","version":{version},"data":{{"workspaceId":"{workspace_id}"}}}}'
    return Entry(stream, version, text, workspace_id)


def record(stream: str, version: int, event: Event, /, **changes: Any) -> Entry:
    """An entry with a real record, but for what `changes` says."""
    made = Record(
        id=new_id("evt"),
        stream=stream,
        version=version,
        type=event.type,
        time=datetime.now(UTC),
        actor=ACTOR,
        correlation_id="req_tests",
        data=msgspec.Raw(encode(event)),
    )
    return Entry(stream, version, encode(msgspec.structs.replace(made, **changes)).decode(), event.workspace_id)


async def append(journal: PostgresJournal, *entries: Entry) -> int:
    return await journal.append(Write(entries=list(entries)))


async def assert_gapless(url: str) -> int:
    """Every position once, every stream's versions once and in the log's order. Gives the head."""
    log = await rows(url, "SELECT position, stream, version FROM keyfold.log ORDER BY position")
    assert [position for position, _, _ in log] == list(range(1, len(log) + 1))
    versions: dict[str, int] = {}
    for _, stream, version in log:
        assert version == versions.get(stream, 0) + 1
        versions[stream] = version
    return len(log)


async def cursors(url: str) -> dict[str, int]:
    return dict(await rows(url, "SELECT projection, position FROM projections.cursors"))


async def projected(url: str, *, seconds: float = LIMIT) -> int:
    """Waits until every projection is at the head of the log, and gives it."""
    async with connected(url) as connection:

        async def current() -> bool:
            cursors = await connection.fetch("SELECT DISTINCT position FROM projections.cursors")
            return [position for (position,) in cursors] == [await connection.fetchval(HEAD)]

        await wait_until(current, seconds)
        return int(await connection.fetchval(HEAD))


async def verified(worker_url: str) -> dict[str, Verified]:
    """Every projection compared with its rebuild."""
    return {name: await verify(worker_url, each, OPENER, lambda *_: None) for name, each in PROJECTIONS.items()}


async def assert_projections_equal_a_rebuild(worker_url: str) -> None:
    for name, outcome in (await verified(worker_url)).items():
        assert outcome.differences == [], name


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """A worker that runs in this process."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Life:
    """A workspace in which things happen: commands carried out by the application, on the real store."""

    def __init__(self, services: Services, seed: int = 1) -> None:
        self.services = services
        self.partners: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self._random = random.Random(seed)
        self._numbers = count(1)
        self.manager: Caller
        self.inviter: Caller

    async def begin(self, terms: Terms = SHOP) -> "Life":
        made = (await self.services.workspaces.found(CAUSE, "Acme", terms)).view
        self.manager = Caller(cause=CAUSE, workspace_id=made.workspace_id, is_owner=True)
        self.inviter = Caller(cause=CAUSE, workspace_id=made.workspace_id, integration_id=made.integration.id)
        return self

    async def invite(self, **metadata: Any) -> str:
        """A new partner's link token."""
        invitation = Invitation(app_name=f"App {next(self._numbers)} ☂", metadata=metadata)
        answer = await self.services.onboarding.invite(self.inviter, invitation)
        token = answer.view.url.partition("#")[2]
        self.partners.append(answer.view.id)
        self.links.append((answer.view.id, token))
        return token

    async def redeem(self, token: str) -> RedemptionView:
        opened = await self.services.onboarding.redeem(token, Visit("127.0.0.1", "req_tests"))
        self.keys += [key.id for key in opened.answer.view.keys]
        return opened.answer.view

    async def onboard(self) -> RedemptionView:
        return await self.redeem(await self.invite())

    async def revoke(self, key_id: str) -> None:
        await self.services.key_life.revoke(self.manager, key_id, "a test")

    async def suspend(self, key_id: str) -> None:
        await self.services.key_life.suspend(self.manager, key_id, "a test")

    async def reinstate(self, key_id: str) -> None:
        await self.services.key_life.reinstate(self.manager, key_id)

    async def pause(self, key_id: str) -> None:
        await self.suspend(key_id)
        await self.reinstate(key_id)

    async def rotate(self, key_id: str) -> str:
        """The successor's id."""
        rotated = await self.services.rotation.rotate(self.manager, key_id, Overlap(3600))
        self.keys.append(rotated.view.id)
        return rotated.view.id

    async def delegate(self, key_id: str) -> str:
        """The smaller key's id."""
        issued = await self.services.keys.delegate(self.manager, key_id, NewKey(permitted=("receive",)))
        self.keys.append(issued.view.id)
        return issued.view.id

    async def change(self, key_id: str) -> None:
        """Other tags, and an expiry."""
        loaded = await self.services.journal.load(KEY, key_id)
        assert loaded.state is not None
        number = next(self._numbers)
        expires_at = datetime.now(UTC) + timedelta(days=number)
        changed = msgspec.structs.replace(loaded.state.document, tags=(f"n{number}",), expires_at=expires_at)
        await self.services.key_life.change(self.manager, key_id, changed, version=loaded.version)

    async def use_first(self, key_id: str) -> None:
        await self.services.rotation.note_first_use(CAUSE, key_id)

    async def replace(self, key_id: str) -> None:
        await self.use_first(await self.rotate(key_id))

    async def define_role(self) -> None:
        """One that is changed, and then removed."""
        roles, terms = self.services.roles, RoleTerms(name=f"Role {next(self._numbers)}", permissions=("keys:read",))
        defined = (await roles.define(self.manager, terms)).view
        wider = msgspec.structs.replace(terms, permissions=("audit:read", "keys:read"))
        await roles.change(self.manager, defined.id, wider, version=1)
        await roles.remove(self.manager, defined.id)

    async def offboard(self, partner_id: str) -> None:
        await self.services.partners.offboard(self.manager, partner_id, "a test")

    async def issue(self) -> str:
        wanted = NewKey(kind="account", name=f"Key {next(self._numbers)}", role="viewer")
        issued = await self.services.keys.issue(self.manager, wanted)
        self.keys.append(issued.view.id)
        return issued.view.id

    async def do_something(self) -> None:
        """One command at random; some are refused, as in life."""
        choice = self._random.choice
        tree = {"n": [1, -0.0, 1e22, 2**53 + 1, None, True], "ä\u2028": {"b": "\u0000\n\"'\\ 🗝"}}
        doing: list[Callable[[], Awaitable[object]]] = [
            self.issue,
            self.onboard,
            self.define_role,
            lambda: self.invite(**tree),
        ]
        if self.links:
            doing.append(lambda: self.redeem(choice(self.links)[1]))
            doing.append(lambda: self.offboard(choice(self.partners)))
        if self.keys:
            lives = (
                *(self.revoke, self.suspend, self.pause, self.change),
                *(self.rotate, self.delegate, self.replace),
            )
            doing += [partial(each, choice(self.keys[-8:])) for each in lives]  # few, so that more befalls each
        try:
            await choice(doing)()
        except Refusal:
            return

    async def go_on(self, commands: int, at_once: int = 4) -> None:
        """So many random commands, some at the same time."""
        for _ in range(commands // at_once):
            await asyncio.gather(*[self.do_something() for _ in range(at_once)])


async def moved(appending: Awaitable[int]) -> bool:
    """Whether the append was refused as a conflict."""
    try:
        await appending
    except StreamMovedError:
        return True
    return False
