"""Who gets in at NATS, and what the logins of our own processes may do there: no more than they need."""

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.aio.client import Client

from keyfold.bus import topology
from keyfold.bus.trust import Generation, Login, Root
from keyfold.cli.embedded import Nats

from .partner import gets_in
from .support import logged_in

EV = "EV_ws_1_prod"


class Tried(NamedTuple):
    """Subjects that a login tries, and has to be let or refused."""

    login: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


ALLOWED = [
    Tried("api", ("keyfold.x", "ev.ws_1.prod._.a", "usage.x", f"$JS.API.STREAM.CREATE.{EV}"), ("in.*.>", "_INBOX.x")),
    Tried(
        "worker",
        ("keyfold.x", "lc.ws_1.x", "log.checkpoint", "usage.x", "$JS.API.STREAM.CREATE.LIFECYCLE"),
        ("keyfold.x", "_INBOX.x"),
    ),
    Tried("gateway", ("keyfold.verify",), ("log.checkpoint", "_INBOX.x")),
    Tried("callout", (), ("$SYS.REQ.USER.AUTH",)),
    Tried("accounts", ("$SYS.REQ.CLAIMS.UPDATE",), ("$SYS.ACCOUNT.*.CONNECT", "_INBOX.x")),
]
REFUSED = [
    Tried(
        "api",
        ("lc.ws_1.x", "in.x", "x", "_INBOX.x", "$JS.API.STREAM.DELETE.LIFECYCLE"),
        (">", "ev.>", "lc.>", "usage.>"),
    ),
    Tried("worker", ("ev.ws_1.prod._.a", "in.x", "x", "_INBOX.x"), (">", "in.>", "ev.>", "lc.>")),
    Tried(
        "gateway",
        ("keyfold.appended", "lc.x", "log.checkpoint", "ev.x", "$JS.API.INFO"),
        (">", "keyfold.>", "keyfold.verify"),
    ),
    Tried("callout", ("$SYS.REQ.USER.AUTH", "x", "_INBOX.x", "$SYS.REQ.CLAIMS.UPDATE"), (">", "_INBOX.>", "$SYS.>")),
    Tried(
        "accounts",
        ("$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.x.KICK", "$SYS.REQ.SERVER.x.RELOAD", "x"),
        (">", "$SYS.>", "$SYS.REQ.USER.AUTH", "$SYS.SERVER.>"),
    ),
]


async def refusals(server: Nats, tried: Tried) -> set[str]:
    """What the server refuses of it: `publish x`, `subscribe x`."""
    told: list[str] = []

    async def on_error(error: Exception) -> None:
        told.append(str(error).lower())

    async with logged_in(server, tried.login, error_cb=on_error) as client:
        for subject in tried.publish:
            await client.publish(subject, b"{}")
        for subject in tried.subscribe:
            await client.subscribe(subject)
        await settled(client)
    pattern = r"permissions violation for (publish|subscription) to \"([^\"]+)\""
    found = [match.groups() for text in told if (match := re.search(pattern, text))]
    assert len(found) == len(told), told
    return {f"{'publish' if what == 'publish' else 'subscribe'} {subject}" for what, subject in found}


async def settled(client: Client) -> None:
    for _ in range(2):  # nats-py writes PING before what is pending: the first PONG may be older than that
        await client.flush()


def all_of(tried: Tried) -> set[str]:
    subjects = [f"publish {subject}" for subject in tried.publish] + [f"subscribe {each}" for each in tried.subscribe]
    return {subject.lower() for subject in subjects}


@pytest.mark.parametrize("tried", ALLOWED, ids=lambda tried: tried.login)
async def test_a_login_may_do_what_it_needs(nats_server: Nats, tried: Tried) -> None:
    assert await refusals(nats_server, tried) == set()


@pytest.mark.parametrize("tried", REFUSED, ids=lambda tried: tried.login)
async def test_a_login_may_do_nothing_else(nats_server: Nats, tried: Tried) -> None:
    assert await refusals(nats_server, tried) == all_of(tried)


async def test_an_api_reads_the_stream_of_lifecycle_events_and_cant_change_it(nats_server: Nats) -> None:
    async with logged_in(nats_server, "worker") as worker, logged_in(nats_server, "api") as api:
        await worker.jetstream().add_stream(name="LIFECYCLE", subjects=["lc.>"])
        await worker.jetstream().publish("lc.one", b"1")
        js = api.jetstream()
        config = (await js.stream_info("LIFECYCLE")).config
        for change in (
            lambda: js.publish("lc.forged", b"2"),
            lambda: js.update_stream(config),
            lambda: js.purge_stream("LIFECYCLE"),
            lambda: js.delete_msg("LIFECYCLE", 1),
            lambda: js.delete_stream("LIFECYCLE"),
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await change()
        assert (await js.stream_info("LIFECYCLE")).state.messages == 1
        assert (await js.get_msg("LIFECYCLE", seq=1)).data == b"1"


async def test_a_login_reaches_nothing_of_another_account(nats_server: Nats) -> None:
    """Neither streams nor what is said in it: each has an account of its own but api and worker, who share one."""
    names = ("gateway", "callout", "accounts")
    async with logged_in(nats_server, "worker") as worker:
        heard = await worker.subscribe("keyfold.>")
        await settled(worker)
        for name in names:
            async with logged_in(nats_server, name) as other:
                await other.publish("keyfold.x", name.encode())
                await other.publish("$SYS.REQ.CLAIMS.UPDATE", b"{}", reply="keyfold.x")
                await settled(other)
        await settled(worker)
        assert heard.pending_msgs == 0


def file(folder: Path, login: Login) -> str:
    path = folder / "login.creds"
    path.write_text(login.file())
    return str(path)


async def test_nobody_gets_in_without_a_login(nats_server: Nats) -> None:
    """No API answers the callout here: a server lets nobody in by itself, and waits two seconds before it says so."""
    assert await gets_in(nats_server.url, user_credentials=str(nats_server.credentials("api")))
    strangers = [
        {},
        {"token": "kf_prod_unknown"},
        {"user": "api", "password": "api"},
        {"user": "route", "password": nats_server.root.route_password()},
    ]
    outcomes = await asyncio.gather(*[gets_in(nats_server.url, **each) for each in strangers])
    assert outcomes == [False] * len(strangers)


def forged(server: Nats) -> list[Login]:
    """Logins of another root, of a generation that isn't trusted, without the key that the login is about, and signed
    with a key that signs for another account."""
    trusted: Generation = server.generations[0]
    right = topology.login(trusted, "api")
    claims = {"type": "user", "version": 2, "issuer_account": trusted.identities.core}
    borrowed = trusted.signer("GATEWAY").jwt(trusted.user("api").public, claims, name="api")
    return [
        topology.login(Root(bytes(32)).generation(1), "api"),
        topology.login(server.root.generation(2), "api"),
        right._replace(key=trusted.user("worker")),
        right._replace(jwt=borrowed),
    ]


@pytest.mark.parametrize("which", range(4))
async def test_a_login_that_nobody_gave_is_none(nats_server: Nats, tmp_path: Path, which: int) -> None:
    assert not await gets_in(nats_server.url, user_credentials=file(tmp_path, forged(nats_server)[which]))
