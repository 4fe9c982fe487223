"""A wait ends in time, but a loop that is behind itself looks first at what has come."""

import asyncio
import socket
import time

import pytest

from keyfold.app.patience import TURNS, Patience, in_time

SECONDS = 0.05


async def handed_on(reader: asyncio.StreamReader, times: int) -> bytes:
    """What comes, through so many hands: each takes two turns."""
    loop = asyncio.get_running_loop()
    answer = await reader.readexactly(2)
    for _ in range(times):
        hand = loop.create_future()
        loop.call_soon(hand.set_result, None)
        await hand
    return answer


async def test_what_came_while_the_loop_was_busy_counts() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        async with in_time(SECONDS):
            waiting = asyncio.create_task(handed_on(reader, TURNS // 4))
            await asyncio.sleep(0)
            theirs.sendall(b"ok")
            time.sleep(2 * SECONDS)  # the loop is busy
            assert await waiting == b"ok"
    writer.close()
    await writer.wait_closed()


async def test_what_doesnt_come_is_not_waited_for() -> None:
    began = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with in_time(SECONDS):
            await asyncio.Event().wait()
    assert time.perf_counter() - began >= SECONDS


async def test_a_wait_that_is_over_ends_nothing_any_more() -> None:
    ended: list[int] = []
    for turns in (0, 1, TURNS // 2):  # before its time, and in the turns after
        patience = Patience(0, lambda: ended.append(0))
        for _ in range(turns):
            await asyncio.sleep(0)
        patience.cancel()
    async with in_time(SECONDS):
        pass
    await asyncio.sleep(2 * SECONDS)
    assert not ended


async def test_somebody_elses_cancellation_is_no_timeout() -> None:
    async def wait() -> None:
        async with in_time(60):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
