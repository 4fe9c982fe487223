"""Bundles: a folder that proves by itself what a log said, to whoever has the log's verifier key.

manifest.json       what the bundle is; not part of the proof
checkpoint          the signed note with its cosignatures: c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature
records.ndjson      `{"position":N,"record":…}`, the record's own bytes
leaf-hashes         of a whole log: the hash of each leaf, 32 bytes each, as they follow one another in tiles of level 0
proofs.ndjson       of one workspace: `{"position":N,"hashes":[…]}`, an inclusion proof (RFC 6962) for each record
consistency.ndjson  `{"size":N,"root":"…","hashes":[…]}`: that the log of that size was the beginning of this one
readable.ndjson     personal data as it was readable when the bundle was made; not part of the proof
"""

from collections.abc import Callable, Iterator
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from ._strict import count_of, hash_of, list_of_hashes, members
from .chains import NOT_SIGNED, Chain
from .checkpoints import Checkpoint
from .manifests import CHECKPOINT, CONSISTENCY, LARGEST, LEAVES, MANIFEST, PROOFS, READABLE, RECORDS, Manifest
from .memory import Memory
from .merkle import Frontier, ProofError, leaf_hash, verify_consistency, verify_inclusion
from .records import Line, Numbers, lines_of, whole_log
from .trust import AlteredError, Asked, LackingError, Progress, Verified, parsed_checkpoint

_HASH = 32


def verify_bundle(
    folder: Path, asked: Asked, remember: Callable[[str], Memory], progress: Progress = lambda done, of: None
) -> Verified:
    """That every record in the bundle is what was signed, and that none is missing; `AlteredError` names the first that
    isn't, `LackingError` what is needed to say. `remember` gives the memory of a log by its origin."""
    manifest = Manifest.read(folder)
    with (folder / CHECKPOINT).open("rb") as file:
        note = file.read(LARGEST + 1)
    memory = remember(parsed_checkpoint(note).origin)
    trust = asked.trust(note, memory.vkeys, manifest.vkeys)
    signed = trust.open(note)
    checkpoint, since = signed.checkpoint, memory.size
    if (manifest.origin, manifest.size) != (checkpoint.origin, checkpoint.size):
        raise AlteredError(f"{MANIFEST} is about another checkpoint than the one that is there.")
    memory.demand_growth(checkpoint)
    if manifest.workspace_id is None:
        records = last = _verify_whole(folder, note, trust.kept(signed), checkpoint, memory, progress)
    else:
        records, last = _verify_part(folder, note, trust.kept(signed), checkpoint, manifest, memory, progress)
    if records != manifest.records:
        raise AlteredError(f"{MANIFEST} counts {manifest.records:,} records, there are {records:,}.")
    return Verified(
        *(signed, trust.signers(signed), records, manifest.workspace_id, trust.first_use, since),
        notes=_notes(folder, manifest),
        last=last,
    )


