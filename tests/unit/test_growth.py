"""Growing the tree: whatever the steps, the same tree, and nothing in it is hashed twice."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.audit.growth import Growth, grow
from keyfold_client.audit.merkle import EMPTY, ProofError
from keyfold_client.audit.tiles import Tile, tiles_for_size

from .merkle_reference import counted, mth

LEAVES = [sha256(number.to_bytes(4)).digest() for number in range(70_000)]


def in_steps(*steps: int) -> tuple[Growth, dict[Tile, bytes]]:
    """The tree after each of the steps' leaves, and of every tile that was ever made the widest."""
    growth, widest = Growth(0, EMPTY, {}, {}), dict[tuple[int, int], tuple[Tile, bytes]]()
    for step in steps:
        growth = grow(growth.size, growth.edge, LEAVES[growth.size : growth.size + step])
        widest |= {(tile.level, tile.index): (tile, data) for tile, data in growth.tiles.items()}
    return growth, dict(widest.values())


@given(st.lists(st.one_of(st.integers(0, 3), st.sampled_from([254, 255, 256, 257, 511, 600, 1500])), max_size=12))
@settings(max_examples=25, deadline=None)
def test_growth_in_steps_equals_growth_at_once(steps: list[int]) -> None:
    growth, tiles = in_steps(*steps)
    at_once = grow(0, {}, LEAVES[: sum(steps)])
    assert (growth.size, growth.root, growth.edge) == (at_once.size, at_once.root, at_once.edge)
    assert tiles == at_once.tiles
    assert sorted(tiles) == list(tiles_for_size(sum(steps)))


def test_growth_over_the_boundaries_of_levels() -> None:
    growth, tiles = in_steps(1, 254, 1, 1, 65_279, 1, 4_463)
    assert growth.size == 70_000
    assert (growth.root, tiles) == ((at_once := grow(0, {}, LEAVES)).root, at_once.tiles)
    assert growth.root == mth(LEAVES)


def test_growing_by_nothing_changes_nothing() -> None:
    assert grow(0, {}, []) == Growth(0, EMPTY, {}, {})
    growth = grow(0, {}, LEAVES[:300])
    assert grow(300, growth.edge, []) == growth._replace(tiles={})


def test_only_tiles_that_grew_are_given() -> None:
    growth, _ = in_steps(70_000)
    assert set(grow(70_000, growth.edge, LEAVES[:1]).tiles) == {Tile(0, 273, 113)}
    assert set(grow(70_000, growth.edge, LEAVES[:144]).tiles) == {Tile(0, 273), Tile(1, 1, 18)}


def test_nothing_that_is_in_a_full_tile_is_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    growth, _ = in_steps(65_536 + 300)
    calls = counted(monkeypatch)
    grow(growth.size, growth.edge, LEAVES[:1])
    # 45 hashes in the partial tile of level 0, one each in those of levels 1 and 2
    assert len(calls) <= 45 + 2
    calls.clear()
    grow(growth.size, growth.edge, LEAVES[:1_000])
    assert len(calls) <= 44 + 1_000 + 255 + 5


def test_a_batch_takes_about_one_hash_a_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    grow(0, {}, LEAVES)
    assert len(calls) == len(set(calls)) == 69_999


def test_an_edge_that_is_not_that_of_the_size_is_refused() -> None:
    edge = grow(0, {}, LEAVES[:300]).edge
    for damaged in ({}, {0: edge[0]}, {**edge, 0: edge[0][:-32]}, {**edge, 1: edge[1] + bytes(32)}, {**edge, 0: b"x"}):
        with pytest.raises(ProofError, match="tile/"):
            grow(300, damaged, LEAVES[:1])


def test_a_full_last_tile_may_stand_at_the_edge() -> None:
    first = grow(0, {}, LEAVES[:256])
    assert grow(256, {**first.edge, 0: b"".join(LEAVES[:256])}, LEAVES[256:300]) == grow(
        256, first.edge, LEAVES[256:300]
    )
