"""One connection to NATS for a process, which is there whenever NATS is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

log = structlog.get_logger()

Handler = Callable[[Msg], Awaitable[None]]


class Bus:
    """Connects in the background and never gives up: a process starts, and goes on, without NATS.

    `url` may name several servers of a cluster, separated by commas.
    nats-py reconnects by itself but closes for good on some errors, so a closed client is replaced by a new one.
    """

    def __init__(self, url: str, *, user: str = "", password: str = "", name: str = "keyfold") -> None:
        self._servers = url.split(",")
        self._user = user
        self._password = password
        self._name = name
        self._handlers: list[tuple[str, Handler]] = []
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows with each connection and reconnection: what was built on an earlier one is gone."""

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

    async def handle(self, subject: str, handler: Handler) -> None:
        """Calls the handler for each message on the subject, over every reconnection."""
        self._handlers.append((subject, handler))
        if self.is_connected:
            await self.client.subscribe(subject, cb=handler)

    async def tell(self, subject: str, payload: bytes) -> None:
        """Publishes if that is possible right now; else says nothing, since nobody relies on it alone."""
        if self.is_connected:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self.client.publish(subject, payload)

    async def _keep_connected(self) -> None:
        while True:
            closed = asyncio.Event()
            client = Client()
            try:
                await self._connect(client, closed)
                self._client = client
                self.generation += 1
                for subject, handler in self._handlers:
                    await client.subscribe(subject, cb=handler)
                await closed.wait()
            except Exception as error:  # noqa: BLE001  # whatever it was, without a connection there is no going on
                log.warning("nats.unreachable", error=type(error).__name__)
            finally:
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    await client.close()
            await asyncio.sleep(0.2)

    async def _connect(self, client: Client, closed: asyncio.Event) -> None:
        async def on_closed() -> None:
            closed.set()

        async def on_reconnected() -> None:
            self.generation += 1
            log.info("nats.reconnected")

        async def on_disconnected() -> None:
            log.warning("nats.disconnected")

        async def on_error(error: Exception) -> None:
            log.debug("nats.error", error=type(error).__name__)

        await client.connect(
            self._servers,
            name=self._name,
            user=self._user or None,
            password=self._password or None,
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
