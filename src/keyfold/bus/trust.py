"""Trust material: every NATS key of an installation, derived from one root secret (HKDF, RFC 5869).

The root gives the identities, which stay: the operator and the accounts SYS, AUTH, CORE and GATEWAY. From it, and never
back to it, come generations of working keys: what signs accounts and users, the logins of our own processes, what seals
the callout's requests, and the account of each access key. Processes get a generation, and no root; a new generation is
a rotation of all that a process ever held.
"""

import base64
import re
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfold.bus.nkeys import Kind, NKey, XKey, credentials, from_seed, public_text, raw_public

ACCOUNTS = ("SYS", "AUTH", "CORE", "GATEWAY")
ROOT_LENGTH = 32
"""The fewest bytes that a root has."""
_KEY = 32

OPEN = {
    "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
}  # fmt: skip
"""The limits of an account that has none."""

Permissions = dict[str, dict[str, list[str]]]


class Login(NamedTuple):
    """What a process logs in with: a user's JWT, and the key that it is about."""

    jwt: str
    key: NKey

    def file(self) -> str:
        return credentials(self.jwt, self.key)


class Identities(NamedTuple):
    """The public keys that stay through all rotations."""

    sys: str
    auth: str
    core: str
    gateway: str


class Generation:
    """The working keys of one generation, from its secret of 32 bytes and the public identities."""

    def __init__(self, number: int, secret: bytes, identities: Identities) -> None:
        self.number = number
        self.identities = identities
        self._secret = secret
        self.operator = self.key("operator", "operator")
        """Signs the accounts of access keys."""
        self.xkey = XKey(_derive(secret, "callout"))
        self._signers = {name: self.key("account", f"signs {name}") for name in ACCOUNTS}

    def __repr__(self) -> str:
        return f"Generation({self.number})"

    def key(self, kind: Kind, purpose: str) -> NKey:
        return NKey(kind, _derive(self._secret, purpose))

    def account(self, key_id: str) -> NKey:
        """The account of an access key."""
        return self.key("account", f"account {key_id}")

    def signer(self, account: str) -> NKey:
        """Signs the users of one of our own accounts."""
        return self._signers[account]

    def user(self, name: str) -> NKey:
        """The key that one of our own logins proves itself with."""
        return self.key("user", f"user {name}")

    def login(self, account: str, name: str, permissions: Permissions | None = None) -> Login:
        """A login to one of our own accounts, which may do everything unless it is narrowed."""
        key, identity = self.user(name), getattr(self.identities, account.lower())
        claims = user_claims(permissions or {}) | {"issuer_account": identity}
        return Login(self.signer(account).jwt(key.public, claims, name=name), key)

    def setting(self) -> str:
        """What a process of the API is given, for `KEYFOLD_NATS_KEYS`."""
        publics = b"".join(raw_public(each) for each in self.identities)
        return f"{self.number}:{base64.b64encode(self._secret + publics).decode()}"


class Root:
    """The root secret: at least 32 bytes. Kept where `keyfold nats config` runs, and nowhere else."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < ROOT_LENGTH:
            raise ValueError(f"A root has {ROOT_LENGTH} bytes or more.")
        self._secret = secret
        self.operator = NKey("operator", _derive(secret, "operator"))
        self.accounts = {name: NKey("account", _derive(secret, f"account {name}")) for name in ACCOUNTS}

    def __repr__(self) -> str:
        return f"Root({self.operator.public})"

    @property
    def identities(self) -> Identities:
        return Identities(*(self.accounts[name].public for name in ACCOUNTS))

    def generation(self, number: int) -> Generation:
        return Generation(number, _derive(self._secret, f"generation {number}"), self.identities)

    def route_password(self) -> str:
        """What the servers of a cluster show each other. Stays through all rotations: no process of ours has it."""
        return _derive(self._secret, "routes").hex()

    def sentinel(self) -> str:
        """The login of a client that has none, which may do nothing but be asked for its access key."""
        nothing = {"deny": [">"]}
        key = NKey("user", _derive(self._secret, "sentinel"))
        claims = user_claims({"pub": nothing, "sub": nothing}) | {"bearer_token": True}
        return self.accounts["AUTH"].jwt(key.public, claims, issued_at=0, name="sentinel")


def user_claims(permissions: Permissions) -> dict[str, Any]:
    """The claims of a user (JWT version 2) with permissions such as `{"pub": {"allow": […]}, "sub": …}`."""
    return {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}, **permissions}


def account_claims(limits: dict[str, Any], **claims: Any) -> dict[str, Any]:
    """The claims of an account (JWT version 2)."""
    return {"type": "account", "version": 2, "limits": {**OPEN, **limits}, **claims}


def read_keys(text: str) -> tuple[Generation, ...]:
    """The generations in `KEYFOLD_NATS_KEYS`, `1:<base64>,2:<base64>`, in this order. Raises `ValueError`.

    The first is the one that a process uses; it knows the others, which other processes may be using already or still.
    """
    found: dict[int, Generation] = {}
    for part in text.split(","):
        number, _, encoded = part.strip().partition(":")
        data = base64.b64decode(encoded, validate=True)
        if not re.fullmatch("[1-9][0-9]{0,3}", number) or len(data) != _KEY * (1 + len(ACCOUNTS)):
            raise ValueError("not a generation")
        if int(number) in found:
            raise ValueError("a generation stands there twice")
        secret, *publics = (data[n : n + _KEY] for n in range(0, len(data), _KEY))
        identities = Identities(*(public_text("account", each) for each in publics))
        found[int(number)] = Generation(int(number), secret, identities)
    return tuple(found.values())


def read_credentials(text: str) -> Login:
    """The login in a credentials file. Raises `ValueError`."""
    found = re.findall(r"-----BEGIN [A-Z ]+-----\s*(\S+)\s*-+END", text)
    if len(found) != 2:
        raise ValueError("not a credentials file")
    return Login(found[0], from_seed(found[1]))


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY, salt=b"keyfold nats", info=purpose.encode()).derive(secret)
