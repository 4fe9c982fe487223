"""Verifies whatever it is, and says what came of it in words or as JSON."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundles import verify_bundle
from .memory import Memory
from .single import verify_record
from .trust import AlteredError, Asked, LackingError, Progress, Verified, moment

VERIFIED, ALTERED, LACKING = 0, 1, 2
"""What a command exits with."""


@dataclass(frozen=True)
class Verdict:
    """`facts` are what --json prints, `lines` the same for people."""

    status: int
    facts: dict[str, Any]
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines without what would move the cursor or turn the writing round: others have chosen some of it."""
        return "\n".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in x) for x in self.lines)


def verify(
    target: str,
    asked: Asked,
    state: Path,
    *,
    key: str | None = None,
    again: bool = False,
    progress: Progress = lambda done, of: None,
) -> Verdict:
    """Of a bundle's folder, a proof's file, or the address of a live log."""
    return judged(lambda: _verified(target, asked, state, key, again, progress))


def judged(work: Callable[[], Verdict]) -> Verdict:
    """What `work` says, also where it says so by an error."""
    try:
        return work()
    except AlteredError as error:
        where = "" if error.position is None else f"position {error.position}: "
        more = error.bad - 1
        others = f" There {'is' if more == 1 else 'are'} {more:,} more like it." if more else ""
        facts = {"verified": False, "position": error.position, "why": str(error), "bad": error.bad}
        return Verdict(ALTERED, facts, (f"ALTERED  {where}{error}{others}",))
    except (LackingError, OSError) as error:
        return Verdict(LACKING, {"verified": None, "why": str(error)}, (f"CAN'T TELL  {error}",))


def _verified(target: str, asked: Asked, state: Path, key: str | None, again: bool, progress: Progress) -> Verdict:
    def remember(origin: str) -> Memory:
        return Memory(state, origin)

    if target.startswith(("http://", "https://")):
        return _of_live(target, asked, remember, key, again, progress)
    path = Path(target)
    if path.is_dir():
        verified = verify_bundle(path, asked, remember, progress)
        return _verdict(verified, "exported", _whole(verified))
    if not path.is_file():
        raise LackingError(f"There is no {target}. Name the folder of a bundle, the file of a proof, or an address.")
    verified, position, record = verify_record(path, asked, remember)
    told = _verdict(verified, "record", f"the record at position {position} is what was signed")
    try:
        facts = {**told.facts, "position": position, "record": json.loads(record)}
    except (ValueError, RecursionError):
        raise AlteredError("What was signed there is no record.", position) from None
    return Verdict(told.status, facts, (*told.lines, record.decode()))


def _of_live(target: str, asked: Asked, remember: Any, key: str | None, again: bool, progress: Progress) -> Verdict:
    try:
        from .live import Server  # noqa: PLC0415  # all else does without httpx
        from .watching import verify_live  # noqa: PLC0415
    except ImportError:
        raise LackingError("A live log is read with httpx: pip install httpx. A bundle needs nothing of it.") from None
    with Server(target, key) as server:
        verified = verify_live(server, asked, remember, again=again, progress=progress)
    if verified.workspace_id is None:
        return _verdict(verified, "live", "the log has kept all that it has signed")
    more = f" {verified.known:,} were verified before," if verified.known else ""
    said = f"{verified.records:,} records of {verified.workspace_id} are what was signed,{more} and {_up_to(verified)}"
    return _verdict(verified, "live", said)


def _whole(verified: Verified) -> str:
    if verified.workspace_id is None:
        return f"all {verified.records:,} records of the log are what was signed, and no workspace lacks one"
    return f"all {verified.records:,} records of {verified.workspace_id} are what was signed, and {_up_to(verified)}"


def _up_to(verified: Verified) -> str:
    """What a workspace's numbers say, and what they can't."""
    number, last = verified.known + verified.records, verified.last
    return f"none is missing up to number {number:,}, position {last:,}: what came later can't be told from this."


def _verdict(verified: Verified, what: str, said: str) -> Verdict:
    checkpoint = verified.checkpoint
    cosigned = [{"name": each.name, "time": moment(each.timestamp or 0)} for each in verified.signed.cosignatures]
    facts = {
        "verified": True,
        "what": what,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": b64encode(checkpoint.root).decode(),
        "workspaceId": verified.workspace_id,
        "records": verified.records,
        "known": verified.known,
        "last": verified.last or None,
        "signedBy": [*verified.vkeys],
        "cosignedBy": cosigned,
        "since": verified.since or None,
        "firstUse": verified.first_use,
        "notes": [*verified.notes],
    }
    lines = [f"VERIFIED  {said}", f"  log         {checkpoint.origin}, {checkpoint.size:,} records"]
    lines += [f"  root        {facts['root']}", *(f"  signed by   {vkey}" for vkey in verified.vkeys)]
    lines += [f"  cosigned    {each['name']} at {each['time']}" for each in cosigned]
    if verified.since:
        lines.append(f"  since       {verified.since:,} records, when it was last seen here: it has only grown")
    lines += [f"  note        {note}" for note in verified.notes]
    if verified.first_use:
        lines += [
            "  FIRST USE   Nobody but whoever gave you this has said that the key above is the log's. Compare it,",
            "              letter by letter, with what its operator publishes elsewhere. It is remembered from now on.",
        ]
    return Verdict(VERIFIED, facts, tuple(lines))
