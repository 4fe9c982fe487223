"""The client for those who don't await: the one for asyncio, on a loop in a thread of its own."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from keyfold_client._rotate import OnRotate
from keyfold_client.client import PATIENCE, AsyncClient
from keyfold_client.models import Delivery, Event, Receipt, Rotated, SyncDelivery, Verb, Verification

T = TypeVar("T")
E = TypeVar("E", bound=Event)


def connect_sync(
    url: str,
    *,
    key: str,
    nats_url: str | None = None,
    on_rotate: OnRotate | None = None,
    rotate_ahead: timedelta = timedelta(days=1),
    patience: float = PATIENCE,
) -> "Client":
    """As `connect`, for `with`. `on_rotate` is called in the client's own thread."""
    return Client(
        AsyncClient(url, key=key, nats_url=nats_url, on_rotate=on_rotate, rotate_ahead=rotate_ahead, patience=patience)
    )


class Client:
    """`AsyncClient` without `await`. May be used by several threads at once."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<keyfold_client.Client of {self._client!r}>"

    @property
    def road(self) -> Literal["http", "nats"]:
        return self._client.road

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="keyfold-client", daemon=True)
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """What consumers have in hand is given back."""
        if self._loop is None or self._thread is None:
            return
        self._run(self._client.close())
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002
        type: str | None = None,  # noqa: A002
        to: Sequence[str] = (),
        ttl: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Receipt:
        """As `AsyncClient.publish`."""
        return self._run(self._client.publish(topic, data, id=id, type=type, to=to, ttl=ttl, attributes=attributes))

    def consume(
        self, *, group: str | None = None, topics: Sequence[str] = (), batch: int = 50
    ) -> Iterator[SyncDelivery]:
        """As `AsyncClient.consume`."""
        with self._iterated(self._client.consume(group=group, topics=topics, batch=batch)) as events:
            for event in events:
                yield self._sync(event)

    def replay(self, *, start: Literal["beginning"] | int | datetime, topics: Sequence[str] = ()) -> Iterator[Event]:
        """As `AsyncClient.replay`."""
        with self._iterated(self._client.replay(start=start, topics=topics)) as events:
            yield from events

    def rotate(self) -> Rotated:
        """As `AsyncClient.rotate`."""
        return self._run(self._client.rotate())

    def verify(
        self,
        key: str,
        *,
        action: str | None = None,
        topic: str | None = None,
        address: str | None = None,
        max_age: float = 1.0,
    ) -> Verification:
        """As `AsyncClient.verify`."""
        return self._run(self._client.verify(key, action=action, topic=topic, address=address, max_age=max_age))

    def _sync(self, delivery: Delivery) -> SyncDelivery:
        def answer(verb: Verb, delay: float | None) -> None:
            self._run(_awaited(delivery.settle(delivery, verb, delay)))

        fields = {name: getattr(delivery, name) for name in Event.__struct_fields__}
        return SyncDelivery(answer=answer, **fields)

    @contextmanager
    def _iterated(self, events: AsyncGenerator[E, None]) -> Iterator[Iterator[E]]:
        try:
            yield self._each(events)
        finally:
            self._run(events.aclose())

    def _each(self, events: AsyncGenerator[E, None]) -> Iterator[E]:
        while (event := self._run(_awaited(anext(events, None)))) is not None:
            yield event

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("Use it in a with block: with keyfold_client.connect_sync(…) as app.")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # an interrupt, say: nothing goes on that nobody waits for
            future.cancel()
            raise


async def _awaited(this: Awaitable[T]) -> T:
    return await this
