"""Who is who at NATS: our own accounts and logins, the account of an access key, and the configuration of a server."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from keyfold.bus.trust import Generation, Login, Root, account_claims, read_credentials, read_keys, user_claims
from keyfold.settings import Settings, SettingsError

DOMAIN = "keyfold"
"""The JetStream domain that clients name: under the plain one the server itself answers an account without streams."""
_CONSUMER = f"$JS.{DOMAIN}.API.CONSUMER"
ENVELOPE = 65_536
"""Bytes that a message may have beside its event."""
SUBSCRIPTIONS = 1_000
"""Subscriptions that one access key may have, over all its connections."""

_LIFECYCLE_IS_THE_WORKERS = [
    "lc.>",
    *[f"$JS.API.STREAM.{verb}.LIFECYCLE" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE")],
]
_CALLED = {"resp": {"max": 1, "ttl": 0}}
LOGINS: dict[str, tuple[str, dict[str, Any]]] = {
    "api": (
        "CORE",
        {
            "pub": {
                "allow": ["keyfold.>", "ev.>", "usage.>", "$JS.API.>", "$JS.ACK.>"],
                "deny": _LIFECYCLE_IS_THE_WORKERS,
            },
            "sub": {"allow": ["keyfold.>", "in.>", "_INBOX.>"]},
            **_CALLED,
        },
    ),
    "worker": (
        "CORE",
        {
            "pub": {"allow": ["keyfold.>", "lc.>", "log.checkpoint", "usage.>", "$JS.API.>", "$JS.ACK.>"]},
            "sub": {"allow": ["keyfold.>", "_INBOX.>"]},
        },
    ),
    "gateway": ("GATEWAY", {"pub": {"allow": ["keyfold.verify"]}, "sub": {"allow": ["log.checkpoint", "_INBOX.>"]}}),
    "callout": ("AUTH", {"pub": {"allow": []}, "sub": {"allow": ["$SYS.REQ.USER.AUTH"]}, **_CALLED}),
    "accounts": (
        "SYS",
        {
            "pub": {"allow": ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING.CONNZ"]},
            "sub": {"allow": ["$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT", "_INBOX.>"]},
        },
    ),
}
"""Our own logins, by name: the account, and what they may do in it."""


def login(generation: Generation, name: str) -> Login:
    account, permissions = LOGINS[name]
    return generation.login(account, name, permissions)


class KeyAccount(NamedTuple):
    """What the account of an access key may do. `consumers` are pairs of a stream and a consumer, `networks` those that
    its connections come from.

    `connections` is 0 for one whose key is dead: every server drops what it has of it, and lets nobody in.
    """

    key_id: str
    connections: int
    payload: int = 0
    consumers: tuple[tuple[str, str], ...] = ()
    networks: tuple[str, ...] = ()

    def is_narrower(self, than: "KeyAccount") -> bool:
        """Whether connections that the other one let in could go on with what this one doesn't give."""
        if than.connections == 0:
            return False
        return self.networks != than.networks or not {*than.consumers} <= {*self.consumers}


def key_account_jwt(generation: Generation, account: KeyAccount, issued_at: int) -> str:
    """The JWT of the account: it reaches the ingress and its own consumers, and nothing else exists for it."""
    core, public = generation.identities.core, generation.account(account.key_id).public

    def service(remote: str, local: str, **more: Any) -> dict[str, Any]:
        named = {"name": local, "subject": remote, "account": core, "local_subject": local, "type": "service"}
        return named | more

    # share: the server tells the ingress who sends, in Nats-Request-Info, which no client can fake
    imports = [service(f"in.{public}.>", "events.>", share=True)]
    for stream, consumer in account.consumers:
        asked = (f"MSG.NEXT.{stream}.{consumer}", f"INFO.{stream}.{consumer}")
        imports += [service(f"$JS.API.CONSUMER.{what}", f"{_CONSUMER}.{what}") for what in asked]
        imports.append(service(f"$JS.ACK.{stream}.{consumer}.>", f"$JS.ACK.{stream}.{consumer}.>"))
    limits = {"conn": account.connections, "payload": account.payload + ENVELOPE, "subs": SUBSCRIPTIONS}
    claims = account_claims(limits, imports=imports)
    return generation.operator.jwt(public, claims, issued_at=issued_at, name=account.key_id)


def key_user_jwt(generation: Generation, key_id: str, user: str, expires_at: datetime | None) -> str:
    """The login of one connection of an access key; its end is never after the key's. Who sends what is the ingress'
    business, so that whoever may not is told why."""
    may = ["events.>", f"{_CONSUMER}.MSG.NEXT.>", f"{_CONSUMER}.INFO.>", "$JS.ACK.>"]
    claims = user_claims({"pub": {"allow": may}, "sub": {"allow": ["_INBOX.>"]}})
    top: dict[str, Any] = {} if expires_at is None else {"exp": int(expires_at.timestamp())}
    return generation.account(key_id).jwt(user, claims, name=key_id, **top)


