"""Projections: what they hold is what the log says, however it reached them, or they stop and say so."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from conftest import Database
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import Delivered, LifecycleReader, LifecycleStream
from keyfold.domain.key_events import KeyIssued, KeyRevoked
from keyfold.domain.workspace import WorkspaceCreated
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.projection import CursorMovedError, cursor_of, project, read_positioned
from keyfold.store.queries import query
from keyfold.web.health import api_readiness
from keyfold.worker.loop import Halt
from keyfold.worker.projector import Projector
from keyfold.worker.relay import Relay
from keyfold.worker.worker import Worker

from .stream import loop_is, loop_of
from .support import (
    OPENER,
    Life,
    append,
    assert_projections_equal_a_rebuild,
    connected,
    cursors,
    entry,
    new_id,
    projected,
    record,
    rows,
    value,
    wait_until,
    working,
)

OFTEN = {
    *("key.issued.v1", "key.changed.v1", "key.suspended.v1", "key.reinstated.v1", "key.rotated.v1", "key.revoked.v1"),
    *("key.first-used.v1", "key.delegated.v1", "role.defined.v1", "role.changed.v1", "role.removed.v1"),
}
"""What surely happens among so many commands."""


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_random_commands_they_equal_a_rebuild(life: Life, worker: Worker, seed: int) -> None:
    """Compared row by row; and the lists are not simply empty."""
    mine = await Life(life.services, seed).begin()
    await mine.go_on(160, at_once=8)
    head = await projected(life.services.settings.database_url)
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)
    url = life.services.settings.database_url
    assert await value(url, "SELECT count(*) FROM projections.audit") == head > 150
    assert {type_ for (type_,) in await rows(url, "SELECT DISTINCT type FROM projections.audit")} >= OFTEN
    for table in ("keys", "partners", "links", "integrations", "roles"):
        streams = "SELECT count(DISTINCT stream) FROM keyfold.log WHERE split_part(stream, '_', 1) = $1"
        prefix = {"keys": "key", "partners": "prt", "links": "lnk", "integrations": "int", "roles": "rol"}[table]
        assert await value(url, f"SELECT count(*) FROM projections.{table}") == await value(url, streams, prefix)
        sums = f"SELECT sum(version) FROM projections.{table}"
        assert await value(url, sums) == await value(
            url, "SELECT count(*) FROM keyfold.log WHERE split_part(stream, '_', 1) = $1", prefix
        )


async def test_a_column_follows_what_an_event_changes_long_after_the_row_was_made(life: Life, worker: Worker) -> None:
    """All that changes of keys, one event at a time: a rebuild makes each row from all of them at once."""
    url = life.services.settings.database_url
    parent = (await life.onboard()).keys[0].id
    child = await life.delegate(parent)
    for happens in (life.change, life.suspend, life.reinstate):
        await projected(url)
        await happens(parent)
    await projected(url)
    successor = await life.rotate(parent)
    await projected(url)
    assert await value(url, "SELECT parent_id FROM projections.keys WHERE id = $1", child) == successor
    await life.use_first(successor)
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


class Feed(LifecycleReader):
    """Delivers what the test says, in these batches."""

    def __init__(self, *batches: list[Delivered]) -> None:
        self._batches = list(batches)
        self.opened: list[int] = []

    @property
    def is_open(self) -> bool:
        return bool(self.opened)

    async def open(self, after: int, *, since: datetime | None = None) -> None:
        self.opened.append(after)

    async def batch(self, most: int, timeout: float) -> list[Delivered]:
        return self._batches.pop(0) if self._batches else []


async def log_of(life: Life) -> list[Delivered]:
    log = await rows(life.services.settings.database_url, query("read_after"), 0, 10_000)
    return [Delivered(position, text.encode()) for position, _, _, text in log]


@pytest.mark.parametrize("name", PROJECTIONS)
async def test_whatever_is_missing_twice_or_out_of_order_comes_from_the_log(
    life: Life, worker_postgres: Postgres, name: str
) -> None:
    for _ in range(6):
        await life.onboard()
    log = await log_of(life)
    batches = [
        log[2:4],  # the first two are missing
        [log[3], log[3], log[6], log[4], log[6]],  # more than once, and as many as would just fill the gap
        [log[9], log[8]],  # backwards
        [log[0]],  # long known
        [*log[8:20], *log[22:30]],
        [log[-1]],
    ]
    projector = Projector(worker_postgres, Feed(*batches), PROJECTIONS[name], OPENER)
    for _ in range(len(batches) + 2):
        await projector.step()
    async with connected(life.services.settings.worker_database_url) as connection:
        assert await cursor_of(connection, PROJECTIONS[name]) == len(log)
    for other in PROJECTIONS.values():
        if other.name != name:  # brought up by hand: verify compares all
            whole = Projector(worker_postgres, Feed(log), other, OPENER)
            await whole.step()
    await assert_projections_equal_a_rebuild(life.services.settings.worker_database_url)


async def test_of_two_projectors_one_applies_each_event_and_the_other_begins_anew(
    life: Life, worker_postgres: Postgres
) -> None:
    await life.onboard()
    log = await log_of(life)
    feeds = [Feed(log[:4], log[4:]), Feed(log[:7], log[7:])]
    both = [Projector(worker_postgres, feed, PROJECTIONS["audit"], OPENER) for feed in feeds]
    for _ in range(4):
        await asyncio.gather(*[each.step() for each in both])
    assert (await cursors(life.services.settings.worker_database_url))["audit"] == len(log)
    assert sum(len(feed.opened) for feed in feeds) > 2
    found = await rows(life.services.settings.database_url, "SELECT position FROM projections.audit ORDER BY 1")
    assert found == [(each.position,) for each in log]


async def test_a_batch_behind_a_cursor_that_moved_is_not_applied(life: Life, worker_postgres: Postgres) -> None:
    log = await log_of(life)
    batch = [read_positioned(*each) for each in log]
    audit = PROJECTIONS["audit"]
    async with worker_postgres.connection() as connection:
        await project(connection, audit, 0, batch[:2], log[1].record)
        with pytest.raises(CursorMovedError):
            await project(connection, audit, 0, batch[:3], log[2].record)
        with pytest.raises(CursorMovedError):
            await project(connection, audit, 3, batch[3:], log[-1].record)
        assert await cursor_of(connection, audit) == 2
        assert await connection.fetchval("SELECT count(*) FROM audit") == 2


async def bogus(life: Life, what: str) -> None:
    """Something that can be in the log and isn't a lifecycle event of this version that makes sense there."""
    stream = new_id("key")
    issued = KeyIssued(workspace_id=life.manager.workspace_id, key_id=stream, kind="account", name="a", role="viewer")
    revoked = KeyRevoked(workspace_id=life.manager.workspace_id, key_id=stream, reason="r")
    made = {
        "revoked before issued": record(stream, 1, revoked),
        "no record": entry(stream, 1, '{"no":"record"}'),
        "an unknown type": record(stream, 1, issued, type="key.frozen.v9"),
        "an unknown kind of stream": record("zzz_1", 1, WorkspaceCreated(workspace_id="ws_1", name="n")),
        "a version that skips": record(stream, 1, issued, version=7),
        "text that Postgres can't hold": record(
            stream,
            1,
            KeyIssued(
                workspace_id=life.manager.workspace_id,
                key_id=stream,
                kind="integration",
                name="a",
                integration_id="int_\0",
            ),
        ),
    }[what]
    await append(life.services.journal, made)


