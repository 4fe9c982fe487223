"""The Merkle tree against RFC 6962: published answers, its own words, and many a way to get a proof wrong."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold_client.audit import merkle
from keyfold_client.audit.merkle import (
    EMPTY,
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    root,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)

from .merkle_reference import CONSISTENCY, INCLUSION, LEAVES, ROOTS, Subtrees, counted, hashes, mth

MANY = [leaf_hash(number.to_bytes(4)) for number in range(130)]
GARBAGE = bytes(range(32))


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_the_first_trees_are_the_published_ones(size: int) -> None:
    frontier = Frontier()
    frontier.extend(map(leaf_hash, LEAVES[:size]))
    assert frontier.root() == ROOTS[size]
    assert root(size, Subtrees(leaf_hashes(LEAVES[:size]))) == ROOTS[size]


def test_the_published_inclusion_proofs_are_made_and_verified() -> None:
    for (index, size), proof in INCLUSION.items():
        assert inclusion_proof(index, size, Subtrees(leaf_hashes(LEAVES))) == hashes(proof)
        verify_inclusion(index, size, leaf_hash(LEAVES[index]), hashes(proof), ROOTS[size])


def test_the_published_consistency_proofs_are_made_and_verified() -> None:
    for (old, new), proof in CONSISTENCY.items():
        assert consistency_proof(old, new, Subtrees(leaf_hashes(LEAVES))) == hashes(proof)
        verify_consistency(old, ROOTS[old], new, ROOTS[new], hashes(proof))


def test_a_leaf_and_a_node_of_the_same_bytes_have_different_hashes() -> None:
    assert leaf_hash(MANY[0] + MANY[1]) != node_hash(MANY[0], MANY[1])
    assert leaf_hash(b"") != EMPTY


def test_every_leaf_of_every_small_tree_is_proved_and_nothing_else_is() -> None:
    for size in range(1, 21):
        whole = mth(MANY[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, Subtrees(MANY[:size]))
            assert root_from_inclusion(index, size, MANY[index], proof) == whole
            for other in range(size + 2):
                if other != index:
                    with pytest.raises(ProofError):
                        verify_inclusion(other, size, MANY[index], proof, whole)


def test_every_small_tree_is_proved_to_begin_with_every_smaller_one() -> None:
    for new in range(21):
        for old in range(new + 1):
            proof = consistency_proof(old, new, Subtrees(MANY[:new]))
            verify_consistency(old, mth(MANY[:old]), new, mth(MANY[:new]), proof)
            if 0 < old < new:
                for other in (old - 1, old + 1):
                    with pytest.raises(ProofError):
                        verify_consistency(other, mth(MANY[:old]), new, mth(MANY[:new]), proof)


def wrong(proof: list[bytes]) -> Iterator[list[bytes]]:
    """Every proof that is nearly `proof`."""
    yield from ([*proof, extra] for extra in (b"", GARBAGE, ROOTS[8], ROOTS[5]))
    yield from ([extra, *proof] for extra in (b"", GARBAGE, ROOTS[8], ROOTS[5], *proof[:1]))
    for at in range(len(proof)):
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], bytes([proof[at][0] ^ 8]) + proof[at][1:], *proof[at + 1 :]]
        yield [*proof[:at], proof[at] + b"\0", *proof[at + 1 :]]
        yield [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
        yield [*proof[:at], proof[at], *proof[at:]]
    if len(proof) > 1:
        yield proof[::-1]
        yield []


def test_no_corrupted_inclusion_proof_passes() -> None:
    for (index, size), published in INCLUSION.items():
        proof, leaf = hashes(published), leaf_hash(LEAVES[index])
        for corrupted in wrong(proof):
            with pytest.raises(ProofError):
                verify_inclusion(index, size, leaf, corrupted, ROOTS[size])
        for at, of, what, whole in (
            (index - 1, size, leaf, ROOTS[size]),
            (index + 1, size, leaf, ROOTS[size]),
            (index ^ 2, size, leaf, ROOTS[size]),
            (index, size * 2, leaf, ROOTS[size]),
            (index, size // 2, leaf, ROOTS[size]),
            (index, size, b"WrongLeaf", ROOTS[size]),
            (index, size, GARBAGE, ROOTS[size]),
            (index, size, leaf, EMPTY),
            (index, size, leaf, GARBAGE),
            (index, size, leaf, b""),
        ):
            with pytest.raises(ProofError):
                verify_inclusion(at, of, what, proof, whole)


def test_no_corrupted_consistency_proof_passes() -> None:
    for (old, new), published in CONSISTENCY.items():
        proof = hashes(published)
        for corrupted in wrong(proof):
            with pytest.raises(ProofError):
                verify_consistency(old, ROOTS[old], new, ROOTS[new], corrupted)
        for before, old_root, after, new_root in (
            (old - 1, ROOTS[old], new, ROOTS[new]),
            (old + 1, ROOTS[old], new, ROOTS[new]),
            (old ^ 2, ROOTS[old], new, ROOTS[new]),
            (old, ROOTS[old], new * 2, ROOTS[new]),
            (old, ROOTS[old], new // 2, ROOTS[new]),
            (old, b"WrongRoot", new, ROOTS[new]),
            (old, ROOTS[old], new, b"WrongRoot"),
            (old, GARBAGE, new, ROOTS[new]),
            (old, ROOTS[old], new, GARBAGE),
        ):
            with pytest.raises(ProofError):
                verify_consistency(before, old_root, after, new_root, proof)


def test_trees_of_one_size_and_two_roots_are_a_fork() -> None:
    with pytest.raises(ProofError, match="forked"):
        verify_consistency(5, ROOTS[5], 5, GARBAGE, [])


def test_history_that_was_rewritten_behind_the_old_root_is_noticed() -> None:
    rewritten = [*MANY[:2], GARBAGE, *MANY[3:9]]
    with pytest.raises(ProofError, match="history was changed"):
        verify_consistency(5, mth(MANY[:5]), 9, mth(rewritten), consistency_proof(5, 9, Subtrees(rewritten)))


def test_from_nothing_and_to_the_same_size_there_is_nothing_to_prove() -> None:
    verify_consistency(0, EMPTY, 5, ROOTS[5], [])
    verify_consistency(0, EMPTY, 0, EMPTY, [])
    for old, old_root, new, new_root, proof in (
        (0, GARBAGE, 5, ROOTS[5], []),
        (0, EMPTY, 0, GARBAGE, []),
        (0, EMPTY, 5, ROOTS[5], [GARBAGE]),
        (5, ROOTS[5], 5, ROOTS[5], [GARBAGE]),
        (-1, EMPTY, 5, ROOTS[5], []),
        (1, ROOTS[1], 0, EMPTY, []),
    ):
        with pytest.raises(ProofError):
            verify_consistency(old, old_root, new, new_root, proof)


def test_no_proof_is_made_of_what_is_not_in_the_tree() -> None:
    for index in (-1, 8, 9):
        with pytest.raises(ProofError):
            inclusion_proof(index, 8, Subtrees(MANY))
    for old, new in ((9, 8), (-1, 8)):
        with pytest.raises(ProofError):
            consistency_proof(old, new, Subtrees(MANY))


@given(st.lists(st.integers(0, 40), max_size=4), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_a_frontier_grown_in_any_steps_and_kept_in_between_is_the_tree(steps: list[int], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merkle, "_CHUNK", chunk)
        frontier = Frontier()
        for step in steps:
            frontier.extend(iter(MANY[frontier.size % 90 :][:step]))
            frontier = Frontier(frontier.size, frontier.nodes)
        frontier.append(GARBAGE)
        leaves = list[bytes]()
        for step in steps:
            leaves += MANY[len(leaves) % 90 :][:step]
        assert (frontier.size, frontier.root()) == (len(leaves) + 1, mth([*leaves, GARBAGE]))


def test_a_frontier_has_as_many_nodes_as_its_size_has_ones() -> None:
    frontier = Frontier()
    frontier.extend(MANY[:11])
    assert frontier.nodes == (mth(MANY[:8]), mth(MANY[8:10]), MANY[10])
    with pytest.raises(ProofError):
        Frontier(11, frontier.nodes[1:])


def test_a_frontier_hashes_every_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    frontier = Frontier()
    for at in range(0, 128, 5):
        frontier.extend(MANY[at : min(at + 5, 128)])
    frontier.root()
    assert len(calls) == len(set(calls)) == 127
