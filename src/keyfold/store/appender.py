"""Group commit: one appender a process, which drains whatever waits into one call of the append function."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import asyncpg

from keyfold.app.patience import Patience, in_time
from keyfold.app.ports import AlreadyAnsweredError, StreamMovedError, Write
from keyfold.domain.refusals import Unavailable
from keyfold.metrics import APPEND_BATCH, APPENDED
from keyfold.store.postgres import NO_ROOM, OUTAGE, PATIENCE, Postgres
from keyfold.store.queries import query

BATCH = 512
"""The most commands in one call."""

Waiting = tuple[Write, asyncio.Future[int]]
OnAppend = Callable[[int, Iterable[str]], None]
"""Told of a commit's last position and of the streams that it moved, before its callers go on."""


class Appender:
    """Appends in the order of the calls. Nothing waiting: straight through. `on_append` is told of each commit."""

    def __init__(self, postgres: Postgres, *, on_append: OnAppend = lambda position, streams: None) -> None:
        self._postgres = postgres
        self._on_append = on_append
        self._waiting: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._statement: Any = None

    async def append(self, write: Write) -> int:
        """The last position of the write. Raises `StreamMovedError`, `AlreadyAnsweredError`, `Unavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append((write, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # costs half of asyncio.wait_for; it ends the future, and what still waits then is never sent
        patience = Patience(PATIENCE, partial(_give_up, future))
        try:
            return await future
        finally:
            patience.cancel()

    async def close(self) -> None:
        if self._running is not None:
            await self._running
        if self._connection is not None:
            self._connection.terminate()

    async def _run(self) -> None:
        try:
            # half at first: the next batch is decided while this one is on its way, instead of all in lockstep
            most = (len(self._waiting) + 1) // 2
            while self._waiting:
                batch: list[Waiting] = []
                while self._waiting and len(batch) < most:
                    write, future = self._waiting.popleft()
                    if not future.done():
                        batch.append((write, future))
                most = BATCH
                if batch:
                    await self._append(batch)
        finally:
            self._running = None

    async def _append(self, batch: list[Waiting]) -> None:
        try:
            statement = await self._prepared()
            result = await statement.fetchrow(*arguments([write for write, _ in batch]), timeout=PATIENCE)
        except OUTAGE as outage:
            if isinstance(outage, NO_ROOM):
                self._postgres.trouble.failed(outage)
            self._disconnect()
            _fail(batch, _unknown_outcome)
        except asyncpg.PostgresError as error:
            await self._append_each(batch, error)
        else:
            self._postgres.trouble.over()
            self._answer(batch, result)

    async def _append_each(self, batch: list[Waiting], error: Exception) -> None:
        """Postgres refused the call and did nothing: find out which command it was, for the others' sake."""
        if len(batch) > 1:
            for one in batch:
                if not one[1].done():  # who gave up meanwhile is left out here as well
                    await self._append([one])
        else:
            self._disconnect()  # should it be the prepared statement that is no good any more, it is made anew
            _fail(batch, lambda: error)

    def _answer(self, batch: list[Waiting], result: Any) -> None:
        APPEND_BATCH.observe(len(batch))
        position, conflicted, replayed = result["before"], set(result["conflicted"]), set(result["replayed"])
        moved: set[str] = set()
        for command, (write, future) in enumerate(batch, 1):
            error: Exception | None = None
            if command in replayed:
                error = AlreadyAnsweredError()
            elif command in conflicted:
                error = StreamMovedError()
            else:
                position += len(write.entries)
                moved.update(entry.stream for entry in write.entries)
            if future.done():
                continue
            if error is None:
                future.set_result(position)
            else:
                future.set_exception(error)
        if position > result["before"]:
            APPENDED.inc(position - result["before"])
            self._on_append(position, moved)

    async def _prepared(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            async with in_time(PATIENCE):
                self._connection = await self._postgres.connect()
                self._statement = await self._connection.prepare(query("append"))
        return self._statement

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = self._statement = None


def arguments(writes: list[Write]) -> tuple[list[Any] | None, ...]:
    """The arrays that `keyfold.append` takes, for a batch of commands numbered from 1."""
    commands: list[int] = []
    entries: list[Any] = []
    digests: list[Any] = []
    replays: list[Any] = []
    data_keys: list[Any] = []
    erased: list[Any] = []
    for command, write in enumerate(writes, 1):
        commands += [command] * len(write.entries)
        entries += write.entries
        digests += [(command, digest.id, digest.pepper, digest.value) for digest in write.digests]
        if write.replay is not None:
            replay = write.replay
            replays.append((command, replay.id, replay.fingerprint, replay.answer, " ".join(replay.subjects)))
        data_keys += [(command, key.subject, key.pepper, key.wrapped) for key in write.data_keys]
        erased += [(command, stream) for stream in write.erased]
    return (
        commands,
        *_columns(entries, 4),
        *_columns(digests, 4),
        *_columns(replays, 5),
        *_columns(data_keys, 4),
        *_columns(erased, 2),
    )


def _columns(rows: list[Any], width: int) -> list[list[Any] | None]:
    """NULL for nothing: it is the same to the function, and cheaper to send than an empty array."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [None] * width


def _fail(batch: list[Waiting], error: Callable[[], Exception]) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error())


def _give_up(future: asyncio.Future[int]) -> None:
    if not future.done():
        future.set_exception(_unknown_outcome())


def _unknown_outcome() -> Unavailable:
    return Unavailable(
        "The database didn't answer in time, so it isn't known whether this was done. "
        "Repeat the request with the same Idempotency-Key, or look before you do."
    )
