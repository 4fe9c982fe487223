"""A consumer being read: pulled from for ever, each event answered for, and kept from coming again meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from keyfold_client import _retry
from keyfold_client._road import Found, NotNative, Source
from keyfold_client.errors import KeyfoldError
from keyfold_client.models import Delivery, Verb, event_fields

log = logging.getLogger("keyfold_client")

WAIT = 20.0
"""Seconds that a pull waits for an event."""
EXTEND = 10.0
"""Seconds after which what is in hand is extended. A delivery waits 30 for its answer."""
TRIES = 5
"""How often an answer is tried, before the event may come again."""


class Consumption:
    """`open_source` gives the source, when the first event is asked for."""

    def __init__(self, open_source: Callable[[], Awaitable[Source]], *, batch: int) -> None:
        self._open_source = open_source
        self._batch = batch
        self._source: Source | None = None
        self._current = ""
        self._closing = asyncio.Lock()
        self._in_hand: dict[str, Found] = {}
        self._acks: list[Found] = []
        self._acking: asyncio.Task[None] | None = None
        self._extending: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[Delivery, None]:
        """Each once its predecessor is done with. Raises `KeyfoldError` when there is no going on."""
        try:
            self._extending = asyncio.create_task(self._extend())
            while True:
                for found in await self._pulled():
                    delivery = self._delivery(found)
                    if delivery is None:
                        log.warning("The event %d can't be read, and is left out.", found.sequence)
                        del self._in_hand[found.token]
                        await self._settle("terminate", [found], None)
                        continue
                    self._current = found.token
                    yield delivery
                    self._succeed(found)
                await self._acknowledged()  # never more in hand than a batch
        finally:
            await self.close()

    async def close(self) -> None:
        """What is in hand comes again: what nobody has begun with at once."""
        async with self._closing:
            if self._extending is not None:
                self._extending.cancel()
            await self._acknowledged()
            source, self._source = self._source, None
            if source is None:
                return
            begun = [self._in_hand.pop(self._current)] if self._current in self._in_hand else []
            spare = [*self._in_hand.values(), *await source.close()]
            self._in_hand.clear()
            for found, delay in ((begun, None), (spare, 0.0)):
                if found:
                    with contextlib.suppress(KeyfoldError):
                        await source.settle("nack", found, delay)

    async def _pulled(self) -> list[Found]:
        """Waits out whatever passes by itself."""
        for wait in _retry.waits():
            try:
                if self._source is None:
                    self._source = await self._open_source()
                pulled = await self._source.pull(self._batch, WAIT)
            except KeyfoldError as error:
                if isinstance(error, NotNative):
                    self._source = None  # the next one goes over HTTP
                await _retry.soon(wait, error)
            else:
                self._in_hand.update((each.token, each) for each in pulled)
                return pulled
        return []

    def _delivery(self, found: Found) -> Delivery | None:
        try:
            event = msgspec.json.decode(found.event, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        fields = event_fields(event, sequence=found.sequence, deliveries=found.deliveries)
        return Delivery(token=found.token, settle=self._answer, **fields)

    async def _answer(self, delivery: Delivery, verb: Verb, delay: float | None) -> None:
        """What the app says of an event itself; only the first counts."""
        found = self._in_hand.get(delivery.token)
        if found is None:
            return
        if verb != "extend":
            del self._in_hand[delivery.token]
        await self._settle(verb, [found], delay)

    def _succeed(self, found: Found) -> None:
        """Acknowledged soon, together with others that succeed meanwhile."""
        if self._in_hand.pop(found.token, None) is not None:
            self._acks.append(found)
            if self._acking is None or self._acking.done():
                self._acking = asyncio.create_task(self._acknowledge())

    async def _acknowledged(self) -> None:
        if self._acking is not None:
            await asyncio.wait({self._acking})  # not cancelled with whoever waits

    async def _acknowledge(self) -> None:
        while self._acks:
            acks, self._acks = self._acks, []
            await self._settle("ack", acks, None)

    async def _settle(self, verb: Verb, found: list[Found], delay: float | None) -> None:
        """At least once means that it may fail: then the events come again."""
        for _, wait in zip(range(TRIES), _retry.waits(), strict=False):
            if self._source is None:
                return
            try:
                await self._source.settle(verb, found, delay)
            except KeyfoldError as error:
                if not error.is_transient:
                    log.warning("%d events could not be answered for (%s), and may come again.", len(found), error.code)
                    return
                await asyncio.sleep(wait)
            else:
                return

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(EXTEND)
            if self._in_hand and self._source is not None:
                with contextlib.suppress(KeyfoldError):
                    await self._source.settle("extend", [*self._in_hand.values()], None)
