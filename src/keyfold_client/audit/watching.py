"""Verifies a live log, from where it was left the last time: what was checked before isn't fetched again."""

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from .chains import NOT_SIGNED, Chain
from .checkpoints import Checkpoint
from .live import BeyondError, Server
from .memory import Memory
from .merkle import Frontier, Nodes, ProofError, leaf_hash
from .records import Line
from .tiles import WIDTH, Tile, TileNodes, hashes_of
from .trust import AlteredError, Asked, Progress, Verified, parsed_checkpoint

PATIENCE = 5.0
"""Seconds that a log gets to show again what was seen of it: a cache, or another process, may lag behind."""
_HASH = 32


def verify_live(
    server: Server,
    asked: Asked,
    remember: Callable[[str], Memory],
    *,
    again: bool = False,
    patience: float = PATIENCE,
    progress: Progress = lambda done, of: None,
) -> Verified:
    """That the log has only grown since it was last seen, and with a key, that the records which it gives are what was
    signed, and none is missing; `again`: also those that were looked at before. `AlteredError`, `LackingError`."""
    note, memory = _newest(server, remember, patience)
    trust = asked.trust(note, memory.vkeys, () if asked.vkeys or memory.vkeys else server.keys())
    signed = trust.open(note)
    checkpoint, since, vkeys = signed.checkpoint, memory.size, trust.signers(signed)
    memory.demand_growth(checkpoint)
    memory.keep(note, trust.kept(signed), _grown(server, checkpoint, memory, progress))
    if not server.has_key:
        said = "No record was looked at, only that the log has kept its hashes: give a key that has audit:read as well."
        return Verified(signed, vkeys, 0, None, trust.first_use, since, (said,))
    known = memory.workspace_of(server.reader or "")
    chain = _read(server, checkpoint, memory, None if again else known, progress)
    if again and known is not None:
        memory.demand_same(known, chain.entries)
    chain.demand_whole("whatever this key reads")
    before = 0 if again or known is None else len(memory.entries(known))
    memory.keep(note, trust.kept(signed), workspace=(chain.workspace_id, chain.entries, server.reader))
    fresh = len(chain.entries) - before
    last = chain.next - 1
    return Verified(signed, vkeys, fresh, chain.workspace_id, trust.first_use, since, known=before, last=last)


def _newest(server: Server, remember: Callable[[str], Memory], patience: float) -> tuple[bytes, Memory]:
    """The checkpoint. One that is smaller than what was seen may come from a cache, and is asked for again."""
    deadline = time.monotonic() + patience
    while True:
        note = server.checkpoint()
        checkpoint = parsed_checkpoint(note)
        memory = remember(checkpoint.origin)
        if checkpoint.size >= memory.size or time.monotonic() >= deadline:
            return note, memory
        time.sleep(0.5)


def _grown(server: Server, checkpoint: Checkpoint, memory: Memory, progress: Progress) -> Frontier:
    """The tree goes on from where it was kept, tile by tile, to the root that was signed; its hashes are written."""
    frontier, old = Frontier(memory.frontier.size, memory.frontier.nodes), memory.checkpoint
    same = old is None or old.size > frontier.size or frontier.root() == old.root
    with memory.keeping() as kept:
        for tile in _tiles(frontier.size, checkpoint.size):
            start = tile.index * WIDTH
            data = _hashes(server.tile(tile), tile)
            known = memory.hashes(start, start + tile.width)
            same = same and data[: len(known)] == known
            kept.write(data[len(known) :])
            fresh = hashes_of(data[len(known) :])
            if old is not None and frontier.size < old.size <= frontier.size + len(fresh):
                same = same and frontier.root_after(fresh[: old.size - frontier.size]) == old.root
            frontier.extend(fresh)
            progress(frontier.size, checkpoint.size)
    if not same or frontier.root() != checkpoint.root:
        raise _found(server, checkpoint, memory)
    return frontier


def _tiles(start: int, size: int) -> Iterator[Tile]:
    """Those at level 0 that hold leaves from `start` on."""
    for index in range(start // WIDTH, -(-size // WIDTH) if size > start else 0):
        yield Tile(0, index, min(WIDTH, size - index * WIDTH))


def _hashes(data: bytes, tile: Tile) -> bytes:
    if not tile.width * _HASH <= len(data) <= WIDTH * _HASH or len(data) % _HASH:
        raise AlteredError(f"{tile.path} has {len(data)} bytes.", tile.index * WIDTH + 1)
    return data[: tile.width * _HASH]


def _found(server: Server, checkpoint: Checkpoint, memory: Memory) -> AlteredError:
    """Where the tree isn't what it was: every tile that is looked at is checked against the new root."""
    signed = TileNodes(checkpoint.size, checkpoint.root, server.tile)
    try:
        position = first_difference(min(memory.hashed, checkpoint.size), memory.node, signed)
    except ProofError as error:
        return AlteredError(f"The tiles that the server gives aren't those of the tree that it signed: {error}.")
    if position is None and (memory.checkpoint is None or memory.checkpoint.size == memory.hashed):
        return AlteredError("The tiles that the server gives don't make the root that it signed.", memory.hashed + 1)
    return AlteredError(
        f"History was rewritten and signed again: the log isn't what was signed when it had {memory.size:,} records.",
        position,
    )


def first_difference(size: int, ours: Nodes, theirs: Nodes) -> int | None:
    """The first position of two trees' first `size` at which they have different leaves."""
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            index = start >> level
            if ours(level, index) != theirs(level, index):
                return _descend(level, index, ours, theirs)
            start += 1 << level
    return None


def _descend(level: int, index: int, ours: Nodes, theirs: Nodes) -> int:
    if level == 0:
        return index + 1
    left = index * 2
    same = ours(level - 1, left) == theirs(level - 1, left)
    return _descend(level - 1, left + same, ours, theirs)


def _read(server: Server, checkpoint: Checkpoint, memory: Memory, known: str | None, progress: Progress) -> Chain:
    """A workspace's records behind those that are known, each compared with its leaf, and their numbers."""
    chain = Chain(known, memory.entries(known) if known else None)
    try:
        _read_on(server, checkpoint, memory, chain, progress)
    except BeyondError:
        raise AlteredError("The log ends before this record, which was seen there.", chain.next - 1) from None
    return chain


def _read_on(server: Server, checkpoint: Checkpoint, memory: Memory, chain: Chain, progress: Progress) -> None:
    with (
        server.export(chain.next - 1, checkpoint.size) as (end, lines),
        memory.hashes_file.open("rb") as leaves,
    ):
        for text in lines:
            line = Line.parse(text)
            if line is None:
                chain.complain("What the server gives isn't of the form that records are exported in.", chain.next)
                break
            leaf = _leaf(leaves, line.position) if line.position <= checkpoint.size else b""
            chain.add(line, "" if leaf == leaf_hash(line.record) else NOT_SIGNED)
            progress(line.position, checkpoint.size)
        if end < checkpoint.size:
            chain.complain("The log ends before what was signed of it.", end + 1)


def _leaf(leaves: BinaryIO, position: int) -> bytes:
    leaves.seek((position - 1) * _HASH)
    return leaves.read(_HASH)
