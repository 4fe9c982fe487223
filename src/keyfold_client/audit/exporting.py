"""Makes bundles: of a workspace's records over HTTP, or of whatever else brings its own lines."""

import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path

from ._strict import count_of
from .checkpoints import Checkpoint
from .live import Server
from .manifests import CHECKPOINT, CONSISTENCY, MANIFEST, PROOFS, READABLE, RECORDS, Manifest
from .merkle import Nodes, ProofError, consistency_proof, inclusion_proof, leaf_hash, root
from .proofs import Proof
from .records import Line, lines_of, place_of
from .tiles import TileNodes
from .trust import AlteredError, Asked, LackingError, Progress, parsed_checkpoint

MOST_BEGINNINGS = 50
"""Earlier sizes of the log, the newest, from which a bundle proves that it has only grown."""


def unfinished(out: Path) -> Path:
    """Where the bundle is made. It comes into its place whole."""
    return out.with_name(f"{out.name}.part")


def demand_free(out: Path) -> None:
    if out.exists():
        raise LackingError(f"{out} is there already. Name another folder.")


def export_workspace(
    server: Server, out: Path, since: Iterable[int] = (), *, readable: bool = False, progress: Progress
) -> Manifest:
    """The bundle of the workspace that the server's key belongs to. One that broke off is gone on with.

    `since` are sizes at which the log was seen. `AlteredError` where what the server gives can't be proved, and
    `LackingError`.
    """
    demand_free(out)
    part = unfinished(out)
    part.mkdir(parents=True, exist_ok=True)
    try:
        return _exported(server, out, part, since, readable=readable, progress=progress)
    finally:
        if part.exists() and not _holds_records(part):  # nothing to go on with
            shutil.rmtree(part)


def _exported(
    server: Server, out: Path, part: Path, since: Iterable[int], *, readable: bool, progress: Progress
) -> Manifest:
    note, vkeys = _begun(server, part)
    checkpoint = parsed_checkpoint(note)
    nodes = TileNodes(checkpoint.size, checkpoint.root, server.tile)
    try:
        resumed = _resumed(part / RECORDS, checkpoint, nodes)
        _fetch(server, part / RECORDS, checkpoint, progress, after=resumed)
        workspace_id, count, beginnings = _surveyed(part / RECORDS, resumed)
        _prove(part, checkpoint, nodes)
        _prove_growth(part, checkpoint, nodes, {*since, *sorted(beginnings)[-MOST_BEGINNINGS:]})
    except ProofError as error:
        raise AlteredError(
            f"The tiles that the server gives aren't those of the tree that it signed: {error}."
        ) from None
    names = [CHECKPOINT, RECORDS, PROOFS, CONSISTENCY]
    if readable:
        _fetch(server, part / READABLE, checkpoint, progress, form="ndjson")
        names.append(READABLE)
    return finish(out, note, vkeys, workspace_id, count, names)


def finish(
    out: Path, note: bytes, vkeys: Iterable[str], workspace_id: str | None, records: int, names: Iterable[str]
) -> Manifest:
    """Writes the manifest about the files with these names, and puts the bundle into its place."""
    part, checkpoint = unfinished(out), parsed_checkpoint(note)
    sums, sizes = dict[str, str](), dict[str, int]()
    for name in names:
        with (part / name).open("rb") as file:
            sums[name], sizes[name] = file_digest(file, "sha256").hexdigest(), (part / name).stat().st_size
    made_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    manifest = Manifest(checkpoint.origin, tuple(vkeys), workspace_id, checkpoint.size, records, made_at, sums)
    (part / MANIFEST).write_text(json.dumps(manifest.as_json(sizes), indent=2) + "\n")
    part.rename(out)
    return manifest


def _begun(server: Server, part: Path) -> tuple[bytes, list[str]]:
    """The checkpoint that it is of, which stays the same when it is gone on with. It has to be signed by some key that
    the server offers; whether that is the right one is for whoever verifies to say."""
    vkeys = server.keys()
    known = part / CHECKPOINT
    if not known.exists() and any(part.iterdir()):
        raise LackingError(f"{part} is no export that broke off. Move it away, or name another folder.")
    note = known.read_bytes() if known.exists() else server.checkpoint()
    Asked().trust(note, (), vkeys).open(note)
    if parsed_checkpoint(note).origin != parsed_checkpoint(server.checkpoint()).origin:
        raise LackingError(f"{part} was begun with another log. Move it away, or name another folder.")
    if not known.exists():
        known.write_bytes(note)
    return note, vkeys


def _holds_records(part: Path) -> bool:
    """Whether this may be an export that broke off, or is somebody else's: then it is left alone."""
    if {each.name for each in part.iterdir()} - {CHECKPOINT, RECORDS}:
        return True
    return (part / RECORDS).exists() and (part / RECORDS).stat().st_size > 0


