"""Tiles (c2sp.org/tlog-tiles): which there are, what they hold, and that none is believed but what fits the root."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.audit.growth import grow
from keyfold_client.audit import merkle
from keyfold_client.audit.merkle import ProofError, consistency_proof, inclusion_proof, root
from keyfold_client.audit.tiles import (
    Tile,
    TileError,
    TileNodes,
    Wanted,
    parse_path,
    partial_tiles,
    tile_of,
    tiles_for_size,
)

from .merkle_reference import mth

SIZES = (1, 255, 256, 257, 65_536, 65_537, 70_000)
LEAVES = [sha256(number.to_bytes(4)).digest() for number in range(70_000)]
ABOVE = [mth(LEAVES[at : at + 256]) for at in range(0, len(LEAVES) - 255, 256)]
TOP = [mth(ABOVE[at : at + 256]) for at in range(0, len(ABOVE) - 255, 256)]


def from_leaves(size: int) -> dict[str, bytes]:
    """Every tile of the tree of `size` leaves, as the specification defines them."""
    found = dict[str, bytes]()
    for level, hashes in enumerate((LEAVES[:size], ABOVE[: size // 256], TOP[: size // 65_536])):
        for index in range(-(-len(hashes) // 256)):
            part = hashes[index * 256 :][:256]
            path = f"tile/{level}/{f'x{index // 1000:03}/' if index > 999 else ''}{index % 1000:03}"
            found[path if len(part) == 256 else f"{path}.p/{len(part)}"] = b"".join(part)
    return found


@cache
def grown(size: int) -> tuple[Mapping[Tile, bytes], bytes]:
    growth = grow(0, {}, LEAVES[:size])
    return growth.tiles, growth.root


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_has_the_tiles_that_its_leaves_make(size: int) -> None:
    tiles, whole = grown(size)
    assert {tile.path: data for tile, data in tiles.items()} == from_leaves(size)
    assert list(tiles_for_size(size)) == sorted(tiles)
    assert list(partial_tiles(size)) == sorted(tile for tile in tiles if not tile.full)
    assert whole == mth(LEAVES[:size])


def test_the_examples_of_the_specification() -> None:
    def counted(size: int) -> list[tuple[int, int]]:
        return sorted((tile.level, tile.width) for tile in tiles_for_size(size))

    assert counted(70_000) == [(0, 112), *[(0, 256)] * 273, (1, 17), (1, 256), (2, 1)]
    assert counted(256) == [(0, 256), (1, 1)]
    assert counted(0) == []
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"
    assert Tile(0, 1_067, 5).path == "tile/0/x001/067.p/5"


@given(st.integers(0, 63), st.integers(0, 2**55), st.integers(1, 256))
def test_a_path_is_read_as_it_is_written(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/entries/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/X001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/05",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000.p/5\n",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/\u0663/000",
        "tile/0/000.p/\u0665",
        "tile/0/" + "x999/" * 7 + "000",
        "tile/0/" + "x999/" * 100_000 + "000",
        "../tile/0/000",
    ],
)
def test_a_path_has_one_spelling(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a tile"):
        parse_path(path)


@given(st.text(st.sampled_from("tile/x0159.p-+ "), max_size=24).map("tile/".__add__) | st.text(max_size=24))
@settings(max_examples=200, deadline=None)
def test_whatever_is_read_as_a_path_is_the_path_of_what_was_read(path: str) -> None:
    try:
        tile = parse_path(path)
    except ValueError:
        return
    assert tile.path == path


@given(st.integers(1, 2**40), st.data())
def test_every_subtree_is_in_a_tile_that_the_tree_has(size: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    tile = tile_of(level, index, size)
    assert 1 <= tile.width <= 256
    first, last = (index << level) >> 8 * tile.level, ((index + 1) << level) - 1 >> 8 * tile.level
    assert tile.index * 256 <= first <= last < tile.index * 256 + tile.width
    assert (tile.index * 256 + tile.width) << 8 * tile.level <= size
    assert tile.full or tile in partial_tiles(size)


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_proofs_come_out_of_tiles(size: int) -> None:
    tiles, whole = grown(size)
    nodes = TileNodes(size, whole, tiles.__getitem__)
    for old in {1, 2, size // 2, size - 1, size, 256, 65_536}.intersection(range(1, size + 1)):
        before = mth(LEAVES[:old])
        assert root(old, nodes) == before
        merkle.verify_consistency(old, before, size, whole, consistency_proof(old, size, nodes))
    for index in {0, size // 2, size - 1, 255, 256, 65_536}.intersection(range(size)):
        merkle.verify_inclusion(index, size, LEAVES[index], inclusion_proof(index, size, nodes), whole)


def test_one_flipped_bit_in_any_tile_is_caught_and_the_tile_named() -> None:
    tiles, whole = grown(70_000)
    for tile in (Tile(0, 0), Tile(0, 255), Tile(0, 272), Tile(1, 0)):
        data = tiles[tile]
        for at in (0, 4_000, len(data) - 1):
            flipped = {**tiles, tile: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]}
            with pytest.raises(TileError) as caught:
                inclusion_proof(
                    tile.index * 256 ** (tile.level + 1), 70_000, TileNodes(70_000, whole, flipped.__getitem__)
                )
            assert caught.value.tile == tile
            assert tile.path in str(caught.value)
    for tile in (Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)):
        flipped = {**tiles, tile: tiles[tile][:-1] + bytes([tiles[tile][-1] ^ 1])}
        with pytest.raises(TileError, match="root of 70000"):
            TileNodes(70_000, whole, flipped.__getitem__)(0, 0)


def test_no_tile_is_believed_whose_root_is_another() -> None:
    tiles, whole = grown(70_000)
    with pytest.raises(TileError):
        TileNodes(70_000, mth(LEAVES[:69_999]), tiles.__getitem__)(0, 69_999)
    with pytest.raises(KeyError):
        TileNodes(69_999, whole, tiles.__getitem__)(0, 69_998)


def test_a_tile_has_whole_hashes_as_many_as_were_asked_for_and_may_have_more() -> None:
    tiles, whole = grown(300)
    partial = tiles[Tile(0, 1, 44)]
    for data in (b"", partial[:-32], partial[:-1], partial + b"\0", partial + bytes(32 * 213)):
        with pytest.raises(TileError, match="bytes"):
            TileNodes(300, whole, {**tiles, Tile(0, 1, 44): data}.__getitem__)(0, 299)
    full = b"".join(LEAVES[256:512])
    assert TileNodes(300, whole, {**tiles, Tile(0, 1, 44): full}.__getitem__)(0, 299) == LEAVES[299]


def test_the_hashes_of_a_tile_are_those_of_its_leaves() -> None:
    tiles, whole = grown(70_000)
    nodes = TileNodes(70_000, whole, tiles.__getitem__)
    assert nodes.hashes(Tile(0, 3)) == LEAVES[768:1024]
    assert nodes.hashes(Tile(0, 273, 112)) == LEAVES[273 * 256 :]
    for none in (Tile(0, 273), Tile(0, 273, 111), Tile(0, 3, 9), Tile(0, 274), Tile(3, 0)):
        with pytest.raises(ProofError):
            nodes.hashes(none)


def test_nothing_outside_of_the_tree_is_asked_for() -> None:
    tiles, whole = grown(300)
    nodes = TileNodes(300, whole, tiles.__getitem__)
    for level, index in ((0, 300), (8, 1), (9, 0), (0, -1), (-1, 0)):
        with pytest.raises(ProofError):
            nodes(level, index)


@pytest.mark.parametrize("size", SIZES)
def test_the_tiles_that_a_proof_wants_are_enough_and_each_is_used(size: int) -> None:
    tiles, whole = grown(size)
    for index in {0, size // 3, size - 1}:
        wanted, used = Wanted(size), set[Tile]()
        inclusion_proof(index, size, wanted)

        def fetch(tile: Tile, used: set[Tile] = used) -> bytes:
            used.add(tile)
            return tiles[tile]

        inclusion_proof(index, size, TileNodes(size, whole, fetch))
        assert used | set(partial_tiles(size)) == wanted.tiles
        assert len(wanted.tiles) <= 6
