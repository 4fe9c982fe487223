"""The reaper: keeps the accounts of connected keys as their keys are, and ends those of keys that die."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Set
from typing import Any
from zlib import crc32

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg

from keyfold.app.cancellation import obey_cancellation
from keyfold.app.memory import Known
from keyfold.app.ports import Clock
from keyfold.app.verifier import Verifier
from keyfold.bus.accounts import Accounts
from keyfold.bus.connection import Bus
from keyfold.bus.topology import KeyAccount
from keyfold.domain.ids import is_id
from keyfold.domain.judgement import Question
from keyfold.domain.refusals import Unavailable
from keyfold.metrics import REAPED

log = structlog.get_logger()

CONNECTED = "$SYS.ACCOUNT.*.CONNECT"
CONNECTIONS = "$SYS.REQ.SERVER.PING.CONNZ"
AT_ONCE = 32
"""Keys that are looked at in parallel."""
SWEEP = 30.0
"""Seconds between two looks at everything that is connected."""
PARTS = 10
"""Sweeps until all keys have been looked at that are watched: of what moves about them a process is told anyway."""
PAGE = 1_024
"""Connections that a server tells of at a time."""
PATIENCE = 1.0
"""Seconds that servers get to tell of a page. The first one takes as long: nobody knows yet how many will answer."""


class Reaper:
    """Three ways to a dead connection, for one that was overlooked by the others: what moved (milliseconds), who
    connects (a connect that was answered while the key died), and a sweep over all connections (what a process that
    died itself should have done).

    It never trusts a memory: whatever it does to an account follows from the truth, read after what made it look.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        accounts: Accounts,
        account_of: Callable[[Known], Awaitable[KeyAccount]],
        verifier: Verifier,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._accounts = accounts
        self._account_of = account_of
        self._verifier = verifier
        self._clock = clock
        self._streams: dict[str, frozenset[str]] = {}
        self._dependent: dict[str, set[str]] = {}
        self._dead: set[str] = set()
        self._idle: set[str] = set()
        self._due: dict[str, None] = {}
        self._swept: dict[str, None] = {}
        self._servers: set[str] = set()
        self._turn = 0
        self._news = asyncio.Event()
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._pages: dict[str, asyncio.Queue[Any]] = {}

    def granted(self, known: Known) -> None:
        """The key is about to have connections: it is watched from now on."""
        key = known.subject.key
        self._forget(key.id)
        self._streams[key.id] = known.streams | ({key.partner_id} if key.partner_id else set())
        for stream in self._streams[key.id]:
            self._dependent.setdefault(stream, set()).add(key.id)

    def moved(self, streams: Iterable[str]) -> None:
        """These have moved: the keys that depend on them are looked at."""
        for stream in streams:
            for key_id in self._dependent.get(stream, ()):
                self._look_at(key_id)

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._bus.handle(CONNECTED, self._on_connected)
        await self._bus.handle(f"{self._inbox}.*", self._on_page)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sweeping(), name="sweep")
            for n in range(AT_ONCE):
                group.create_task(self._work(), name=f"reaper {n}")

    def _look_at(self, key_id: str) -> None:
        self._due[key_id] = None
        self._news.set()

    async def _work(self) -> None:
        while True:
            obey_cancellation()
            while not (waiting := self._due or self._swept):  # a sweep of thousands is nobody's wait
                self._news.clear()
                await self._news.wait()
            key_id = next(iter(waiting))
            del waiting[key_id]
            try:
                await self._mend(key_id)
            except (Unavailable, nats.errors.Error, OSError):
                await asyncio.sleep(0.1)  # Postgres or NATS are away: nothing is over until it is done
                self._look_at(key_id)

    async def _mend(self, key_id: str) -> None:
        """Brings the account to what the key is by now."""
        known = await self._verifier.truth(key_id)
        usable = known is not None and known.decision(Question(), self._clock()).code in ("valid", "address-needed")
        if known is None or not usable:
            await self._end(key_id)
            return
        self._dead.discard(key_id)
        self.granted(known)
        wanted, opened = await self._account_of(known), self._accounts.opened(key_id)
        if opened is None:  # by another process
            self._accounts.assume(wanted)
        elif opened != wanted:
            if wanted.is_narrower(opened):
                await self._accounts.shut(key_id)  # a pull that is waiting would still be served
            await self._accounts.open(wanted)
            if (await self._verifier.truth(key_id) or known).subject != known.subject:
                self._look_at(key_id)

    async def _end(self, key_id: str) -> None:
        await self._accounts.shut(key_id)
        if key_id not in self._dead:
            self._dead.add(key_id)
            REAPED.inc()
            log.info("key.disconnected", key_id=key_id)

    async def _on_connected(self, message: Msg) -> None:
        client = msgspec.json.decode(message.data)["client"]
        key_id = self._key_of(client.get("acc", ""), client.get("name_tag", ""))
        if key_id and (key_id not in self._streams or key_id in self._dead):
            self._look_at(key_id)

    def _key_of(self, account: str, name: str) -> str | None:
        """Of a connection, if it is that of an access key."""
        return name if is_id("key", name) and self._accounts.is_account(account, name) else None

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                await self._sweep()
            except (Unavailable, nats.errors.Error, OSError):
                await asyncio.sleep(0.2)
            else:
                await asyncio.sleep(SWEEP)

    async def _sweep(self) -> None:
        """Keys that have connections are looked at: at once who isn't watched or should have none, the others in turn.
        Those that have none are no longer watched, unless a server that was there before says nothing. Raises
        `Unavailable` when what was said isn't all of it."""
        connected, servers = await self.connected()
        if self._servers <= servers:
            self._dead &= connected
            for key_id in self._idle - connected:  # twice: who has just got in may not be told of yet
                self._forget(key_id)
            self._idle = {*self._streams} - connected
        self._servers = servers
        self._turn = (self._turn + 1) % PARTS
        self.look_through(each for each in connected if self._is_due(each))

    def _is_due(self, key_id: str) -> bool:
        is_watched = key_id in self._streams and key_id not in self._dead
        return not is_watched or crc32(key_id.encode()) % PARTS == self._turn

    def look_through(self, keys: Iterable[str]) -> None:
        """When nothing else is to be looked at."""
        self._swept.update(dict.fromkeys(keys))
        self._news.set()

    async def connected(self) -> tuple[set[str], set[str]]:
        """The keys that have connections, and the servers that told of them, page after page. Raises `Unavailable`."""
        keys: set[str | None] = set()
        totals: dict[str, int] = {}
        offset = 0
        while not offset or offset < max(totals.values()):
            due = {server for server, total in totals.items() if total > offset}
            for page in await self._told(offset, due):
                server, data = page["server"]["id"], page["data"]
                totals[server] = data["total"]
                due.discard(server)
                keys |= {
                    self._key_of(each.get("account", ""), each.get("name_tag", "")) for each in data["connections"]
                }
            if due or not totals:
                raise Unavailable("A server doesn't tell of its connections.")
            offset += PAGE
        return {each for each in keys if each}, {*totals}

    async def _told(self, offset: int, due: Set[str]) -> list[Any]:
        """A page of each server: until those that are due have told of it, or for as long as there is patience, at
        first, when nobody knows who they are."""
        query, inbox = {"auth": True, "limit": PAGE, "offset": offset}, f"{self._inbox}.{secrets.token_hex(8)}"
        told, pages = asyncio.Queue[Any](), list[Any]()
        self._pages[inbox] = told
        try:
            await self._bus.client.publish(CONNECTIONS, msgspec.json.encode(query), reply=inbox)
            async with asyncio.timeout(PATIENCE):
                while not offset or due - {page["server"]["id"] for page in pages}:
                    pages.append(await told.get())
        except TimeoutError:
            pass
        finally:
            del self._pages[inbox]
        return pages

    async def _on_page(self, message: Msg) -> None:
        page = msgspec.json.decode(message.data)
        if message.subject in self._pages and "data" in page:  # not one that comes late, or says that it can't
            self._pages[message.subject].put_nowait(page)

    def _forget(self, key_id: str) -> None:
        for stream in self._streams.pop(key_id, ()):
            keys = self._dependent[stream]
            keys.discard(key_id)
            if not keys:
                del self._dependent[stream]
