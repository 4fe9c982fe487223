"""One connection to NATS for a process, which is there whenever NATS is."""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from keyfold.app.trouble import Trouble
from keyfold.bus.trust import Login

log = structlog.get_logger()

Handler = Callable[[Msg], Awaitable[None]]


class Handling(NamedTuple):
    """Who is called for which subject, `queue` being the queue group or empty."""

    subject: str
    handler: Handler
    queue: str


GOODBYE = 1.0
"""Seconds that the server gets to confirm that it sends no more."""
BEGUN = 0.05
"""Seconds for what the server was about to deliver when it was told: that can come after what confirms the end, when
nats-py's drain knows the subscription no more and drops it."""


class Bus:
    """Connects in the background and never gives up: a process starts, and goes on, without NATS.

    `url` may name several servers of a cluster, separated by commas.
    nats-py reconnects by itself but closes for good on some errors, so a closed client is replaced by a new one.
    """

    def __init__(self, url: str, *, login: Login | None = None, name: str = "keyfold") -> None:
        self._servers = url.split(",")
        self._login = login
        self._name = name
        self._handlings: list[Handling] = []
        self._subscriptions: dict[Handling, Subscription] = {}
        self._on_loss: list[Callable[[], None]] = []
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows with each connection and reconnection: what was built on an earlier one is gone."""
        self.trouble = Trouble()

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep_connected(), name="nats")

    async def stop(self) -> None:
        while self._keeper is not None and not self._keeper.done():
            self._keeper.cancel()  # more than once: while it connects, nats-py's own wait_for can swallow one
            await asyncio.wait({self._keeper}, timeout=0.5)
        if self._client is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await self._client.close()

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connected client. Raises `nats.errors.ConnectionClosedError` when there is none."""
        if self._client is None or not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        return self._client

    def jetstream(self, timeout: float = 2.0) -> JetStreamContext:
        return self.client.jetstream(timeout=timeout)

    async def handle(self, subject: str, handler: Handler, *, queue: str = "") -> None:
        """Calls the handler for each message on the subject, over every reconnection.

        Of all processes in a queue group (`queue`), one gets the message.
        """
        handling = Handling(subject, handler, queue)
        self._handlings.append(handling)
        if self.is_connected:
            await self._subscribe(self.client, handling)

    async def release(self, subject: str) -> None:
        """The end of all handling of a subject; what the server has sent by then is still handled."""
        for handling in [each for each in self._handlings if each.subject == subject]:
            self._handlings.remove(handling)
            subscription = self._subscriptions.pop(handling, None)
            if subscription is not None and self.is_connected:
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await subscription._conn._send_unsubscribe(subscription._id)
                        await asyncio.sleep(BEGUN)
                        await subscription.drain()  # type: ignore[no-untyped-call]

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Calls back whenever the connection is lost, before there is another one."""
        self._on_loss.append(callback)

    async def tell(self, subject: str, payload: bytes, *, headers: dict[str, str] | None = None) -> None:
        """Publishes if that is possible right now; else says nothing, since nobody relies on it alone."""
        if self.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self.client.publish(subject, payload, headers=headers)

    async def _keep_connected(self) -> None:
        while True:
            closed = asyncio.Event()
            client = Client()
            try:
                await self._connect(client, closed)
                self._client = client
                self._begin()
                for handling in tuple(self._handlings):  # whoever comes meanwhile subscribes by himself
                    await self._subscribe(client, handling)
                await closed.wait()
            except Exception as error:  # noqa: BLE001  # whatever it was, without a connection there is no going on
                log.warning("nats.unreachable", error=type(error).__name__)
            finally:
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    await client.close()
            await asyncio.sleep(0.2)

    def _begin(self) -> None:
        self.generation += 1
        self.trouble.over()

    async def _subscribe(self, client: Client, handling: Handling) -> None:
        self._subscriptions[handling] = await client.subscribe(
            handling.subject, queue=handling.queue, cb=handling.handler
        )

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        async def on_closed() -> None:
            closed.set()

        async def on_reconnected() -> None:
            self._begin()
            log.info("nats.reconnected")

        async def on_disconnected() -> None:
            log.warning("nats.disconnected")
            for callback in self._on_loss:
                callback()

        async def on_error(error: Exception) -> None:
            log.debug("nats.error", error=type(error).__name__)

        login = self._login
        await client.connect(
            self._servers,
            name=self._name,
            user_jwt_cb=login and (lambda: bytearray(login.jwt.encode())),
            signature_cb=login and (lambda nonce: base64.b64encode(login.key.sign(nonce.encode()))),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # it is only slept
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            closed_cb=on_closed,
            reconnected_cb=on_reconnected,
            disconnected_cb=on_disconnected,
            error_cb=on_error,
        )
