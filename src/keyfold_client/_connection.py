"""A connection to NATS that is there whenever NATS is, with the key of now.

nats-py reconnects by itself, but closes for good on errors that pass (an expired login, a full account, a refusal right
after a rotation). So each connection is made anew here, and nats-py reconnects nothing.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyfold_client import _retry
from keyfold_client._keyring import Keyring
from keyfold_client.errors import KeyfoldError, Unreachable

log = logging.getLogger("keyfold_client")

CONNECTING = 5.0
"""Seconds that a server gets to let a client in."""
GOODBYE = 5.0
"""Seconds in which a connection that was replaced finishes what it has begun."""


class LostError(Unreachable):
    """The connection went away while something was under way on it."""

    def __init__(self) -> None:
        super().__init__("The connection to NATS was lost.")


class Link:
    """One connection, until it closes. Requests under way fail as soon as it does."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.client = Client()
        self.closed = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._sizes: dict[str, int] = {}
        self._on_loss: list[Callable[[], None]] = []

    async def open(self, servers: list[str]) -> None:
        """Raises `nats.errors.Error`, `OSError`, `TimeoutError`."""
        async with asyncio.timeout(CONNECTING):
            await self.client.connect(
                servers,
                token=self.key,
                name="keyfold-client",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.1,  # type: ignore[arg-type]  # it is only slept
                connect_timeout=2,
                ping_interval=10,
                max_outstanding_pings=2,
                closed_cb=self._close,
                error_cb=_ignore,
            )
            self._inbox = self.client.new_inbox()
            await self.client.subscribe(f"{self._inbox}.*", cb=self._on_answer)

    async def request(self, subject: str, payload: bytes, headers: dict[str, str], timeout: float) -> Msg:
        """Raises `LostError`, `Unreachable`, `KeyfoldError` for what NATS itself won't take."""
        if self.closed.is_set():
            raise LostError
        token = secrets.token_hex(8)
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[token], self._sizes[token] = answer, len(payload)
        try:
            async with asyncio.timeout(timeout):
                await self.client.publish(subject, payload, reply=f"{self._inbox}.{token}", headers=headers)
                message = await answer
        except TimeoutError:
            raise Unreachable("Keyfold didn't answer over NATS in time.") from None
        except nats.errors.MaxPayloadError:
            raise _too_large() from None
        except (nats.errors.Error, OSError):
            raise LostError from None
        finally:
            del self._answers[token], self._sizes[token]
        if message.headers and message.headers.get("Status") == "503":
            raise Unreachable("Nobody answers at NATS right now.")
        return message

    def on_loss(self, callback: Callable[[], None]) -> None:
        self._on_loss.append(callback)

    async def retire(self) -> None:
        """Closes when what is under way has come in, or after a while."""
        self._notify()
        if self._answers:
            await asyncio.wait({*self._answers.values()}, timeout=GOODBYE)
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self.client.drain()
        await self.end()

    async def end(self) -> None:
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await self.client.close()
        await self._close()

    async def _on_answer(self, message: Msg) -> None:
        answer = self._answers.get(message.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _close(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        too_large = "maximum payload" in str(self.client.last_error).lower()
        # the server says no more than that, and closes: it was the largest of those under way
        guilty = max(self._sizes, key=self._sizes.__getitem__, default=None) if too_large else None
        for token, answer in self._answers.items():
            if not answer.done():
                answer.set_exception(_too_large() if token == guilty else LostError())
        self._notify()

    def _notify(self) -> None:
        for callback in self._on_loss:
            callback()


class Connection:
    """`refusal` asks over the other road why the key isn't taken any more: only then is it over."""

    def __init__(self, url: str, keyring: Keyring, refusal: Callable[[], Awaitable[KeyfoldError | None]]) -> None:
        self._servers = url.split(",")
        self._keyring = keyring
        self._refusal = refusal
        self._link: Link | None = None
        self._over: KeyfoldError | None = None
        self._news = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def link(self, timeout: float | None = None) -> Link:
        """The connection of now, once there is one. Raises `Unreachable` when there is none in time, and `KeyRefused`
        when there won't be one."""
        if self._link is not None and not self._link.closed.is_set():
            return self._link
        if self._keeper is None or self._keeper.done():  # whoever asks again has another try
            self._over = None
            self._keeper = asyncio.create_task(self._keep(), name="keyfold nats")
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._news.clear()
                    if self._over is not None:
                        raise self._over.with_traceback(None)
                    if self._link is not None and not self._link.closed.is_set():
                        return self._link
                    await self._news.wait()
        except TimeoutError:
            raise Unreachable("NATS can't be reached.") from None

    async def has_turned(self, link: Link) -> bool:
        """Whether the key is another than the one of this connection, which is about to be replaced then."""
        return await self._keyring.has_turned(link.key)

    async def renew(self) -> None:
        """Goes over to the key of now: first a new connection, then the end of the old one. Where that isn't possible
        right now, the next connection will have it."""
        if self._link is None:
            return
        fresh = Link(self._keyring.secret)
        try:
            await fresh.open(self._servers)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.info("The connection to NATS stays with the old key for now: %s", type(error).__name__)
            await fresh.end()
            return
        old, self._link = self._link, fresh
        self._news.set()
        task = asyncio.create_task(old.retire())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        while self._keeper is not None and not self._keeper.done():
            self._keeper.cancel()  # more than once: nats-py's own wait_for can swallow one
            await asyncio.wait({self._keeper}, timeout=0.5)
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._link is not None:
            await self._link.end()

    async def _keep(self) -> None:
        """Has a connection at all times, until the key is refused over both roads."""
        while True:
            for wait in _retry.waits():
                link = Link(self._keyring.secret)
                if await self._opened(link):
                    break
                await link.end()
                if self._over is not None:
                    self._news.set()
                    return
                await asyncio.sleep(wait)
            self._link = link
            self._news.set()
            while not self._link.closed.is_set():  # another may have taken its place
                await self._link.closed.wait()
            log.info("The connection to NATS was lost.")

    async def _opened(self, link: Link) -> bool:
        try:
            await link.open(self._servers)
        except (OSError, TimeoutError, nats.errors.NoServersError) as error:
            log.info("NATS can't be reached: %s", type(error).__name__)
        except nats.errors.Error as error:
            log.info("NATS won't have the key right now: %s", error)
            # not while it is being rotated, nor if it has been since
            if not await self.has_turned(link):
                self._over = await self._refusal()
        except asyncio.CancelledError:
            await link.end()
            raise
        else:
            return True
        return False


def _too_large() -> KeyfoldError:
    return KeyfoldError("event-too-large", "NATS takes no message of this size with this key.", status=413)


async def _ignore(error: Exception) -> None:
    log.debug("At NATS: %s", error)
