"""Data keys, and what is sealed with them: personal data in records that are never changed, and can still be erased.

Every partner and every operator (the holder of an account or integration key) has a data key of their own. It lies
beside the log, wrapped by a key that is derived from a pepper. Whoever deletes it has erased what it sealed, wherever
copies of the records are.
"""

from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfold.app.ports import DataKey, Entropy
from keyfold.domain.record import Actor, Event, Record, encode
from keyfold.domain.sealing import Box, Contents, joined, split
from keyfold.settings import Secret

NONCE = 12
SIZE = 32
CAPACITY = 50_000
"""Data keys that a process keeps unwrapped."""
_read_contents = msgspec.json.Decoder(Contents).decode
_PLAIN_BASE64 = bytes.maketrans(b"-_", b"+/")


class SealBrokenError(Exception):
    """A data key or a box doesn't open: another pepper wrapped it, or it isn't where it was made for."""


class Sealing:
    """Wraps data keys by the newest pepper, unwraps those of all that it has, seals and opens. Keeps no data key that
    it isn't handed each time: what was deleted opens nothing."""

    def __init__(self, peppers: Mapping[int, Secret], entropy: Entropy) -> None:
        self._wrapping = {version: AESGCM(_derived(secret.reveal)) for version, secret in peppers.items()}
        self._current = max(peppers)
        self._entropy = entropy
        self._unwrapped: OrderedDict[str, tuple[bytes, AESGCM]] = OrderedDict()

    def new_key(self, subject: str) -> DataKey:
        nonce = self._entropy(NONCE)
        wrapped = self._wrapping[self._current].encrypt(nonce, self._entropy(SIZE), subject.encode())
        return DataKey(subject, self._current, nonce + wrapped)

    def seal(self, key: DataKey, record_id: str, contents: Contents) -> Box:
        nonce = self._entropy(NONCE)
        sealed = self._cipher(key).encrypt(nonce, encode(contents), _place(record_id, key.subject))
        return Box(key.subject, urlsafe_b64encode(nonce + sealed).decode())

    def open(self, record: Record, keys: Mapping[str, DataKey]) -> Record:
        """The record with what its boxes hold, as far as their data keys are there. Raises `SealBrokenError`."""
        for contents in self.contents(record, keys):
            record = _with(record, contents)
        return record

    def contents(self, record: Record, keys: Mapping[str, DataKey]) -> list[Contents]:
        """What the boxes of a record hold, as far as their data keys are there. Raises `SealBrokenError`."""
        return [self._opened(keys[box.under], record.id, box) for box in record.sealed if box.under in keys]

    def demand_opens(self, key: DataKey) -> None:
        """Raises `SealBrokenError` for a data key that another pepper has wrapped."""
        self._unwrap(key)

    def forget(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._unwrapped.pop(subject, None)

    def _opened(self, key: DataKey, record_id: str, box: Box) -> Contents:
        try:
            sealed = a2b_base64(box.box.encode("ascii").translate(_PLAIN_BASE64))  # urlsafe_b64decode takes thrice that
            return _read_contents(
                self._cipher(key).decrypt(sealed[:NONCE], sealed[NONCE:], _place(record_id, box.under))
            )
        except (InvalidTag, ValueError):
            raise SealBrokenError(
                f"The box under {box.under} in {record_id} wasn't made for it, or was altered."
            ) from None

    def _cipher(self, key: DataKey) -> AESGCM:
        known = self._unwrapped.get(key.subject)
        if known is None or known[0] != key.wrapped:
            known = self._unwrapped[key.subject] = key.wrapped, AESGCM(self._unwrap(key))
            if len(self._unwrapped) > CAPACITY:
                self._unwrapped.popitem(last=False)
        return known[1]

    def _unwrap(self, key: DataKey) -> bytes:
        wrapping = self._wrapping.get(key.pepper)
        if wrapping is None:
            raise SealBrokenError(
                f"The data key of {key.subject} is wrapped by pepper {key.pepper}, which KEYFOLD_PEPPERS doesn't have."
            )
        try:
            return wrapping.decrypt(key.wrapped[:NONCE], key.wrapped[NONCE:], key.subject.encode())
        except InvalidTag:
            raise SealBrokenError(
                f"The data key of {key.subject} doesn't open: KEYFOLD_PEPPERS has another pepper {key.pepper} "
                "than the one that wrapped it."
            ) from None


def boxed(
    sealing: Sealing, record_id: str, event: Event, actor: Actor, under: str | None, keys: Mapping[str, DataKey]
) -> tuple[Actor, bytes, tuple[Box, ...]]:
    """The actor and the event as they may be read by everybody, and the boxes with the rest; `under` is the actor's
    subject. What has no data key to be sealed with, any more or at all, is left out."""
    contents: dict[str, Contents] = {}
    data = encode(event)
    if event.personal:
        rest, taken = split(msgspec.json.decode(data), event.personal)
        if taken:
            data = encode(rest)
            contents[str(event.subject)] = Contents(data=taken)
    if actor.address is not None:
        if under is not None:
            beside = contents.get(under, Contents())
            contents[under] = Contents(actor={"address": actor.address}, data=beside.data)
        actor = Actor(actor.kind, actor.id, session=actor.session)
    boxes = [sealing.seal(keys[of], record_id, each) for of, each in contents.items() if of in keys]
    return actor, data, tuple(boxes)


def subjects_of(event: Event, actor: Actor, under: str | None) -> Iterable[str]:
    """Whose data keys it takes to write the event down."""
    if event.personal and event.subject is not None:
        yield event.subject
    if actor.address is not None and under is not None:
        yield under


def _with(record: Record, contents: Contents) -> Record:
    changes: dict[str, object] = {}
    if contents.actor:
        changes["actor"] = msgspec.structs.replace(record.actor, **contents.actor)
    if contents.data:
        changes["data"] = msgspec.Raw(_joined(bytes(record.data), contents.data))
    return msgspec.structs.replace(record, **changes)


def _joined(data: bytes, taken: dict[str, Any]) -> bytes:
    """The JSON of an event whole again: without decoding it, where nothing has to be laid over an object in it."""
    if len(data) < 3 or any(isinstance(value, dict) for value in taken.values()):
        return encode(joined(msgspec.json.decode(data), taken))
    return data[:-1] + b"," + encode(taken)[1:]


def _place(record_id: str, subject: str) -> bytes:
    """What a box is bound to, so that it opens nowhere else."""
    return f"{record_id} {subject}".encode()


def _derived(pepper: bytes) -> bytes:
    return HKDF(SHA256(), SIZE, salt=None, info=b"keyfold data keys").derive(pepper)