class Cluster(NamedTuple):
    """A server's part in a cluster. `routes` are `host:port` of all its servers, `advertise` where they reach this one
    if that isn't `listen`, `tls` the block of that name for its routes."""

    name: str
    listen: str
    routes: tuple[str, ...]
    advertise: str = ""
    tls: dict[str, str] | None = None


def configuration(
    root: Root,
    generations: Sequence[Generation],
    *,
    name: str,
    listen: str,
    store: Path,
    durable: bool = True,
    cluster: Cluster | None = None,
    more: str = "",
) -> str:
    """The configuration file of one server that trusts these generations. JSON is valid in NATS' own format.

    A server takes the newer of two claims of an account, its own or another's: those of two files may differ in age.
    """
    generations = sorted(generations, key=lambda each: each.number)
    accounts = {each.public: _account(root, generations, account) for account, each in root.accounts.items()}
    kept = {"store_dir": str(store), "sync_interval": "always" if durable else "2m"}
    resolver = {"type": "full", "dir": str(store / "accounts"), "allow_delete": True, "interval": "30s"}
    return f"""\
server_name: {json.dumps(name)}
listen: {json.dumps(listen)}
operator: {_operator(root, generations)}
default_sentinel: {root.sentinel()}
jetstream: {json.dumps(kept)}
resolver: {json.dumps(resolver)}
resolver_preload: {json.dumps(accounts, indent=2)}
{_cluster(root, cluster)}{more}"""


def _operator(root: Root, generations: Iterable[Generation]) -> str:
    claims = {
        "type": "operator",
        "version": 2,
        "system_account": root.accounts["SYS"].public,
        "signing_keys": [each.operator.public for each in generations],
        "strict_signing_key_usage": False,
    }
    # of no age: a server reloads any other change of its file, and refuses to when the operator differs
    return root.operator.jwt(root.operator.public, claims, issued_at=0, name="keyfold")


def _account(root: Root, generations: Sequence[Generation], name: str) -> str:
    signing = {"signing_keys": [each.signer(name).public for each in generations]}
    return root.operator.jwt(root.accounts[name].public, _claims(root, generations, name) | signing, name=name)


def _claims(root: Root, generations: Sequence[Generation], name: str) -> dict[str, Any]:
    match name:
        case "CORE":
            unlimited = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
            return account_claims(unlimited, exports=_EXPORTS)
        case "AUTH":
            callers = [each.user("callout").public for each in generations]
            # one only: the oldest, which every process still opens while a rotation is under way
            callout = {"auth_users": callers, "allowed_accounts": ["*"], "xkey": generations[0].xkey.public}
            return account_claims({}, authorization=callout)
        case "GATEWAY":
            core = root.accounts["CORE"].public
            verify = {"name": "verify", "subject": "keyfold.verify", "account": core, "type": "service"}
            checkpoints = {"name": "checkpoints", "subject": "log.checkpoint", "account": core, "type": "stream"}
            return account_claims({}, imports=[verify, checkpoints])
        case _:
            return account_claims({})


_EXPORTS = [
    {"name": "verify", "subject": "keyfold.verify", "type": "service"},
    {"name": "checkpoints", "subject": "log.checkpoint", "type": "stream"},
    # the second token, and with it whose event it is, is the importing account's: the server sees to that
    {"name": "publish", "subject": "in.*.>", "type": "service", "account_token_position": 2},
    {"name": "next", "subject": "$JS.API.CONSUMER.MSG.NEXT.*.*", "type": "service", "response_type": "Stream"},
    {"name": "info", "subject": "$JS.API.CONSUMER.INFO.*.*", "type": "service"},
    {"name": "ack", "subject": "$JS.ACK.>", "type": "service"},
]


def _cluster(root: Root, cluster: Cluster | None) -> str:
    if cluster is None:
        return ""
    login = {"user": "route", "password": root.route_password()}
    routes = [f"nats://{login['user']}:{login['password']}@{each}" for each in cluster.routes]
    named = {"name": cluster.name, "listen": cluster.listen, "authorization": login, "routes": routes}
    more = {"advertise": cluster.advertise, "tls": cluster.tls}
    return f"cluster: {json.dumps(named | {name: value for name, value in more.items() if value})}\n"


def generations_of(settings: Settings) -> tuple[Generation, ...]:
    """The working keys of an API, of which it uses the first. Raises `SettingsError`."""
    if settings.nats_keys is None:
        raise SettingsError("KEYFOLD_NATS_KEYS is not set. `keyfold nats config` makes it.")
    try:
        return read_keys(settings.nats_keys.reveal.decode())
    except ValueError as error:
        raise SettingsError("KEYFOLD_NATS_KEYS can't be read: give what `keyfold nats config` has made.") from error


def core_login(settings: Settings) -> Login | None:
    """The login that the settings give to a process: the API's from its keys, another's from its credentials file.

    Raises `SettingsError`.
    """
    if settings.nats_keys is not None:
        return login(generations_of(settings)[0], "api")
    if not settings.nats_credentials:
        return None
    try:
        return read_credentials(Path(settings.nats_credentials).read_text())
    except (ValueError, OSError) as error:
        raise SettingsError("The file that KEYFOLD_NATS_CREDENTIALS names is no file of NATS credentials.") from error
