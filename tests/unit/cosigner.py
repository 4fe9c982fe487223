"""A witness's key, for tests: cosignature/v1 of c2sp.org/tlog-cosignature, written out from the specification."""

from base64 import b64encode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Cosigner:
    def __init__(self, name: str, seed: bytes | None = None) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.from_private_bytes(seed or sha256(name.encode()).digest())
        self.public = b"\x04" + self.key.public_key().public_bytes_raw()
        self.key_id = sha256(name.encode() + b"\n" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(self.public).decode()}"

    def line(self, text: str, timestamp: int = 1_679_315_147) -> str:
        """The signature line, with its newline, over the note text `text`."""
        signature = self.key.sign(b"cosignature/v1\ntime %d\n" % timestamp + text.encode())
        return f"\u2014 {self.name} {b64encode(self.key_id + timestamp.to_bytes(8) + signature).decode()}\n"