def _notes(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    if READABLE not in manifest.files or not (folder / READABLE).is_file():
        return ()
    with (folder / READABLE).open("rb") as file:
        same = file_digest(file, "sha256").hexdigest() == manifest.files[READABLE]
    said = "is as it was exported" if same else "has been changed since it was exported"
    return (f"{READABLE} {said}; it isn't signed, and no part of the proof.",)


def _verify_whole(
    folder: Path, note: bytes, vkeys: tuple[str, ...], checkpoint: Checkpoint, memory: Memory, progress: Progress
) -> int:
    """The whole tree is made again, in one pass over the file; what was seen before must be its beginning."""
    frontier, numbers, differs, forgotten = Frontier(), Numbers(), 0, 0
    seen = memory.frontier.root() if memory.size == 0 else b""
    try:
        with (folder / RECORDS).open("rb") as file, (folder / LEAVES).open("rb") as leaves, memory.keeping() as kept:
            for block in whole_log(file, numbers):
                start, end = frontier.size, frontier.size + len(block)
                hashes = b"".join(block)
                differs = differs or _difference(hashes, leaves.read(len(hashes)), start)
                old = memory.hashes(start, end)
                forgotten = forgotten or _difference(hashes[: len(old)], old, start)
                kept.write(hashes[max(0, memory.hashed - start) * _HASH :])
                if start < memory.size <= end:
                    seen = frontier.root_after(block[: memory.size - start])
                frontier.extend(block)
                progress(frontier.size, checkpoint.size)
    except AlteredError as error:
        _blame(folder, checkpoint, differs)
        raise error from None
    if frontier.root() != checkpoint.root or frontier.size != checkpoint.size:
        _blame(folder, checkpoint, differs)
        _demand_size(frontier.size, checkpoint.size)
        raise AlteredError("The records aren't those that were signed.", forgotten or None)
    if memory.checkpoint is not None and seen != memory.checkpoint.root:
        raise AlteredError(_rewritten(checkpoint.size, memory.size), forgotten or None)
    if differs or (folder / LEAVES).stat().st_size != checkpoint.size * _HASH:
        raise AlteredError(f"The records are what was signed, but {LEAVES} isn't.", differs or None)
    if numbers.wrong is not None:
        raise AlteredError(numbers.wrong[1], numbers.wrong[0])
    memory.keep(note, vkeys, frontier)
    return frontier.size


def _rewritten(size: int, seen: int) -> str:
    if size == seen:
        return f"The log was forked: another checkpoint of {size:,} records was signed and seen, of another tree"
    return f"History was rewritten and signed again: the log isn't what was signed when it had {seen:,} records"


def _difference(these: bytes, those: bytes, start: int) -> int:
    """The first position at which hashes of leaves from `start` on differ; 0 where none does."""
    if these == those:
        return 0
    for at in range(0, len(these), _HASH):
        if these[at : at + _HASH] != those[at : at + _HASH]:
            return start + at // _HASH + 1
    return start + len(these) // _HASH + 1


def _blame(folder: Path, checkpoint: Checkpoint, differs: int) -> None:
    """Raises `AlteredError` for the first record whose leaf is another one, where it's certain what the leaves were."""
    if not 0 < differs <= checkpoint.size or (folder / LEAVES).stat().st_size != checkpoint.size * _HASH:
        return
    frontier = Frontier()
    with (folder / LEAVES).open("rb") as file:
        while data := file.read(_HASH << 12):
            frontier.extend(data[at : at + _HASH] for at in range(0, len(data), _HASH))
    if frontier.root() == checkpoint.root:
        raise AlteredError(NOT_SIGNED, differs)


def _demand_size(count: int, size: int) -> None:
    if count < size:
        raise AlteredError(f"Records are missing from here on: {size:,} were signed, {count:,} are there.", count + 1)
    if count > size:
        raise AlteredError(f"The checkpoint is of {size:,} records; what follows was added.", size + 1)


def _verify_part(
    folder: Path,
    note: bytes,
    vkeys: tuple[str, ...],
    checkpoint: Checkpoint,
    manifest: Manifest,
    memory: Memory,
    progress: Progress,
) -> tuple[int, int]:
    """Each record by its own proof, and their numbers without a gap; then, that the log has only grown. Gives how many
    there are, and the position of the last."""
    unread: list[int] = []
    chain, proofs = Chain(str(manifest.workspace_id)), _proofs(folder, unread)
    proof = next(proofs, None)
    for count, text in enumerate(lines_of(folder / RECORDS), 1):
        line = Line.parse(text)
        if line is None:
            chain.complain("Its line isn't of the form that records are exported in.", chain.next)
            continue
        while proof is not None and proof.position < line.position:
            chain.lose(proof.position)
            proof = next(proofs, None)
        hashes = None
        if proof is not None and proof.position == line.position:
            hashes, proof = proof.hashes, next(proofs, None)
        chain.add(line, _proved(line, hashes, checkpoint))
        if count % 100 == 0:
            progress(count, manifest.records)
    for left in (*([proof] if proof else []), *proofs):
        chain.lose(left.position)
    chain.demand_whole(f"workspace {manifest.workspace_id}")
    if unread:
        raise AlteredError(f"Line {unread[0]} of {PROOFS} isn't of the form that proofs are exported in.")
    why = _discontinuity(folder, checkpoint, memory)
    memory.demand_same(chain.workspace_id, chain.entries)
    if why:
        raise AlteredError(f"{why}. None of the records that were seen before of this workspace was changed.")
    memory.keep(note, vkeys, workspace=(chain.workspace_id, chain.entries, None))
    return len(chain.entries), chain.next - 1


class _Proof(NamedTuple):
    position: int
    hashes: list[bytes]


def _proofs(folder: Path, unread: list[int]) -> Iterator[_Proof]:
    """What can't be read is passed over, so that its record has no proof; its line is added to `unread`."""
    for number, text in enumerate(lines_of(folder / PROOFS), 1):
        try:
            position, hashes = members(text, "position", "hashes")
            yield _Proof(count_of(position), list_of_hashes(hashes))
        except ValueError:
            unread.append(number)


def _proved(line: Line, hashes: list[bytes] | None, checkpoint: Checkpoint) -> str:
    """Why the record isn't proved to be in the tree, or nothing."""
    if hashes is None:
        return "There is no proof of this record."
    try:
        verify_inclusion(line.position - 1, checkpoint.size, leaf_hash(line.record), hashes, checkpoint.root)
    except ProofError:
        return NOT_SIGNED
    return ""


def _discontinuity(folder: Path, checkpoint: Checkpoint, memory: Memory) -> str:
    """Why this log isn't what has grown from the one that is remembered, or nothing."""
    old = memory.checkpoint
    roots = dict(_proved_beginnings(folder, checkpoint))
    if old is None:
        return ""
    root = checkpoint.root if old.size == checkpoint.size else roots.get(old.size)
    if root is None:
        raise LackingError(
            f"The log was last seen at size {old.size}, and the bundle doesn't prove that it has only grown since. "
            f"Export it again with --since {old.size}."
        )
    return "" if root == old.root else _rewritten(checkpoint.size, old.size)


def _proved_beginnings(folder: Path, checkpoint: Checkpoint) -> Iterator[tuple[int, bytes]]:
    """Sizes and roots of which it is proved that the log has grown from them."""
    for text in lines_of(folder / CONSISTENCY):
        try:
            said, text_of_root, hashes = members(text, "size", "root", "hashes")
            size, root = count_of(said), hash_of(text_of_root)
            verify_consistency(size, root, checkpoint.size, checkpoint.root, list_of_hashes(hashes))
        except ValueError as error:
            raise AlteredError(f"A line of {CONSISTENCY} proves nothing: {error}.") from None
        yield size, root
