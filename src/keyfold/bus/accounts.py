"""The accounts of access keys at the servers: opened when a key connects, shut the moment it dies."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from nats.aio.msg import Msg

from keyfold.bus.connection import Bus
from keyfold.bus.topology import KeyAccount, key_account_jwt
from keyfold.bus.trust import Generation
from keyfold.domain.refusals import Unavailable

UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
PATIENCE = 1.0
"""Seconds that a server gets to take an account."""
CAPACITY = 100_000
"""Accounts that are remembered as pushed."""


class _Pushed(msgspec.Struct):
    account: KeyAccount
    issued_at: int
    servers: set[str]


class Accounts:
    """Each push goes to all servers at once. `generations` are those that servers trust, the newest first: keys connect
    to an account of the newest, and die in the accounts of all."""

    def __init__(self, bus: Bus, generations: Sequence[Generation]) -> None:
        self._bus = bus
        self._generations = generations
        self._pushed: OrderedDict[str, _Pushed] = OrderedDict()
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._waiting: dict[str, asyncio.Queue[Msg]] = {}
        self.public = lru_cache(CAPACITY)(self._public)

    async def start(self) -> None:
        await self._bus.handle(f"{self._inbox}.*", self._on_reply)

    def is_account(self, account: str, key_id: str) -> bool:
        """Whether this is the public key of an account of the access key."""
        return account in self.public(key_id)

    def opened(self, key_id: str) -> KeyAccount | None:
        """The account as this process has pushed it last."""
        pushed = self._pushed.get(key_id)
        return pushed.account if pushed else None

    async def open(self, account: KeyAccount, server: str | None = None) -> None:
        """Returns when the server with this id has the account just like this; None is any. Raises `Unavailable`."""
        pushed = self._pushed.get(account.key_id)
        if pushed and pushed.account == account and server in pushed.servers:
            return
        await self._push(self._generations[0], account, server)

    def assume(self, account: KeyAccount) -> None:
        """Another process has pushed it."""
        self._pushed[account.key_id] = _Pushed(account, int(time.time()), set())

    async def shut(self, key_id: str) -> None:
        """Every server drops the key's connections and lets nobody in. Raises `Unavailable` when none has answered."""
        account = KeyAccount(key_id, connections=0)
        await asyncio.gather(*[self._push(each, account, None) for each in self._generations])

    async def _push(self, generation: Generation, account: KeyAccount, server: str | None) -> None:
        pushed = self._pushed.pop(account.key_id, None)
        # servers that were apart take the newer one of two, in whole seconds: each of ours is newer than the last
        issued_at = max(int(time.time()), pushed.issued_at + 1 if pushed else 0) + (account.connections == 0)
        pushed = _Pushed(account, issued_at, set())
        self._pushed[account.key_id] = pushed
        if len(self._pushed) > CAPACITY:
            self._pushed.popitem(last=False)
        token = key_account_jwt(generation, account, issued_at)
        await self._tell(token.encode(), pushed.servers, server)

    async def _tell(self, token: bytes, servers: set[str], wanted: str | None) -> None:
        ticket = secrets.token_hex(8)
        replies = self._waiting[ticket] = asyncio.Queue()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._bus.client.publish(UPDATE, token, reply=f"{self._inbox}.{ticket}")
                while not servers or not (wanted is None or wanted in servers):
                    servers.add(_server_of(await replies.get()))
        except Exception as error:
            raise Unavailable("NATS doesn't take accounts right now. Try again.") from error
        finally:
            del self._waiting[ticket]

    async def _on_reply(self, message: Msg) -> None:
        replies = self._waiting.get(message.subject.rpartition(".")[2])
        if replies is not None:
            replies.put_nowait(message)

    def _public(self, key_id: str) -> frozenset[str]:
        return frozenset(each.account(key_id).public for each in self._generations)


def _server_of(reply: Msg) -> str:
    """The id of a server that took the account. Raises `ValueError` for one that didn't."""
    answer: dict[str, Any] = msgspec.json.decode(reply.data)
    if "error" in answer:
        raise ValueError(str(answer["error"]))
    return str(answer["server"]["id"])
