"""What an auditor goes by: whose signatures count, and what is said of a log that isn't what was signed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .checkpoints import Checkpoint, Signed, open_checkpoint
from .notes import COSIGNATURE, ED25519, NoteError, Verifier, parse_note


class AlteredError(Exception):
    """Something isn't what was signed. `position` is the first that is bad, None where it is none or can't be told."""

    def __init__(self, why: str, position: int | None = None, *, bad: int = 1) -> None:
        super().__init__(why)
        self.position = position
        self.bad = bad


class LackingError(Exception):
    """Nothing can be said, for lack of something: the message says of what, and what to do."""


@dataclass(frozen=True)
class Trust:
    """The keys of one log, of witnesses, and how many of these must have cosigned.

    `first_use`: nobody has said that the keys are the log's but whoever is to be verified.
    """

    log: tuple[Verifier, ...]
    witnesses: tuple[Verifier, ...] = ()
    quorum: int = 0
    first_use: bool = False
    others: tuple[Verifier, ...] = ()
    """Keys that were remembered and don't count, since others were stated."""

    def open(self, note: bytes) -> Signed:
        """The checkpoint in `note`, signed and cosigned as it has to be; `AlteredError` or `LackingError` otherwise."""
        parsed = parsed_checkpoint(note)
        names = {(each.name, each.key_id) for each in parse_note(note).signatures}
        if not any((key.name, key.key_id) in names for key in self.log if key.name == parsed.origin):
            if signers := [key.vkey for key in self.others if (key.name, key.key_id) in names]:
                raise LackingError(
                    f"The checkpoint of {parsed.origin} isn't signed by the key that you gave with --vkey, but by one "
                    f"that is only remembered from an earlier look: {', '.join(signers)}. One of the two isn't the "
                    "log's: ask its operator which, by a second way."
                )
            raise LackingError(
                f"The checkpoint of {parsed.origin} is signed by no key that is known here. Ask its operator for the "
                "verifier key, compare it by a second way, and give it with --vkey."
            )
        try:
            signed = open_checkpoint(note, self.log, self.witnesses)
        except NoteError as error:
            raise AlteredError(f"The checkpoint isn't what was signed: {error}.") from None
        try:
            open_checkpoint(note, self.log, self.witnesses, quorum=self.quorum)
        except NoteError as error:
            raise LackingError(
                f"{str(error).capitalize()}. Wait for a checkpoint with more of them, or lower --quorum."
            ) from None
        return signed

    def kept(self, signed: Signed) -> tuple[str, ...]:
        """The verifier keys to be remembered with a checkpoint: what was stated takes the place of what was known."""
        signers = self.signers(signed)
        known = () if self.first_use else (key.vkey for key in self.log if key.name == signed.checkpoint.origin)
        return tuple(dict.fromkeys((*signers, *known)))

    def signers(self, signed: Signed) -> tuple[str, ...]:
        """The verifier keys by which a checkpoint was found to be signed."""
        found = {(each.name, each.key_id) for each in signed.signatures}
        return tuple(key.vkey for key in self.log if (key.name, key.key_id) in found)


@dataclass(frozen=True)
class Asked:
    """What the auditor has said: verifier keys of the log, of witnesses, and how many of these must have cosigned."""

    vkeys: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()
    quorum: int = 0

    def trust(self, note: bytes, remembered: Sequence[str], offered: Sequence[str]) -> Trust:
        """By the keys that were said, and no others; else by those that are remembered; by those `offered` along with
        the note if there are none."""
        checkpoint = parsed_checkpoint(note)
        known, old = _keys(self.vkeys or remembered, ED25519), _keys(remembered, ED25519) if self.vkeys else ()
        trust = Trust(known, _keys(self.witnesses, COSIGNATURE), self.quorum, others=old)
        if trust.quorum > len(trust.witnesses):
            raise LackingError(
                f"{trust.quorum} of {len(trust.witnesses)} witnesses can't have cosigned: add --witness."
            )
        if known:
            return trust
        try:
            found = tuple(key for key in _keys(offered, ED25519) if key.name == checkpoint.origin)
        except LackingError as error:
            raise AlteredError(f"What is offered as the log's key is none: {error}") from None
        return replace(trust, log=found, first_use=True)


def parsed_checkpoint(note: bytes) -> Checkpoint:
    """The checkpoint in a note, whoever signed it; `AlteredError` where it is none."""
    try:
        return Checkpoint.parse(parse_note(note).text)
    except NoteError as error:
        raise AlteredError(f"This is no checkpoint: {error}.") from None


def moment(timestamp: int) -> str:
    """Seconds since the epoch as RFC 3339; what is no date as it is."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


def _keys(vkeys: Sequence[str], kind: int) -> tuple[Verifier, ...]:
    try:
        keys = tuple(Verifier.parse(each.strip()) for each in dict.fromkeys(vkeys))
    except NoteError as error:
        raise LackingError(f"{error}.") from None
    if any(key.kind != kind for key in keys):
        raise LackingError("A log's key (--vkey) is Ed25519, type 1; a witness's (--witness) is of type 4.")
    return keys


Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True)
class Verified:
    """What holds. `records` were looked at, of one workspace or of all (None); `known` were before. `vkeys` signed the
    checkpoint; `notes` are for people. `last` is the position of the last record. `since` is the size of the log when
    it was last seen, from where it has only grown; 0 if it never was."""

    signed: Signed
    vkeys: tuple[str, ...]
    records: int
    workspace_id: str | None = None
    first_use: bool = False
    since: int = 0
    notes: tuple[str, ...] = ()
    known: int = 0
    last: int = 0

    @property
    def checkpoint(self) -> Checkpoint:
        return self.signed.checkpoint
