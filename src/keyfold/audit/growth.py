"""How the log's tree grows: from its size and partial tiles alone, whatever is in it already."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keyfold_client.audit.merkle import ProofError
from keyfold_client.audit.tiles import WIDTH, Tile, edge_root, hashes_of, partial_tiles, tile_root


class Growth(NamedTuple):
    """A step: the tree's new size and root, and every tile that is new or grew, whole, as it is at that size.

    `edge` holds the partial tiles by level, to go on from.
    """

    size: int
    root: bytes
    tiles: Mapping[Tile, bytes]
    edge: Mapping[int, bytes]


def grow(size: int, edge: Mapping[int, bytes], leaf_hashes: Sequence[bytes]) -> Growth:
    """Append `leaf_hashes` to the tree of `size` leaves whose partial tiles, by level, are `edge`.

    Full tiles are neither read nor hashed again: a step takes about a hash a leaf, and up to 255 a level for the root.
    `ProofError` where `edge` can't be that of such a tree; a level's last tile may be there when it is full.
    """
    partial = _partial(size, edge)
    tiles = dict[Tile, bytes]()
    new, level = list(leaf_hashes), 0
    while new:
        first = (size >> 8 * level) // WIDTH
        hashes = partial.get(level, []) + new
        groups = [hashes[at : at + WIDTH] for at in range(0, len(hashes), WIDTH)]
        tiles |= {Tile(level, first + at, len(group)): b"".join(group) for at, group in enumerate(groups)}
        partial[level] = groups.pop() if len(groups[-1]) < WIDTH else []
        new = [tile_root(group) for group in groups]
        level += 1
    grown = size + len(leaf_hashes)
    rest = {level: hashes for level, hashes in partial.items() if hashes}
    return Growth(grown, edge_root(grown, rest), tiles, {level: b"".join(hashes) for level, hashes in rest.items()})


def _partial(size: int, edge: Mapping[int, bytes]) -> dict[int, list[bytes]]:
    found = dict[int, list[bytes]]()
    for tile in partial_tiles(size):
        data = edge.get(tile.level, b"")
        if len(data) != tile.width * 32:
            raise ProofError(f"{tile.path} has {len(data)} bytes")
        found[tile.level] = hashes_of(data)
    return found
