"""Whether cost stays flat: the same work with many events in the log, and with few.

The logs stay in a folder: the next run goes on filling where this one was stopped, and measures at once what is full.
"""

import os
import random
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import asyncpg
import msgspec

from keyfold.app.sealing import Sealing
from keyfold.cli.embedded import Postgres
from keyfold.domain.moment import Moment
from keyfold.settings import Secret, Settings
from keyfold.store.data_keys import Opener
from keyfold.store.migrate import migrate
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.rebuild import rebuild
from keyfold.web.services import Services

from .measure import Outcome, Side, percentile, ratio
from .stage import BenchError, Stage
from .system import System, running

FEW, MANY = 10_000, 10_000_000
FOLDER = Path.home() / ".cache" / "keyfold-scale"
SAMPLES = 100
"""Of each kind of work in each round."""
_LIFE = 9
"""Events of a partner's life, at positions that follow one another."""
_CHUNK = 20_000
"""Lives that are written in one transaction."""
_PROJECTIONS = ("audit", "history")
"""Those that the measured work reads."""
_ID = re.compile(r"\b(?P<prefix>[a-z]{3}_)[0-9a-z]{20}(?P<end>[0-9a-z]{6})\b")
_TURN = "@" * 19
"""Stands in ids for the number of a life."""
_FILL = """
SET LOCAL ROLE keyfold_owner;
INSERT INTO keyfold.log (position, stream, version, record, workspace_id, number)
SELECT {position} + n * 9 + nth - 1, replace(stream, '{turn}', lpad(n::text, 19, '0')), version,
       replace(replace(replace(record, '{turn}', lpad(n::text, 19, '0')),
           '"number":@', format('"number":%s', {number} + n * 9 + nth - 1)),
           '"time":"@"', format('"time":"%s"', to_char(timestamp '2024-01-01' + n * interval '7 seconds',
               'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::json,
       '{workspace}', {number} + n * 9 + nth - 1
FROM generate_series({first}, {last}) AS n CROSS JOIN life;
INSERT INTO keyfold.key_secrets (id, pepper, digest)
SELECT replace(stream, '{turn}', lpad(n::text, 19, '0')), 1, sha256(convert_to(stream || n, 'UTF8'))
FROM generate_series({first}, {last}) AS n
CROSS JOIN (SELECT DISTINCT stream FROM life WHERE stream ~ '^(key|lnk|pse)_') AS shown;
"""


class Life(msgspec.Struct, frozen=True):
    """One partner that was really invited and onboarded: its records, to be written again under other ids, times and
    numbers, the first of them at `position`."""

    workspace_id: str
    position: int
    number: int
    streams: list[str]
    versions: list[int]
    records: list[str]

    def key(self, turn: int) -> str:
        """The id of the key that was revoked in the life of that number, from 1."""
        (stream,) = {
            each
            for each, version in zip(self.streams, self.versions, strict=True)
            if each.startswith("key_") and version > 1
        }
        return stream.replace(_TURN, f"{turn:019}")


class Log(NamedTuple):
    """A database with so many lives."""

    settings: Settings
    life: Life
    lives: int


