"""The tree as a stranger computes it, for comparing with what is stored."""

from collections.abc import Sequence

from keyfold.audit.signing import Signer
from keyfold.store.tree import TreeStore
from keyfold_client.audit.checkpoints import open_checkpoint
from keyfold_client.audit.merkle import Frontier, consistency_proof, leaf_hash, verify_consistency
from keyfold_client.audit.tiles import TileNodes, tiles_for_size

from .support import rows, value


async def assert_right(store: TreeStore, url: str, *keys: Signer) -> int:
    """Every tile and every checkpoint against a tree that is computed anew from the log. Gives its size."""
    size, root = await store.tree()
    records = [record.encode() for (record,) in await rows(url, "SELECT record FROM keyfold.log ORDER BY position")]
    roots, frontier = {0: Frontier().root()}, Frontier()
    for record in records[:size]:
        frontier.append(leaf_hash(record))
        roots[frontier.size] = frontier.root()
    assert root == roots[size]
    tiles = await store.tiles([*tiles_for_size(size)])
    assert {*tiles} == {*tiles_for_size(size)}
    assert await value(url, "SELECT count(*) FROM keyfold.tiles") == len(tiles)
    assert await value(url, "SELECT sum(octet_length(hashes)) / 32 FROM keyfold.tiles") == sum(t.width for t in tiles)
    nodes = TileNodes(size, root, tiles.__getitem__)
    assert all(nodes.hashes(tile) for tile in tiles)
    await assert_signed(url, keys, size, roots, nodes)
    return size


async def assert_signed(url: str, keys: Sequence[Signer], size: int, roots: dict[int, bytes], nodes: TileNodes) -> None:
    """Every checkpoint is of the log, and the tree goes on from it."""
    for at, root, note in await rows(url, "SELECT size, root, note FROM keyfold.checkpoints"):
        opened = open_checkpoint(note.encode(), [key.verifier for key in keys])
        assert (opened.checkpoint.size, opened.checkpoint.root) == (at, root) == (at, roots[at])
        verify_consistency(at, root, size, roots[size], consistency_proof(at, size, nodes))
