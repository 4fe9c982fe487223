"""Where secrets meet peppers: digests of tokens, and answers sealed for those who may see them again."""

import hmac
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyfold.app.ports import Digest, Entropy
from keyfold.domain.tokens import Token
from keyfold.settings import Secret

_NONCE = 12


class ReplayKey(msgspec.Struct, frozen=True):
    """What an Idempotency-Key comes down to: an id to store under, and the key that opens the answer. Not for logs."""

    id: bytes
    fingerprint: bytes
    sealing_key: bytes

    def __repr__(self) -> str:
        return "ReplayKey(…)"


class Vault:
    """The only holder of the peppers. The highest version is used for what is issued now, all for what is checked."""

    def __init__(self, peppers: dict[int, Secret], entropy: Entropy) -> None:
        self._peppers = {version: secret.reveal for version, secret in peppers.items()}
        self._current = max(peppers)
        self._entropy = entropy

    def digest(self, token: Token) -> Digest:
        value = self._mac(self._current, b"token", token.reveal.encode())
        return Digest(id=token.id, pepper=self._current, value=value)

    def matches(self, token: Token, digest: Digest | None) -> bool:
        """Whether this is the token that was issued, in constant time, with equal work when nothing was."""
        known = digest if digest is not None and digest.pepper in self._peppers else None
        version = known.pepper if known else self._current
        value = self._mac(version, b"token", token.reveal.encode())
        return hmac.compare_digest(value, known.value if known else bytes(32)) and known is not None

    def is_text_of(self, text: str, digest: Digest) -> bool:
        """Whether this is, to the last character, the token that has this digest; for one that was found by its id."""
        message = b"token\0" + text.encode(errors="replace")
        return hmac.compare_digest(hmac.digest(self._peppers[digest.pepper], message, "sha256"), digest.value)

    def replay_key(self, idempotency_key: str, scope: str, request: bytes) -> ReplayKey:
        """`scope` is who asks for what; `request` all that must be the same when the key is used again."""
        # the oldest pepper, so that adding a newer one forgets no answer
        oldest = min(self._peppers)
        held = idempotency_key.encode() + b"\0" + scope.encode()
        return ReplayKey(
            id=self._mac(oldest, b"replay id", held),
            fingerprint=self._mac(oldest, b"replay request", request),
            sealing_key=self._mac(oldest, b"replay seal", held),
        )

    def seal(self, key: ReplayKey, answer: bytes) -> bytes:
        nonce = self._entropy(_NONCE)
        return nonce + AESGCM(key.sealing_key).encrypt(nonce, answer, key.id)

    def unseal(self, key: ReplayKey, sealed: bytes) -> bytes:
        return AESGCM(key.sealing_key).decrypt(sealed[:_NONCE], sealed[_NONCE:], key.id)

    def _mac(self, version: int, purpose: bytes, message: bytes) -> bytes:
        return hmac.digest(self._peppers[version], purpose + b"\0" + message, sha256)
