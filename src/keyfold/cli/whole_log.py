"""The bundle of the whole log, straight from the database: for the operator at the machine."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.tree import Leaf, TreeStore
from keyfold.worker.tree import disagreement
from keyfold_client.audit.exporting import demand_free, finish, unfinished
from keyfold_client.audit.manifests import CHECKPOINT, LEAVES, RECORDS, Manifest
from keyfold_client.audit.merkle import leaf_hash
from keyfold_client.audit.records import Line
from keyfold_client.audit.tiles import WIDTH, Tile, tiles_for_size
from keyfold_client.audit.trust import AlteredError, LackingError, Progress

BATCH = 5_000
"""Records that are read at once."""
_TILES = 200


async def export_whole(settings: Settings, out: Path, progress: Progress) -> Manifest:
    """Up to the newest checkpoint, under the worker's login. What breaks off leaves nothing.

    The leaf hashes are those that were signed, whatever the log says by now. `AlteredError` for a column that says
    something else than its record, which no bundle would show; `LackingError`.
    """
    demand_free(out)
    part = unfinished(out)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        async with _stored(settings) as store:
            return await _export(store, out, progress)
    finally:
        shutil.rmtree(part, ignore_errors=True)


async def demand_tail(settings: Settings, size: int) -> None:
    """That behind a checkpoint of this size the log still has what the tree was grown from since: what isn't signed yet
    is in no bundle. `AlteredError` names the first position at which it hasn't; `LackingError`."""
    async with _stored(settings) as store:
        grown, _ = await store.tree()
        if grown < size:
            raise AlteredError(f"{size:,} records were signed, and the tree has {grown:,}: it was cut back.", grown + 1)
        position = size
        async for hashes in _leaf_hashes(store, grown, size // WIDTH):
            first = position - position % WIDTH  # before the leaf that these hashes begin with
            rows = {row.position: row for row in await store.leaves(position + 1, first + len(hashes) // 32 - position)}
            for at in range(position + 1, first + len(hashes) // 32 + 1):
                _demand_leaf(rows.get(at), at, hashes[(at - first - 1) * 32 : (at - first) * 32])
            position = first + len(hashes) // 32


def _demand_leaf(row: Leaf | None, position: int, leaf: bytes) -> None:
    if row is None:
        raise AlteredError("The record is missing in the database: it is in the tree, and not signed yet.", position)
    if wrong := disagreement(row, row.record.encode()):
        raise AlteredError(f"In the database {wrong}.", position)
    if leaf_hash(row.record.encode()) != leaf:
        raise AlteredError("The record isn't the one that is in the tree, where it isn't signed yet.", position)


@asynccontextmanager
async def _stored(settings: Settings) -> AsyncIterator[TreeStore]:
    postgres = Postgres(settings.database_url, name="keyfold audit")
    await postgres.open()
    try:
        yield TreeStore(postgres)
    except Unavailable as error:
        raise LackingError(str(error)) from error
    finally:
        await postgres.close()


async def _export(store: TreeStore, out: Path, progress: Progress) -> Manifest:
    part, signed = unfinished(out), await store.shown()
    if signed is None:
        raise LackingError("The log hasn't been signed yet. Does a worker run, and has it KEYFOLD_LOG_KEYS?")
    note = signed.cosigned_note.encode()
    (part / CHECKPOINT).write_bytes(note)
    with (part / LEAVES).open("wb") as file:
        async for data in _leaf_hashes(store, signed.size):
            file.write(data)
    count = 0
    with (part / RECORDS).open("wb") as file:
        async for lines in _lines(store, signed.size):
            file.writelines(lines)
            count += len(lines)
            progress(count, signed.size)
    return finish(out, note, await store.keys(), None, count, (CHECKPOINT, RECORDS, LEAVES))


async def _leaf_hashes(store: TreeStore, size: int, first: int = 0) -> AsyncIterator[bytes]:
    """Those of the tiles from number `first` on, many at a time."""
    wanted = [tile for tile in tiles_for_size(size) if tile.level == 0 and tile.index >= first]
    for at in range(0, len(wanted), _TILES):
        these: list[Tile] = wanted[at : at + _TILES]
        found = await store.tiles(these)
        yield b"".join(found.get(tile, b"").ljust(tile.width * 32, b"\0") for tile in these)


async def _lines(store: TreeStore, size: int) -> AsyncIterator[list[bytes]]:
    """Whatever is there, as it is: what is missing or was changed is for whoever verifies to see."""
    after = 0
    while rows := await store.leaves(after + 1, BATCH):
        lines = []
        for row in rows:
            if row.position > size:
                break
            text = row.record.encode()
            if wrong := disagreement(row, text):
                raise AlteredError(f"In the database {wrong}.", row.position)
            lines.append(bytes(Line(row.position, text)))
        if lines:
            yield lines
        after = rows[-1].position
        if after >= size:
            return


def said(error: AlteredError | LackingError) -> click.ClickException:
    """As a command says it, with the position."""
    where = f"Position {error.position}: " if isinstance(error, AlteredError) and error.position else ""
    return click.ClickException(f"{where}{error}")
