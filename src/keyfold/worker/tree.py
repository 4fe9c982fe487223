"""The tree: grows with the log, a step a transaction, and signs what it has become."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold.bus.lifecycle import LifecycleStream
from keyfold.metrics import CHECKPOINT_SIZE, TREE_SIZE
from keyfold.store.tree import Leaf, Signed, TreeStore
from keyfold.worker.loop import Degraded, Halt
from keyfold.worker.publishing import Publishing
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.merkle import leaf_hash
from keyfold_client.audit.notes import Verifier
from keyfold_client.audit.tiles import Tile, edge_root, hashes_of, partial_tiles

BATCH = 1_000
"""Records that a step hashes at the most."""


class State(NamedTuple):
    """Where the tree is: its size, its partial tiles by level, its last leaf's hash, and how far it is signed."""

    size: int
    edge: Mapping[int, bytes]
    last: bytes
    signed: int


class _Data(msgspec.Struct, rename="camel"):
    workspace_id: str


class _Record(msgspec.Struct):
    """What a record says that columns say too."""

    number: int
    stream: str
    version: int
    data: _Data


class TreeGrower:
    """Its state is in Postgres, where it is compared and set: of two that grow it at once, one does nothing.

    Nothing is hashed twice, and nothing is signed before it is certain that the log still says what was hashed last.
    """

    def __init__(
        self, store: TreeStore, stream: LifecycleStream, signers: Sequence[Signer], publishing: Publishing, every: float
    ) -> None:
        self._store = store
        self._stream = stream
        self._signers = signers
        self._publishing = publishing
        self._every = every
        self._state: State | None = None
        self._due = 0.0

    async def step(self) -> bool:
        """Hashes what has come, and signs when it is time; whether there may be more. Raises `Halt` for a log or a tree
        that was changed, `Degraded` where it can't sign or show."""
        state, self._state = self._state, None  # whatever fails below, the next step looks again
        if state is None and (state := await self._load()) is None:
            return True
        rows = await self._store.leaves(max(state.size, 1), BATCH + 1)
        leaves, wrong = _checked(state, rows)
        signs = self._signs(state.size + len(leaves), state)
        if leaves or signs:
            self._state = await self._advance(state, leaves, signs=signs)
        elif wrong:
            raise Halt(wrong)
        else:
            self._state = state
        more = len(rows) > BATCH or bool(wrong)
        if not more:
            self._complain()
        return more

    def _signs(self, size: int, state: State) -> bool:
        return bool(self._signers) and size > state.signed and asyncio.get_running_loop().time() >= self._due

    async def _advance(self, state: State, leaves: list[bytes], *, signs: bool) -> State | None:
        growth = grow(state.size, state.edge, leaves)
        note = None
        if signs:
            checkpoint = Checkpoint(self._signers[0].name, growth.size, growth.root)
            note = signed_note(checkpoint.text, self._signers)
        try:
            if not await self._store.grow(state.size, growth.size, growth.root, growth.tiles, note):
                return None
        except asyncpg.RaiseError as error:
            raise Halt(f"The tree was changed: {error}") from error
        TREE_SIZE.set(growth.size)
        if note is not None:
            self._due = asyncio.get_running_loop().time() + self._every
            await self._publishing.publish(growth.size, note)
            CHECKPOINT_SIZE.set(growth.size)
        last = leaves[-1] if leaves else state.last
        return State(growth.size, growth.edge, last, growth.size if signs else state.signed)

    def _complain(self) -> None:
        if not self._signers:
            raise Degraded("KEYFOLD_LOG_KEYS is not set: the tree grows, and nothing is signed")
        if self._publishing.trouble:
            raise Degraded(self._publishing.trouble)

    async def _load(self) -> State | None:
        published = await self._stream.last()
        tree = await self._store.tree()
        try:
            return await self._loaded(published, *tree)
        except Halt:
            if await self._store.tree() == tree:
                raise
            return None  # somebody else has grown it meanwhile: what was read isn't of one moment

    async def _loaded(self, published: int, size: int, root: bytes) -> State:
        rows = await self._store.leaves(max(published, size), 1)
        if max(published, size) and not rows:
            what = "The stream" if published > size else "The tree"
            raise Halt(f"{what} is ahead of the log: it is at {max(published, size)}. Was an older backup restored?")
        last = Tile(0, (size - 1) // 256, (size - 1) % 256 + 1)
        tiles = [*partial_tiles(size), *([last] if size else [])]
        found = await self._store.tiles({*tiles})
        edge = {tile.level: found.get(tile, b"") for tile in partial_tiles(size)}
        if not _is_root(size, edge, root) or (size and len(found.get(last, b"")) != last.width * 32):
            raise Halt(f"The tree was changed: the tiles of {size} leaves don't make its root.")
        newest = await self._store.newest()
        await self._agree(size, root, newest)
        if newest is not None:
            self._due = asyncio.get_running_loop().time() + self._every - newest.age
            await self._publishing.publish(newest.size, newest.note)  # who signed it may not have come to that
        return State(size, edge, found.get(last, b"")[-32:], newest.size if newest else 0)

    async def _agree(self, size: int, root: bytes, newest: Signed | None) -> None:
        """That the tree is what was signed and shown, by keys of the same name."""
        if newest is not None and (newest.size > size or (newest.size == size and newest.root != root)):
            raise Halt(f"The tree was changed: a checkpoint of {newest.size} leaves says something else than it.")
        await self._publishing.demand_known(newest)
        known = await self._store.keys()
        for name in {Verifier.parse(vkey).name for vkey in known} - {self._signers[0].name if self._signers else ""}:
            if self._signers:
                raise Halt(f"The log is called {name}, and KEYFOLD_LOG_KEYS would call it {self._signers[0].name}.")
        for signer in reversed(self._signers):
            if signer.verifier_key not in known:
                await self._store.add_key(signer.verifier_key)


def _is_root(size: int, edge: Mapping[int, bytes], root: bytes) -> bool:
    whole = all(len(edge[tile.level]) == tile.width * 32 for tile in partial_tiles(size))
    return whole and edge_root(size, {level: hashes_of(data) for level, data in edge.items()}) == root


def _checked(state: State, rows: list[Leaf]) -> tuple[list[bytes], str]:
    """The hashes of what follows, as far as there is nothing wrong, and what is wrong behind. Raises `Halt`."""
    if state.size:
        if not rows or rows[0].position != state.size:
            what = "is missing in" if rows else "is beyond the end of"
            raise Halt(f"Position {state.size} was hashed and {what} the log. Was an older backup restored?")
        if leaf_hash(rows[0].record.encode()) != state.last:
            raise Halt(f"Position {state.size} was changed in the log after it was hashed.")
        rows = rows[1:]
    hashes: list[bytes] = []
    for position, row in enumerate(rows, state.size + 1):
        if row.position != position:
            return hashes, f"Position {position} is missing in the log."
        record = row.record.encode()
        if wrong := disagreement(row, record):
            return hashes, f"Position {position} of the log can't be right: {wrong}."
        hashes.append(leaf_hash(record))
    return hashes, ""


_decoder = msgspec.json.Decoder(_Record)


def disagreement(row: Leaf, text: bytes) -> str:
    """What a column says otherwise than the record, whose text this is; or nothing."""
    try:
        record = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "it is no record"
    said = (record.stream, record.version, record.data.workspace_id, record.number)
    columns = (row.stream, row.version, row.workspace_id, row.number)
    names = ("stream", "version", "workspace_id", "number")
    return next(
        (f"its column {name} isn't what it says" for name, a, b in zip(names, said, columns, strict=True) if a != b), ""
    )
