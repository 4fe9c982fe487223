"""Logs of any size, which stay in a folder: the next run goes on filling where this one was stopped.

A new folder gets the same log of a size every time, byte for byte: one partner lives under a seed and at a fixed time,
and its records are written again under ids, times and numbers that follow from their positions. What is sealed in them
is the same box each time, and opens for nobody: to projections the partners are erased ones. What a run measures is
appended behind all that, under ids and secrets of its own, and stays: the small log is made anew for each run. A folder
that was made before there was a seed goes on with the partner that it has.
"""

import hashlib
import os
import random
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import asyncpg
import msgspec

from keyfold.app.sealing import Sealing
from keyfold.cli.embedded import Postgres
from keyfold.settings import Secret, Settings
from keyfold.store.data_keys import Opener
from keyfold.store.migrate import migrate
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.rebuild import rebuild

from .stage import Stage
from .system import running

FEW, MANY = 10_000, 10_000_000
LIFE = 9
"""Events of a partner's life, at positions that follow one another."""
_CHUNK = 20_000
"""Lives that are written in one transaction."""
_PROJECTIONS = ("audit", "history")
"""Those that the measured work reads. The small log has the others too, for their sizes."""
_BORN = datetime(2024, 1, 1, tzinfo=UTC)
"""When the one partner lives that is written again."""
_SIZES = """
SELECT relation.oid::regclass::text AS name, reltuples::bigint AS rows, pg_table_size(relation.oid) AS bytes,
       pg_indexes_size(relation.oid) AS indexed
FROM pg_class AS relation JOIN pg_namespace AS space ON space.oid = relnamespace
WHERE relkind = 'r' AND nspname IN ('keyfold', 'projections') AND reltuples >= 1000
ORDER BY 1
"""
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


async def filled(stage: Stage, server: Postgres, folder: Path, events: int) -> Log:
    """The log with so many events and its projections, of which as much is made as isn't there."""
    name, kept = f"log_{events}", folder / f"log_{events}.json"
    settings = msgspec.structs.replace(
        stage.settings(name), peppers={1: _pepper(folder)}, database_url=server.url("keyfold_api", name)
    )
    if events == FEW or not kept.exists():  # the small one is made at once, and would else grow by what is measured
        kept.write_bytes(msgspec.json.encode(await _live_once(server, name, settings)))
    log = Log(settings, msgspec.json.decode(kept.read_bytes(), type=Life), events // LIFE)
    connection = await asyncpg.connect(server.url("postgres", name))
    try:
        await _fill(connection, log)
        opener = Opener(Sealing(settings.peppers, os.urandom))
        for projection in _PROJECTIONS if events > FEW else PROJECTIONS:
            cursor = "SELECT position FROM projections.cursors WHERE projection = $1"
            if await connection.fetchval(cursor, projection) < log.life.position + log.lives * LIFE:
                say = partial(_progress, f"{name}, projection {projection}")
                await rebuild(server.url("keyfold_worker", name), PROJECTIONS[projection], opener, say)
                for table in PROJECTIONS[projection].tables:
                    await connection.execute(f"ANALYZE projections.{table}")
        _say_sizes(name, await connection.fetch(_SIZES))
    finally:
        await connection.close()
    return log


def _pepper(folder: Path) -> Secret:
    kept = folder / "pepper"
    if not kept.exists():
        kept.write_bytes(hashlib.sha256(b"keyfold-scale").digest())
    return Secret(kept.read_bytes())


async def _live_once(server: Postgres, name: str, settings: Settings) -> Life:
    connection = await asyncpg.connect(server.url("postgres", "postgres"))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    await migrate(server.url("postgres", name), {})
    seeded = random.Random("keyfold-scale").randbytes
    async with running(settings, clock=lambda: _BORN, entropy=seeded) as system:
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
    rows = [*zip(range(1, LIFE + 1), life.streams, life.versions, life.records, strict=True)]
    await connection.copy_records_to_table("life", records=rows)
    await connection.execute("GRANT SELECT ON life TO PUBLIC")
    newest = "SELECT max(number) FROM keyfold.log WHERE workspace_id = $1"
    done = (await connection.fetchval(newest, life.workspace_id) - life.number) // LIFE
    if done >= log.lives:
        return
    while done < log.lives:
        last = min(done + _CHUNK, log.lives)
        values = {"position": life.position, "number": life.number, "workspace": life.workspace_id, "turn": _TURN}
        async with connection.transaction():
            await connection.execute(_FILL.format(**values, first=done + 1, last=last))
        done = last
        _progress("the log", done * LIFE, log.lives * LIFE)
    await connection.execute("VACUUM (ANALYZE) keyfold.log")
    await connection.execute("VACUUM (ANALYZE) keyfold.key_secrets")
    await connection.execute("CHECKPOINT")


def _say_sizes(name: str, tables: Iterable[asyncpg.Record]) -> None:
    for table in tables:
        rows, size, indexed = table["rows"], table["bytes"], table["indexed"]
        said = f"{rows:,} rows, each {size / rows:.0f} bytes and {indexed / rows:.0f} in indexes"
        print(f"{name}, {table['name']}: {said}", file=sys.stderr)


def _progress(what: str, done: int, of: int) -> None:
    end = "\n" if done == of else ""
    print(f"\r{what}: {done:,} of {of:,} events", end=end, file=sys.stderr, flush=True)
