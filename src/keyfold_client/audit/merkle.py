"""The Merkle tree: RFC 6962 section 2.1, proofs checked as RFC 9162 sections 2.1.3.2 and 2.1.4.2 write it out.

Hashes are SHA-256, 32 bytes. Leaves count from 0; a tree of `size` leaves has leaves 0 to `size` - 1.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import islice

EMPTY = sha256(b"").digest()
"""Root of the tree without leaves."""

Nodes = Callable[[int, int], bytes]
"""`nodes(level, index)`: hash of the perfect subtree over leaves `index << level` to `(index + 1) << level`."""

_CHUNK = 4096


class ProofError(ValueError):
    """What was to be proved isn't: it says why."""


def leaf_hash(record: bytes) -> bytes:
    """Hash of a leaf, whose content is `record`."""
    return sha256(b"\0" + record).digest()


def leaf_hashes(records: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each."""
    return [sha256(b"\0" + record).digest() for record in records]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node above `left` and `right`."""
    return sha256(b"\1" + left + right).digest()


def pair_up(level: Iterable[bytes]) -> list[bytes]:
    """The level above `level`; an odd last node has none above it yet."""
    each = iter(level)
    # written out here and in leaf_hashes, since calls would be a fifth of the time that verifying a log takes
    return [sha256(b"\1" + left + right).digest() for left, right in zip(each, each, strict=False)]


class Frontier:
    """A tree that only grows: its size, and the roots of the perfect subtrees that make it up, largest first.

    `Frontier(size, nodes)` goes on where another of that `size` and those `nodes` stood.
    """

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        heights = [height for height in range(size.bit_length()) if size >> height & 1]
        if len(heights) != len(nodes):
            raise ProofError(f"a tree of {size} leaves is {len(heights)} perfect subtrees, not {len(nodes)}")
        self.size = size
        self._at = dict(zip(heights, reversed(nodes), strict=True))

    @property
    def nodes(self) -> tuple[bytes, ...]:
        return tuple(self._at[height] for height in sorted(self._at, reverse=True))

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes, a level of many at a time: as `append` for each, and several times faster."""
        each = iter(leaves)
        while level := list(islice(each, _CHUNK)):
            self.size += len(level)
            height = 0
            while level:
                if waiting := self._at.pop(height, None):
                    level.insert(0, waiting)
                if len(level) % 2:
                    self._at[height] = level.pop()
                level = pair_up(level)
                height += 1

    def root_after(self, leaves: Iterable[bytes]) -> bytes:
        """The root hash once these leaf hashes are added, which they aren't."""
        later = Frontier(self.size, self.nodes)
        later.extend(leaves)
        return later.root()

    def root(self) -> bytes:
        """The root hash at this size."""
        smallest_first = [self._at[height] for height in sorted(self._at)]
        if not smallest_first:
            return EMPTY
        above = smallest_first[0]
        for left in smallest_first[1:]:
            above = node_hash(left, above)
        return above


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root to which `proof` leads from the hash `leaf` at `index`; `ProofError` where `size` leaves allow none."""
    _check_hashes(leaf, *proof)
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    node, last, above = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if node & 1 or node == last:
            above = node_hash(sibling, above)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            above = node_hash(above, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    return above


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """That the leaf hash `leaf` is number `index` in the tree of `size` leaves with that `root`, or `ProofError`."""
    if root_from_inclusion(index, size, leaf, proof) != root:
        raise ProofError(f"leaf {index} is not in the tree of {size} leaves with this root")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """That the tree of `old_size` leaves is the beginning of that of `new_size`, or `ProofError`."""
    _check_hashes(old_root, new_root, *proof)
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves can't have begun with {old_size}")
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY:
            raise ProofError("a tree without leaves has another root")
    if old_size in {0, new_size}:
        if proof:
            raise ProofError("nothing is to be proved, yet there is a proof")
        if old_size == new_size and old_root != new_root:
            raise ProofError(f"two trees of {old_size} leaves have different roots: the log was forked")
        return
    if _roots_from_consistency(old_size, old_root, new_size, proof) != (old_root, new_root):
        raise ProofError(f"the tree of {new_size} leaves doesn't begin with that of {old_size}: history was changed")


def _roots_from_consistency(
    old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    # the proof leaves out its first node where that is the old root itself
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if not path:
        raise ProofError("the consistency proof is too short")
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    return old, new


def _check_hashes(*hashes: bytes) -> None:
    if any(len(each) != 32 for each in hashes):
        raise ProofError("a hash is 32 bytes")


def root(size: int, nodes: Nodes) -> bytes:
    """The root of the tree of `size` leaves."""
    return _subtree(0, size, nodes) if size else EMPTY


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """RFC 6962 section 2.1.1, PATH: from the leaf's sibling up to the root's child."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, nodes))
            end = middle
        else:
            path.append(_subtree(start, middle, nodes))
            start = middle
    return path[::-1]


def consistency_proof(old_size: int, new_size: int, nodes: Nodes) -> list[bytes]:
    """RFC 6962 section 2.1.2, PROOF; empty where there is nothing to prove (from 0, or to the same size)."""
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} leaves can't have begun with {old_size}")
    start, end, path = 0, new_size if old_size else 0, list[bytes]()
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_subtree(middle, end, nodes))
            end = middle
        else:
            path.append(_subtree(start, middle, nodes))
            start = middle
    if start:
        path.append(_subtree(start, end, nodes))
    return path[::-1]


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _subtree(start: int, end: int, nodes: Nodes) -> bytes:
    """Hash over leaves `start` to `end`, made of the perfect subtrees in it; `start` is where RFC 6962 splits."""
    width = end - start
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return nodes(height, start >> height)
    middle = start + _split(width)
    return node_hash(_subtree(start, middle, nodes), _subtree(middle, end, nodes))