def _fetch(
    server: Server, file: Path, checkpoint: Checkpoint, progress: Progress, form: str = "records", after: int = 0
) -> None:
    """Lines up to the checkpoint, behind those that are there; what has no end of a line is cut off."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.truncate(_whole_lines(file) if after else 0)
        opened.seek(0, 2)
        with server.export(after, checkpoint.size, form) as (end, lines):
            if end < checkpoint.size:
                raise AlteredError("The log ends before what was signed of it.", end + 1)
            for text in lines:
                opened.write(text)
                line = Line.parse(text)
                progress(line.position if line else 0, checkpoint.size)


def _whole_lines(file: Path) -> int:
    return sum(len(text) for text in lines_of(file) if text.endswith(b"\n"))


def _resumed(file: Path, checkpoint: Checkpoint, nodes: Nodes) -> int:
    """The position of the last whole line that is there already, 0 where not all of them are of this log's tree."""
    last = 0
    for text in lines_of(file) if file.exists() else ():
        line = Line.parse(text)
        if line is None and not text.endswith(b"\n"):
            break
        if line is None or not last < line.position <= checkpoint.size:
            return 0
        if nodes(0, line.position - 1) != leaf_hash(line.record):
            return 0
        last = line.position
    return last


def _surveyed(records: Path, resumed: int) -> tuple[str, int, set[int]]:
    """The workspace, how many records there are, and up to where they were exported before."""
    workspace_id, count, beginnings = "", 0, set[int]()
    for text in lines_of(records):
        count += 1
        line = Line.parse(text)
        if line is None:
            raise AlteredError("What the server gives isn't of the form that records are exported in.")
        place = place_of(line.record)
        workspace_id = workspace_id or (place.workspace_id if place else "")
        if resumed and place and place.workspace_id != workspace_id:
            raise LackingError(f"{records.parent} was begun for {workspace_id}. Delete it, or name another folder.")
        if b'"type":"audit.exported.v1"' in line.record:
            beginnings.add(_until(line.record))
    if not workspace_id:
        raise LackingError("The server gives no record at all. May this key read the whole trail?")
    return workspace_id, count, beginnings


def _until(record: bytes) -> int:
    try:
        return count_of(json.loads(record)["data"]["until"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0


def _prove(part: Path, checkpoint: Checkpoint, nodes: Nodes) -> None:
    with (part / PROOFS).open("w") as file:
        for text in lines_of(part / RECORDS):
            line = Line.parse(text)
            if line is not None:
                hashes = inclusion_proof(line.position - 1, checkpoint.size, nodes)
                file.write(_json({"position": line.position, "hashes": [b64encode(each).decode() for each in hashes]}))


def _prove_growth(part: Path, checkpoint: Checkpoint, nodes: Nodes, sizes: Iterable[int]) -> None:
    with (part / CONSISTENCY).open("w") as file:
        for size in sorted({size for size in sizes if 0 < size < checkpoint.size}):
            hashes = [b64encode(each).decode() for each in consistency_proof(size, checkpoint.size, nodes)]
            file.write(_json({"size": size, "root": b64encode(root(size, nodes)).decode(), "hashes": hashes}))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def size_in(since: str) -> int:
    """The size meant by a number, by a file with a checkpoint, or by an earlier bundle. `LackingError`."""
    if since.isascii() and since.isdecimal() and len(since) < 19:
        return int(since)
    path = Path(since)
    try:
        data = (path / CHECKPOINT if path.is_dir() else path).read_bytes()
        return parsed_checkpoint(Proof.parse(data).checkpoint if data.startswith(b"c2sp.org/") else data).size
    except (OSError, ProofError, AlteredError) as error:
        raise LackingError(f"{since} is no size, no checkpoint, no proof and no bundle: {error}") from None


def prove_record(server: Server, position: int, wait: Callable[[], bool]) -> bytes:
    """A file that proves the record at a position by itself. `wait` is asked for as long as it isn't signed yet, and
    says whether to ask on."""
    with server.export(position - 1, position) as (_, lines):
        line = Line.parse(next(lines, b""))
    if line is None or line.position != position:
        raise LackingError(f"There is no record at position {position} that this key may read.")
    note = server.checkpoint()
    while (checkpoint := parsed_checkpoint(note)).size < position:
        if not wait():
            raise LackingError(f"Position {position} isn't signed yet: the checkpoint is of {checkpoint.size} records.")
        note = server.checkpoint()
    nodes = TileNodes(checkpoint.size, checkpoint.root, server.tile)
    try:
        hashes = inclusion_proof(position - 1, checkpoint.size, nodes)
    except ProofError as error:
        raise AlteredError(
            f"The tiles that the server gives aren't those of the tree that it signed: {error}."
        ) from None
    return Proof(position - 1, tuple(hashes), note, line.record).to_bytes()
