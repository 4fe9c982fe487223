"""Keys that sign the log's checkpoints: c2sp.org/signed-note, in the encoding of golang.org/x/mod/sumdb/note."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyfold_client.audit.notes import ED25519, Verifier, check_name, check_text, signature_line


class Signer:
    """A private Ed25519 key that signs under `name`. Its `repr` shows no secret."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(check_name(name), ED25519, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, skey: str) -> Self:
        """From `PRIVATE+KEY+<name>+<id>+<base64 of kind and seed>`; `ValueError`, which shows none of it, otherwise."""
        try:
            private, key, name, key_id, encoded = skey.split("+", 4)
            material = b64decode(encoded, validate=True)
            signer = cls(name, material[1:])
        except ValueError:
            raise ValueError("not a log key: PRIVATE+KEY+<name>+<id>+<key>") from None
        if (private, key, material[0]) != ("PRIVATE", "KEY", ED25519) or key_id != signer.verifier.key_id.hex():
            raise ValueError("not a log key: its id isn't that of its name and key")
        return signer

    def __repr__(self) -> str:
        return f"Signer({self.verifier_key!r})"

    @property
    def name(self) -> str:
        return self.verifier.name

    @property
    def verifier_key(self) -> str:
        """What to publish: `<name>+<id>+<base64 of kind and public key>`."""
        return self.verifier.vkey

    def secret_key(self) -> str:
        """What to keep secret, as `parse` reads it."""
        material = b64encode(bytes([ED25519]) + self._key.private_bytes_raw()).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{material}"

    def sign(self, text: str) -> str:
        """The signature line, with its newline, for a note of this text; `NoteError` where no note may have it."""
        return signature_line(self.name, self.verifier.key_id, self._key.sign(check_text(text).encode()))


def signed_note(text: str, signers: Sequence[Signer]) -> str:
    """The note of `text`, signed by each of `signers`."""
    return f"{text}\n{''.join(signer.sign(text) for signer in signers)}"
