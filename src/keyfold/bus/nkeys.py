"""NATS' own forms: nkeys (Ed25519 and Curve25519 keys as text) and the JWTs signed with them.

Sources: NATS ADR-14 (JWT), ADR-26 (auth callout), github.com/nats-io/nkeys (`xkeys.go` for sealing).
"""

import base64
import hashlib
import json
import time
from typing import Any, Literal

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey
from nacl.signing import SigningKey
from nacl.utils import random

Kind = Literal["account", "user", "operator", "server", "curve"]
_PREFIXES: dict[Kind, int] = {"account": 0, "user": 20, "operator": 14, "server": 13, "curve": 23}
_SEED = 18
_SEALED = b"xkv1"
_HEADER = '{"typ":"JWT","alg":"ed25519-nkey"}'


class NKey:
    """A key pair of 32 bytes of seed, that signs. Shows nothing of itself but the public key."""

    def __init__(self, kind: Kind, seed: bytes) -> None:
        self._signing = SigningKey(seed)
        self.public = public_text(kind, bytes(self._signing.verify_key))
        self._kind = kind

    def __repr__(self) -> str:
        return f"NKey({self.public})"

    @property
    def seed(self) -> str:
        """The private half, in the form of a credentials file."""
        return _text(_seed_prefix(self._kind) + bytes(self._signing))

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message).signature

    def jwt(self, subject: str, claims: dict[str, Any], *, issued_at: int | None = None, **top: Any) -> str:
        """A JWT about the key `subject`, signed with this one. `claims` go under `nats`; times are in Unix seconds."""
        issued_at = int(time.time()) if issued_at is None else issued_at
        content = {**top, "sub": subject, "iss": self.public, "iat": issued_at, "nats": claims}
        identifier = base64.b32encode(hashlib.sha256(_json(content)).digest()).rstrip(b"=").decode()
        signed = f"{_base64(_HEADER.encode())}.{_base64(_json({**content, 'jti': identifier}))}"
        return f"{signed}.{_base64(self.sign(signed.encode()))}"


class XKey:
    """A Curve25519 key pair: seals what only one other party opens."""

    def __init__(self, seed: bytes) -> None:
        self._private = PrivateKey(seed)
        self.public = public_text("curve", bytes(self._private.public_key))

    def seal(self, message: bytes, recipient: str) -> bytes:
        """The message for the holder of the curve key with this public text."""
        nonce = random(Box.NONCE_SIZE)
        return _SEALED + bytes(self._box(recipient).encrypt(message, nonce))

    def open(self, sealed: bytes, sender: str) -> bytes:
        """Raises `ValueError` for what wasn't sealed by the sender, or for another recipient."""
        try:
            if sealed[: len(_SEALED)] != _SEALED:
                raise ValueError("not sealed")
            return self._box(sender).decrypt(sealed[len(_SEALED) :])
        except CryptoError as error:
            raise ValueError("sealed for somebody else") from error

    def _box(self, other: str) -> Box:
        return Box(self._private, PublicKey(raw_public(other)))


def from_seed(text: str) -> NKey:
    """The key of a user from its seed, `SU…`. Raises `ValueError`."""
    data = base64.b32decode(text + "=" * (-len(text) % 8))
    if len(data) != 36 or _crc16(data[:-2]) != data[-2:] or data[:2] != _seed_prefix("user"):
        raise ValueError("not the seed of a user")
    return NKey("user", data[2:-2])


def public_text(kind: Kind, raw: bytes) -> str:
    """A public key of 32 bytes as NATS writes it: `A…` for an account, `U…` for a user, `O…`, `N…`, `X…`."""
    return _text(bytes([_PREFIXES[kind] << 3]) + raw)


def raw_public(text: str) -> bytes:
    """The 32 bytes of a public key. Raises `ValueError` for any other text."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, TypeError):
        raise ValueError("not a public nkey") from None
    if len(data) != 35 or _crc16(data[:-2]) != data[-2:]:
        raise ValueError("not a public nkey")
    return data[1:-2]


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT whose signature somebody else has verified. Raises `ValueError`."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not a JWT")
    found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(found, dict):
        raise ValueError("not a JWT")  # noqa: TRY004  # wherever it is wrong, it is no JWT
    return found


def credentials(token: str, key: NKey) -> str:
    """A credentials file, as every NATS client reads it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "Keep this file secret: whoever has it can log in with it.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n"
    )


def _seed_prefix(kind: Kind) -> bytes:
    prefix = _PREFIXES[kind] << 3
    return bytes([_SEED << 3 | prefix >> 5, (prefix & 31) << 3])


def _text(data: bytes) -> str:
    return base64.b32encode(data + _crc16(data)).rstrip(b"=").decode()


def _crc16(data: bytes) -> bytes:
    """CRC-16/XMODEM, little endian."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc.to_bytes(2, "little")


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
