"""Signed notes: text that one or more keys have signed. c2sp.org/signed-note, as golang.org/x/mod/sumdb/note.

Of the signature types: 0x01, Ed25519 over the text, as logs sign; and 0x04, cosignature/v1 of
c2sp.org/tlog-cosignature, Ed25519 over a time and the text, as witnesses do.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ._strict import LARGEST, unbase64

ED25519 = 0x01
COSIGNATURE = 0x04
LARGEST_NOTE = 1_000_000
"""Bytes: sixteen post-quantum signatures are below a tenth of it."""
MOST_SIGNATURES = 100
# no surrogates either, which only text from elsewhere than UTF-8 has
_NAME = re.compile(r"[^\s+\0-\x1f\ud800-\udfff]+")
_CONTROL = re.compile(r"[\0-\x09\x0b-\x1f\ud800-\udfff]")
_DASH = "\N{EM DASH} "


class NoteError(ValueError):
    """A key or note isn't well-formed, or isn't signed by who it should be: it says which and why."""


class Signature(NamedTuple):
    """One signature line of a note. `timestamp` (seconds since the epoch) is there once a cosignature was verified."""

    name: str
    key_id: bytes
    blob: bytes
    line: str
    timestamp: int | None = None


class Note(NamedTuple):
    """A note taken apart; `text` ends with a newline. Signatures are verified where `open_note` gave it, only there."""

    text: str
    signatures: tuple[Signature, ...]


class Verifier(NamedTuple):
    """A public key that signs notes under `name`; `key` is 32 bytes, `kind` `ED25519` or `COSIGNATURE`."""

    name: str
    kind: int
    key: bytes

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """From `<name>+<id in hex>+<base64 of kind and key>`; `NoteError` where it isn't one, or of another kind."""
        name, _, rest = vkey.partition("+")
        key_id, _, key = rest.partition("+")
        try:
            material = unbase64(key)
        except ValueError:
            material = b""
        if len(material) != 33 or material[0] not in {ED25519, COSIGNATURE}:
            raise NoteError(f"not an Ed25519 verifier key: {vkey[:200]!r}")
        verifier = cls(check_name(name), material[0], material[1:])
        if verifier.key_id.hex() != key_id:
            raise NoteError(f"the verifier key's id should be {verifier.key_id.hex()}: {vkey[:200]!r}")
        return verifier

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.kind, self.key)

    @property
    def vkey(self) -> str:
        """The encoding that `parse` reads."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.kind]) + self.key).decode()}"

    def verify(self, text: str, signature: Signature) -> Signature:
        """`signature`, with its time where it has one, if this key made it over `text`; `NoteError` otherwise."""
        try:
            message, blob, timestamp = self._signed(text, signature.blob)
            Ed25519PublicKey.from_public_bytes(self.key).verify(blob, message)
        except (InvalidSignature, ValueError):
            raise NoteError(f"the signature of {self.name} ({self.key_id.hex()}) is wrong") from None
        return signature._replace(timestamp=timestamp)

    def _signed(self, text: str, blob: bytes) -> tuple[bytes, bytes, int | None]:
        if self.kind == ED25519:
            return text.encode(), blob, None
        timestamp = int.from_bytes(blob[:8])
        if len(blob) != 72 or timestamp > LARGEST:
            raise ValueError("not a timestamped signature")
        return cosigned(text, timestamp), blob[8:], timestamp


def key_id(name: str, kind: int, key: bytes) -> bytes:
    """Four bytes that tell keys apart, and prove nothing."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def cosigned(text: str, timestamp: int) -> bytes:
    """What a witness signs who saw the checkpoint `text` at `timestamp`, in seconds since the epoch."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def check_name(name: str) -> str:
    """`name`, if a key may have it; `NoteError` otherwise."""
    if not _NAME.fullmatch(name):
        raise NoteError(f"not the name of a key: {name[:100]!r}")
    return name


def check_text(text: str) -> str:
    """`text`, if a note may have it; `NoteError` otherwise."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("a note's text ends with a newline, and has no other control characters")
    return text


def parse_note(note: bytes) -> Note:
    """`note` taken apart, nothing verified; `NoteError` where it isn't well-formed."""
    if len(note) > LARGEST_NOTE:
        raise NoteError("the note is too large")
    try:
        whole = check_text(note.decode())
    except UnicodeDecodeError:
        raise NoteError("a note is UTF-8") from None
    text, blank, lines = whole.rpartition("\n\n")
    if not blank:
        raise NoteError("a note's signatures stand after an empty line")
    signatures = lines.removesuffix("\n").split("\n")
    if len(signatures) > MOST_SIGNATURES:
        raise NoteError(f"the note has more than {MOST_SIGNATURES} signatures")
    return Note(text + "\n", tuple(map(parse_signature, signatures)))


def parse_signature(line: str) -> Signature:
    """A signature line, without its newline: dash, name, base64 of key id and signature; `NoteError` otherwise."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        data = unbase64(encoded)
    except ValueError:
        data = b""
    if not line.startswith(_DASH) or len(data) < 5:
        raise NoteError(f"not a signature line: {line[:200]!r}")
    return Signature(check_name(name), data[:4], data[4:], line)


def signature_line(name: str, key_id: bytes, blob: bytes) -> str:
    """The line of a signature, with its newline."""
    return f"{_DASH}{name} {b64encode(key_id + blob).decode()}\n"


def open_note(note: bytes, verifiers: Iterable[Verifier]) -> Note:
    """`note` with those of its signatures that `verifiers` made, one for each.

    Signatures of other keys are passed over. `NoteError` where the note isn't well-formed, where any signature that
    names one of the keys is wrong, and where none names one.
    """
    text, signatures = parse_note(note)
    known = _by_identity(verifiers)
    verified = dict[tuple[str, bytes], Signature]()
    for signature in signatures:
        identity = (signature.name, signature.key_id)
        if identity in known:
            verified.setdefault(identity, known[identity].verify(text, signature))
    if not verified:
        names = ", ".join(sorted({signature.name for signature in signatures}))
        raise NoteError(f"the note isn't signed by a key that is known here, but by {names}")
    return Note(text, tuple(verified.values()))


def _by_identity(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known = dict[tuple[str, bytes], Verifier]()
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise NoteError(f"two keys are called {verifier.name} and have the id {verifier.key_id.hex()}")
    return known
