"""Tiles: the tree in pieces of 256 hashes, c2sp.org/tlog-tiles.

Tile `index` of `level` holds the hashes of perfect subtrees of 256**level leaves each, 256 of them, or fewer where the
tree ends in it. A full tile's own hash stands in a tile one level up; a partial tile's doesn't, and the partial tiles
of a size together are exactly what its root is made of. So everything can be checked downwards from the root.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .merkle import ProofError, pair_up, root

WIDTH = 256
_PATH = re.compile(r"tile/(0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_LEVELS = 8
_KEPT = 512


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile. `width` counts its hashes: 256, or 1 to 255 in a partial one."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served, as `tile/0/x001/x234/067.p/5`."""
        return f"tile/{self.level}/{_index_path(self.index)}{'' if self.full else f'.p/{self.width}'}"

    @property
    def full(self) -> bool:
        return self.width == WIDTH


class TileError(ProofError):
    """A tile isn't what the root says."""

    def __init__(self, tile: Tile, why: str) -> None:
        super().__init__(f"{tile.path}: {why}")
        self.tile = tile


def _index_path(index: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])


def parse_path(path: str) -> Tile:
    """The tile at `path`, which must be its one spelling; `ValueError` otherwise."""
    if found := _PATH.fullmatch(path):
        level, index, width = found.groups()
        tile = Tile(int(level), int(index.replace("x", "").replace("/", "")), int(width or WIDTH))
        if tile.path == path and tile.level < 64 and tile.width <= WIDTH:
            return tile
    raise ValueError(f"not the path of a tile: {path[:60]!r}")


def partial_tiles(size: int) -> Iterator[Tile]:
    """The partial tiles of a tree of `size` leaves, one a level at most, lowest first."""
    level = 0
    while hashes := size >> _LEVELS * level:
        if width := hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, width)
        level += 1


def tiles_for_size(size: int) -> Iterator[Tile]:
    """Every tile of a tree of `size` leaves, lowest level first, from left to right."""
    level = 0
    while hashes := size >> _LEVELS * level:
        yield from (Tile(level, index) for index in range(hashes // WIDTH))
        if width := hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, width)
        level += 1


def tile_of(level: int, index: int, size: int) -> Tile:
    """The tile that holds, or makes up, subtree `index` of `level` (0: leaves), as wide as it is at `size` leaves."""
    if level < 0 or index < 0 or (index + 1) << level > size:
        raise ProofError(f"a tree of {size} leaves has no full subtree {index} at level {level}")
    tile_level, height = divmod(level, _LEVELS)
    tile_index = index >> (_LEVELS - height)
    return Tile(tile_level, tile_index, min(WIDTH, (size >> _LEVELS * tile_level) - tile_index * WIDTH))


def hashes_of(data: bytes) -> list[bytes]:
    """The hashes in a tile's bytes."""
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def tile_root(hashes: list[bytes]) -> bytes:
    """The hash of a full tile, as it stands one level up."""
    return _pyramid(hashes)[_LEVELS][0]


def _pyramid(hashes: list[bytes]) -> list[list[bytes]]:
    """Every level inside of a tile, from its hashes up to, in a full one, its root."""
    levels = [hashes]
    for _ in range(_LEVELS):
        levels.append(pair_up(levels[-1]))
    return levels


def edge_root(size: int, edge: Mapping[int, list[bytes]]) -> bytes:
    """The root of a tree of `size` leaves, of which its partial tiles' hashes, by level, are enough."""
    pyramids = {level: _pyramid(hashes) for level, hashes in edge.items()}

    def node(level: int, index: int) -> bytes:
        tile = tile_of(level, index, size)
        return _within(pyramids[tile.level], tile, level, index)

    return root(size, node)


def _within(pyramid: list[list[bytes]], tile: Tile, level: int, index: int) -> bytes:
    height = level % _LEVELS
    return pyramid[height][index - (tile.index << (_LEVELS - height))]


class TileNodes:
    """The subtrees of the tree of `size` leaves and that `root`, as `merkle.Nodes`, from tiles that `fetch` brings.

    No tile is believed before it fits the root: `TileError` names the one that doesn't. `fetch` may bring a wider tile
    than was asked for (tlog-tiles: the full one, where the partial one is gone). Keeps some hundred tiles.
    """

    def __init__(self, size: int, root: bytes, fetch: Callable[[Tile], bytes]) -> None:
        self.size = size
        self.root = root
        self._fetch = fetch
        self._edge: dict[int, list[list[bytes]]] | None = None
        self._full = lru_cache(_KEPT)(self._read_full)

    def __call__(self, level: int, index: int) -> bytes:
        tile = tile_of(level, index, self.size)
        return _within(self._full(tile) if tile.full else self._partial(tile), tile, level, index)

    def hashes(self, tile: Tile) -> list[bytes]:
        """The hashes in one tile of this tree, checked; those of a tile at level 0 are leaf hashes."""
        if tile != tile_of(tile.level * _LEVELS, tile.index * WIDTH, self.size):
            raise TileError(tile, f"a tree of {self.size} leaves has no such tile")
        return (self._full(tile) if tile.full else self._partial(tile))[0]

    def _read(self, tile: Tile) -> list[bytes]:
        data = self._fetch(tile)
        if not tile.width * 32 <= len(data) <= WIDTH * 32 or len(data) % 32:
            raise TileError(tile, f"it has {len(data)} bytes")
        return hashes_of(data[: tile.width * 32])

    def _partial(self, tile: Tile) -> list[list[bytes]]:
        if self._edge is None:
            tiles = list(partial_tiles(self.size))
            edge = {each.level: self._read(each) for each in tiles}
            if edge_root(self.size, edge) != self.root:
                raise TileError(tiles[0], f"the partial tiles don't make the root of {self.size} leaves")
            self._edge = {level: _pyramid(hashes) for level, hashes in edge.items()}
        return self._edge[tile.level]

    def _read_full(self, tile: Tile) -> list[list[bytes]]:
        expected = self((tile.level + 1) * _LEVELS, tile.index)
        pyramid = _pyramid(self._read(tile))
        if pyramid[_LEVELS][0] != expected:
            raise TileError(tile, "its hash isn't the one in the tile above")
        return pyramid


class Wanted:
    """Stands in for `TileNodes` to learn which tiles a proof takes, so that all of them can be fetched at once.

    wanted = Wanted(size)
    inclusion_proof(index, size, wanted)
    tiles = {tile: fetched(tile) for tile in wanted.tiles}
    proof = inclusion_proof(index, size, TileNodes(size, root, tiles.__getitem__))
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.tiles = set(partial_tiles(size))

    def __call__(self, level: int, index: int) -> bytes:
        tile = tile_of(level, index, self.size)
        while tile.full and tile not in self.tiles:
            self.tiles.add(tile)
            tile = tile_of((tile.level + 1) * _LEVELS, tile.index, self.size)
        return bytes(32)
