"""A key that rotates itself: its successor is stored by the app before it is used."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec

from keyfold_client import _retry
from keyfold_client._http import Http
from keyfold_client._keyring import Keyring
from keyfold_client.errors import KeyfoldError
from keyfold_client.models import Rotated

log = logging.getLogger("keyfold_client")

OnRotate = Callable[[str], Awaitable[None] | None]
"""Stores the new secret, and returns when it is safe."""
LOOK = timedelta(hours=1)
"""How often a client looks when its key is due: policies change."""


class Me(msgspec.Struct, rename="camel"):
    """What the client needs to know of its own key."""

    id: str
    status: str = ""
    rotation_due_at: datetime | None = None
    successor_id: str | None = None
    retires_at: datetime | None = None


class _Successor(msgspec.Struct, rename="camel"):
    id: str
    secret: str
    predecessor: Me


def until_due(me: Me, now: datetime, ahead: timedelta) -> timedelta | None:
    """How long until the key should rotate, never more than an hour; None when it can't, since it has a successor."""
    if me.successor_id is not None:
        return None
    if me.rotation_due_at is None:
        return LOOK
    return min(LOOK, max(timedelta(0), me.rotation_due_at - ahead - now))


class Rotation:
    """`renewed` is awaited when the new key is the one of now."""

    def __init__(
        self,
        http: Http,
        keyring: Keyring,
        *,
        on_rotate: OnRotate | None,
        ahead: timedelta,
        renewed: Callable[[], Awaitable[None]],
    ) -> None:
        self._http = http
        self._keyring = keyring
        self._on_rotate = on_rotate
        self._ahead = ahead
        self._renewed = renewed

    async def rotate(self, patience: float) -> Rotated:
        """Raises `KeyfoldError`, and what `on_rotate` raises: then the old key stays, and its successor, which nobody
        has, is replaced by the next rotation."""
        once = {"Idempotency-Key": str(uuid.uuid4())}  # a lost answer is given again

        async def attempt(seconds: float) -> _Successor:
            return await self._http.call(
                "POST", "/api/v1/keys/self/rotate", _Successor, body={}, headers=once, waits=False, timeout=seconds
            )

        async with self._keyring.turning:
            successor = await _retry.patiently(attempt, patience)
            if self._on_rotate is not None:
                stored = self._on_rotate(successor.secret)
                if inspect.isawaitable(stored):
                    await stored
            self._keyring.secret = successor.secret
        await self._renewed()
        return Rotated(successor.id, successor.secret, successor.predecessor.retires_at)

    async def run(self) -> None:
        """Rotates whenever the key is due, for ever, or until the key has a successor that others hold."""
        waits = _retry.waits()
        while True:
            try:
                me = await self._http.call("GET", "/api/v1/keys/self", Me)
                wait = until_due(me, datetime.now(UTC), self._ahead)
                if wait is None:
                    log.warning("%s has been rotated by somebody else, and retires at %s.", me.id, me.retires_at)
                    return
                if wait > timedelta(0):
                    await asyncio.sleep(wait.total_seconds())
                    continue
                await self.rotate(patience=30)
                waits = _retry.waits()
            except asyncio.CancelledError:
                raise
            except KeyfoldError as error:
                log.warning("The key could not be rotated (%s); another try comes.", error.code)
                await asyncio.sleep(12 * next(waits))
            except Exception:
                # the app could not store it
                log.exception("The new key could not be stored, so the old one stays; another try comes.")
                await asyncio.sleep(12 * next(waits))