async def measure(stage: Stage, folder: Path, events: int) -> AsyncIterator[Outcome]:
    """The rows of the group, on a log of `FEW` events and on one of `events`."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Postgres(folder / "postgres")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        await server.start()
        many, few = [await _work(stage, stack, server, folder, size) for size in (events, FEW)]
        for row, work in (
            ("scale-append", Work.append),
            ("scale-verify", Work.verify),
            ("scale-history", Work.history),
            ("scale-past", Work.past),
            ("scale-history-first", partial(Work.history, at_first=True)),
            ("scale-past-first", partial(Work.past, at_first=True)),
        ):
            if stage.options.wants(row):
                yield await _compared(stage, row, partial(work, many), partial(work, few))


async def _compared(stage: Stage, row: str, many: Side, few: Side) -> Outcome:
    """Medians in milliseconds."""
    found = await stage.interleaved({"many": many, "few": few})
    return Outcome(
        row=row,
        unit="ms",
        ours=found["many"],
        theirs=found["few"],
        figures={"ratio": ratio(found["many"], found["few"]), "p50": percentile(found["many"], 0.5)},
    )


class Work:
    """What people do, a round of samples at a time: each gives the median in milliseconds."""

    def __init__(self, log: Log, system: System, stranger: Services) -> None:
        self._log = log
        self._system = system
        self._stranger = stranger
        self._random = random.Random(1)

    async def append(self) -> float:
        """A command of one event, by one writer."""
        return await _median(self._system.create for _ in range(SAMPLES))

    async def verify(self) -> float:
        """Of keys that a process has never seen, which it reads from the log."""
        keys = await self._system.keys(SAMPLES)
        return await _median(partial(self._verify, key.secret) for key in keys)

    async def history(self, *, at_first: bool = False) -> float:
        """All that happened to a key, from anywhere in the log, with the records."""
        return await self._anywhere(self._tell, at_first)

    async def past(self, *, at_first: bool = False) -> float:
        """The first page of the keys that there were at any moment."""
        return await self._anywhere(self._look_back, at_first)

    async def _anywhere(self, ask: Callable[[int], Awaitable[None]], at_first: bool) -> float:
        """A small log lies in memory whole, and a large one doesn't: what is asked `at_first` may have to come from the
        disk, and what is asked once more does the same work on both."""
        turns = [self._random.randint(1, self._log.lives) for _ in range(SAMPLES)]
        first, again = [await _median(partial(ask, turn) for turn in turns) for _ in range(2)]
        return first if at_first else again

    async def _verify(self, secret: str) -> None:
        if not (await self._stranger.verifier.verify(secret)).valid:
            raise BenchError("a valid key was refused")

    async def _tell(self, turn: int) -> None:
        asked = {"key_id = $?": self._log.life.key(turn)}
        page = await self._stranger.lists.audit(
            self._log.life.workspace_id, asked, ascending=False, cursor=None, limit=50
        )
        if len(page.items) != 2:
            raise BenchError(f"a key that was issued and revoked has a history of {len(page.items)}")

    async def _look_back(self, turn: int) -> None:
        position = self._log.life.position + turn * _LIFE
        at = Moment(position, await self._stranger.past.time_of(position))
        page = await self._stranger.past.page(
            "key", self._log.life.workspace_id, {}, status=None, at=at, cursor=None, limit=50
        )
        if not page.items:
            raise BenchError("there were no keys")


async def _median(samples: Iterable[Callable[[], Awaitable[object]]]) -> float:
    times = []
    for sample in samples:
        started = time.perf_counter()
        await sample()
        times.append((time.perf_counter() - started) * 1000)
    return percentile(times, 0.5)


async def _work(stage: Stage, stack: AsyncExitStack, server: Postgres, folder: Path, events: int) -> Work:
    log = await _log(stage, server, folder, events)
    system = await stack.enter_async_context(running(log.settings))
    stranger = Services(log.settings)  # hears of nothing, so it remembers nothing
    await stranger.open()
    stack.push_async_callback(stranger.close)
    return Work(log, system, stranger)


async def _log(stage: Stage, server: Postgres, folder: Path, events: int) -> Log:
    """A log with so many events and its projections, of which as much is made as isn't there."""
    name, kept = f"log_{events}", folder / f"log_{events}.json"
    settings = msgspec.structs.replace(
        stage.settings(name), peppers={1: _pepper(folder)}, database_url=server.url("keyfold_api", name)
    )
    if not kept.exists():
        kept.write_bytes(msgspec.json.encode(await _live_once(server, name, settings)))
    log = Log(settings, msgspec.json.decode(kept.read_bytes(), type=Life), events // _LIFE)
    connection = await asyncpg.connect(server.url("postgres", name))
    try:
        await _fill(connection, log)
        opener = Opener(Sealing(settings.peppers, os.urandom))
        for projection in _PROJECTIONS:
            cursor = "SELECT position FROM projections.cursors WHERE projection = $1"
            if await connection.fetchval(cursor, projection) < log.life.position + log.lives * _LIFE:
                say = partial(_progress, f"{name}, projection {projection}")
                await rebuild(server.url("keyfold_worker", name), PROJECTIONS[projection], opener, say)
    finally:
        await connection.close()
    return log


def _pepper(folder: Path) -> Secret:
    kept = folder / "pepper"
    if not kept.exists():
        kept.write_bytes(secrets.token_bytes(32))
    return Secret(kept.read_bytes())


async def _live_once(server: Postgres, name: str, settings: Settings) -> Life:
    connection = await asyncpg.connect(server.url("postgres", "postgres"))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    await migrate(server.url("postgres", name), {})
    async with running(settings) as system:
        before = await system.services.journal.head()
        await system.live()
        lived = "SELECT position, number, stream, version, record FROM keyfold.log WHERE position > $1 ORDER BY 1"
        rows = await system.services.postgres.fetch(lived, before)
    return Life(
        system.workspace_id,
        rows[0]["position"],
        rows[0]["number"],
        [_ID.sub(_turned, row["stream"]) for row in rows],
        [row["version"] for row in rows],
        [_template(row["record"], {system.workspace_id, system.integration_id}) for row in rows],
    )


def _template(record: str, constant: set[str]) -> str:
    record = _ID.sub(lambda found: found[0] if found[0] in constant else _turned(found), record)
    return re.sub(r'"time":"[^"]*"', '"time":"@"', re.sub(r'"number":\d+', '"number":@', record))


def _turned(found: re.Match[str]) -> str:
    """Behind the ids that are there, and in the order of time, as ids are."""
    return f"{found['prefix']}1{_TURN}{found['end']}"


async def _fill(connection: asyncpg.Connection, log: Log) -> None:
    await connection.execute("SET synchronous_commit = off")
    await connection.execute("CREATE TEMP TABLE life (nth bigint, stream text, version integer, record text)")
    life = log.life
    rows = [*zip(range(1, _LIFE + 1), life.streams, life.versions, life.records, strict=True)]
    await connection.copy_records_to_table("life", records=rows)
    await connection.execute("GRANT SELECT ON life TO PUBLIC")
    newest = "SELECT max(number) FROM keyfold.log WHERE workspace_id = $1"
    done = (await connection.fetchval(newest, life.workspace_id) - life.number) // _LIFE
    if done >= log.lives:
        return
    while done < log.lives:
        last = min(done + _CHUNK, log.lives)
        values = {"position": life.position, "number": life.number, "workspace": life.workspace_id, "turn": _TURN}
        async with connection.transaction():
            await connection.execute(_FILL.format(**values, first=done + 1, last=last))
        done = last
        _progress("the log", done * _LIFE, log.lives * _LIFE)
    await connection.execute("VACUUM (ANALYZE) keyfold.log")
    await connection.execute("VACUUM (ANALYZE) keyfold.key_secrets")
    await connection.execute("CHECKPOINT")


def _progress(what: str, done: int, of: int) -> None:
    end = "\n" if done == of else ""
    print(f"\r{what}: {done:,} of {of:,} events", end=end, file=sys.stderr, flush=True)
