"""The client for asyncio."""

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakSet

from keyfold_client import _nats, _replay, _retry, _road
from keyfold_client._connection import Connection
from keyfold_client._consume import Consumption
from keyfold_client._http import Http
from keyfold_client._keyring import Keyring
from keyfold_client._road import OWN, HttpSource, Native, NotNative, Source
from keyfold_client._rotate import OnRotate, Rotation
from keyfold_client._verify import Verifier
from keyfold_client.models import Delivery, Event, Receipt, Rotated, Verification, encoded

PATIENCE = 60.0
"""Seconds that an event is tried again for. Keyfold knows an event that comes twice for two minutes."""
_LONGEST_PATIENCE = 110.0
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


def connect(
    url: str,
    *,
    key: str,
    nats_url: str | None = None,
    on_rotate: OnRotate | None = None,
    rotate_ahead: timedelta = timedelta(days=1),
    patience: float = PATIENCE,
) -> "AsyncClient":
    """A client for `async with`. Events go over NATS with `nats_url`, and over HTTP without, with the same interface.

    With `on_rotate` the key rotates by itself, `rotate_ahead` of the time when it is due. The callback gets the new
    secret, to store it; it is used as soon as the callback returns.
    """
    return AsyncClient(
        url, key=key, nats_url=nats_url, on_rotate=on_rotate, rotate_ahead=rotate_ahead, patience=patience
    )


class AsyncClient:
    """Connects when it is first used, reconnects by itself, and gives up when Keyfold refuses the key."""

    def __init__(
        self,
        url: str,
        *,
        key: str,
        nats_url: str | None = None,
        on_rotate: OnRotate | None = None,
        rotate_ahead: timedelta = timedelta(days=1),
        patience: float = PATIENCE,
    ) -> None:
        if not 0 < patience <= _LONGEST_PATIENCE:
            raise ValueError(f"Be patient for up to {_LONGEST_PATIENCE:g} seconds: later, it could be stored twice.")
        self._keyring = Keyring(key)
        self._patience = patience
        self._http = Http(url, self._keyring)
        self._nats = Connection(nats_url, self._keyring, self._http.refusal) if nats_url else None
        self._rotation = Rotation(
            self._http, self._keyring, on_rotate=on_rotate, ahead=rotate_ahead, renewed=self._renewed
        )
        self._rotates_itself = on_rotate is not None
        self._rotating: asyncio.Task[None] | None = None
        self._verifier = Verifier(self._http)
        self._consumptions: WeakSet[Consumption] = WeakSet()

    def __repr__(self) -> str:
        return f"<keyfold_client.AsyncClient {self._keyring} over {self.road}>"

    @property
    def road(self) -> Literal["http", "nats"]:
        return "http" if self._nats is None else "nats"

    async def __aenter__(self) -> Self:
        if self._rotates_itself:
            self._rotating = asyncio.create_task(self._rotation.run(), name="keyfold rotation")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """What consumers have in hand is given back."""
        if self._rotating is not None:
            self._rotating.cancel()
            await asyncio.gather(self._rotating, return_exceptions=True)
        await asyncio.gather(*[each.close() for each in self._consumptions])
        if self._nats is not None:
            await self._nats.close()
        await self._http.close()

    async def publish(
        self,
        topic: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002  # the attribute's name
        type: str | None = None,  # noqa: A002
        to: Sequence[str] = (),
        ttl: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Receipt:
        """Returns when the event is stored. Tries again with the same id after whatever passes: it is stored once.

        `data` is a JSON value, or bytes. `id` is a new one by default, `type` the topic with dots. `to` are partners'
        ids (`prt_…`): only they get it; `ttl` is in seconds; `attributes` are further ones of CloudEvents, such as
        `subject`. Raises `KeyfoldError`; `Unreachable` means that nobody knows.
        """
        if _TOPIC.fullmatch(topic) is None:
            raise ValueError(f"{topic!r} is not a topic, such as app/order/created.")
        payload = encoded(data, id=id or str(uuid.uuid4()), type=type, to=to, ttl=ttl, attributes=attributes or {})

        async def attempt(seconds: float) -> Receipt:
            if self._nats is None:
                return await _road.publish(self._http, topic, payload, seconds)
            return await _nats.publish(self._nats, topic, payload, seconds)

        return await _retry.patiently(attempt, self._patience)

    def consume(
        self, *, group: str | None = None, topics: Sequence[str] = (), batch: int = 50
    ) -> AsyncGenerator[Delivery, None]:
        """Every event that the key may receive, from where it, or the key that it has followed, has stopped.

        An event is acknowledged when the loop's body is done with it. When the body raises or breaks, it comes again,
        unless it was answered for by itself: see `Delivery`. At least once: an event can come twice.

        All who consume with the same `group` share its events; it is made when it isn't there, for these `topics` or
        all, beginning with what is published from then on. `batch` is how many events are in hand at once.
        """
        if topics and group is None:
            raise ValueError("Topics are those of a group: give group=…, or leave them out.")
        if not 1 <= batch <= 256:
            raise ValueError("A batch has 1 to 256 events.")
        consumption = Consumption(lambda: self._source(group or OWN, topics), batch=batch)
        self._consumptions.add(consumption)
        return consumption.events()

    def replay(
        self, *, start: Literal["beginning"] | int | datetime, topics: Sequence[str] = ()
    ) -> AsyncGenerator[Event, None]:
        """Events from a place on, and those to come: nothing is acknowledged, and `consume` isn't moved by it.

        `start` is the beginning of what the key may read, a sequence, or a time. Each comes once, in order.
        """
        return _replay.replay(self._http, _replay.place(start), topics)

    async def rotate(self) -> Rotated:
        """Gives the key a successor, which the client goes on with. `on_rotate` gets its secret first, to store it; the
        old key goes on for the overlap that the integration's policy says."""
        return await self._rotation.rotate(self._patience)

    async def verify(
        self,
        key: str,
        *,
        action: str | None = None,
        topic: str | None = None,
        address: str | None = None,
        max_age: float = 1.0,
    ) -> Verification:
        """Whether somebody's key may be used, for gateways: with an account or integration key that has `keys:verify`.

        `address` is where that key came from. An answer is remembered for `max_age` seconds, 0 for not at all: for as
        long a revoked key may still be called valid. Raises `KeyfoldError`: without an answer nothing is valid.
        """
        return await self._verifier.verify(key, action=action, topic=topic, address=address, max_age=max_age)

    async def _source(self, name: str, topics: Sequence[str]) -> Source:
        """The consumer over NATS where it can be had there: not if Keyfold has to look into each event."""

        async def native() -> Native:
            listed = await _road.consumer(self._http, name, topics)
            if listed.native is None:
                raise NotNative(name)
            return listed.native

        listed = await _road.consumer(self._http, name, topics)
        if self._nats is None or listed.native is None:
            return HttpSource(self._http, name)
        return _nats.NativeSource(self._nats, native)

    async def _renewed(self) -> None:
        if self._nats is not None:
            await self._nats.renew()