HALTED_BY = {
    "revoked before issued": {"current", "history"},
    "no record": {"current", "audit", "history"},
    "an unknown type": {"current", "audit", "history"},
    "an unknown kind of stream": {"current", "history"},
    "a version that skips": {"current", "history"},
    "text that Postgres can't hold": {"current", "audit", "history"},
}


@pytest.mark.parametrize("what", HALTED_BY)
async def test_an_event_that_cannot_be_applied_halts_the_projection_there_and_nothing_else(
    life: Life, worker: Worker, what: str
) -> None:
    """All before it is applied, nothing behind it; the other projection and the relay go on; readiness names it."""
    url = life.services.settings.database_url
    await projected(url)
    await life.onboard()
    await bogus(life, what)
    bad = await life.services.journal.head()
    await life.onboard()
    head = await life.services.journal.head()
    expected = {name: bad - 1 if name in HALTED_BY[what] else head for name in PROJECTIONS}

    async def reached() -> bool:
        return await cursors(url) == expected

    await wait_until(reached)
    for name in PROJECTIONS:
        status = "halted" if name in HALTED_BY[what] else "running"
        await wait_until(partial(loop_is, worker, f"projection {name}", status))
    for name in HALTED_BY[what]:
        assert f"position {bad} can't be applied" in loop_of(worker, f"projection {name}")
    assert loop_of(worker) == "running: "

    async def said_by_the_api() -> bool:
        ready = await api_readiness(life.services.postgres, worker.bus, life.services.sealing)
        named = {name for name in PROJECTIONS if f"position {bad} " in ready.checks[f"loop projection {name}"].detail}
        return not ready.ready and named == HALTED_BY[what]

    await wait_until(said_by_the_api)
    assert await cursors(url) == expected


async def test_a_live_row_that_should_not_be_there_halts_the_projection_and_names_the_event(
    life: Life, worker_postgres: Postgres, database: Database
) -> None:
    log = await log_of(life)
    async with connected(database.worker_url, search_path="projections") as connection:
        rest = [read_positioned(*each) for each in log[2:3]]
        await PROJECTIONS["audit"].apply(connection, rest)
    projector = Projector(worker_postgres, Feed(log, log[2:]), PROJECTIONS["audit"], OPENER)
    for _ in range(2):
        with pytest.raises(Halt, match="position 3 can't be applied: UniqueViolationError"):
            await projector.step()
    assert (await cursors(database.worker_url))["audit"] == 2


async def test_lists_wait_for_a_position_and_say_so_when_it_does_not_come(
    life: Life, worker_settings: Settings
) -> None:
    from keyfold.domain.refusals import Unavailable  # noqa: PLC0415

    lists, head = life.services.lists, await life.services.journal.head()
    with pytest.raises(Unavailable, match=f"position {head}"):
        await lists.include("current", head)
    async with working(Worker(worker_settings)):
        await projected(life.services.settings.database_url)
        await life.onboard()
        head = await life.services.journal.head()
        await asyncio.gather(*[lists.include(each, head) for each in PROJECTIONS])
        found: Any = await cursors(life.services.settings.database_url)
        assert found == dict.fromkeys(PROJECTIONS, head)


async def test_a_projector_and_a_relay_without_any_loop_bring_an_event_through(
    life: Life, worker_postgres: Postgres, bus: Bus
) -> None:
    relay = Relay(worker_postgres, LifecycleStream(bus, replicas=1))
    while await relay.step():
        pass
    projector = Projector(worker_postgres, LifecycleReader(bus), PROJECTIONS["current"], OPENER)
    await projector.step()
    head = await life.services.journal.head()
    assert (await cursors(life.services.settings.worker_database_url))["current"] == head
