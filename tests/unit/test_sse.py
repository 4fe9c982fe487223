"""The response that goes on: how events look on the line, and that whatever ends it, ends it wholly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keyfold.domain.refusals import Unavailable
from keyfold.web import flow
from keyfold.web.sse import EventStream, Item, encoded


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (Item("7", None, b"{}"), b"id: 7\ndata: {}\n\n"),
        (Item(None, "closed", b""), b"event: closed\ndata: \n\n"),
        (Item("7", "x", b"a\nb\r\nc\rd"), b"id: 7\nevent: x\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
    ],
)
def test_an_event_on_the_line(item: Item, line: bytes) -> None:
    assert encoded(item) == line


class Source:
    """Items that a test gives, and whether they were closed, by whom."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Item | Exception | None] = asyncio.Queue()
        self.tasks: list[Any] = []

    async def items(self) -> AsyncIterator[Item]:
        self.tasks.append(asyncio.current_task())
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.tasks.append(asyncio.current_task())


class Line:
    def __init__(self) -> None:
        self.body = b""
        self.ended = False
        self.gone = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.body += message.get("body", b"")
        self.ended = message["type"] == "http.response.body" and not message["more_body"]

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def alive() -> bool:
    return True


async def serve(source: Source, line: Line, lives: Any = alive) -> None:
    scope: Any = {}
    async with asyncio.timeout(5):
        await EventStream(source.items(), alive=lives)(scope, line.receive, line.send)


async def test_items_are_sent_until_there_are_no_more() -> None:
    source, line = Source(), Line()
    for item in (Item("1", None, b"a"), Item("2", None, b"b"), None):
        source.queue.put_nowait(item)
    await serve(source, line)
    assert line.body == b"retry: 1000\n\nid: 1\ndata: a\n\nid: 2\ndata: b\n\n"
    assert line.ended
    assert_closed(source)


def assert_closed(source: Source) -> None:
    """By the task that ran it: what a generator holds open may belong to that task."""
    assert len(source.tasks) == 2
    assert source.tasks[0] is source.tasks[1]


async def test_when_the_reader_is_gone_the_items_are_closed_and_nothing_is_sent() -> None:
    source, line = Source(), Line()
    source.queue.put_nowait(Item("1", None, b"a"))
    serving = asyncio.create_task(serve(source, line))
    await asyncio.sleep(0.01)
    line.gone.set()
    await serving
    assert not line.ended
    assert_closed(source)
    assert len(asyncio.all_tasks()) == 1


async def test_a_reader_that_leaves_while_an_event_is_on_its_way_leaves_nothing_open() -> None:
    source, line = Source(), Line()
    stuck, plain = asyncio.Event(), line.send

    async def send(message: Any) -> None:
        if b"data" in message.get("body", b""):
            stuck.set()
            await asyncio.Event().wait()
        await plain(message)

    line.send = send  # type: ignore[method-assign]
    source.queue.put_nowait(Item("1", None, b"a"))
    serving = asyncio.create_task(serve(source, line))
    await stuck.wait()
    line.gone.set()
    await serving
    assert_closed(source)


@pytest.mark.parametrize("answer", [False, Unavailable("down")])
async def test_it_ends_when_the_reader_may_not_read_any_more_or_nobody_knows(
    answer: bool | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "RECHECK", 0.01)
    source, line, answers = Source(), Line(), [True, True]

    async def lives() -> bool:
        if answers:
            return answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    await serve(source, line, lives)
    assert line.ended
    assert_closed(source)


async def test_items_that_are_unavailable_end_it_and_a_bug_in_them_is_not_hidden() -> None:
    source, line = Source(), Line()
    source.queue.put_nowait(Unavailable("down"))
    await serve(source, line)
    assert line.ended
    source, line = Source(), Line()
    source.queue.put_nowait(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await serve(source, line)
    assert not line.ended


async def test_a_quiet_stream_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "HEARTBEAT", 0.01)
    source, line = Source(), Line()
    serving = asyncio.create_task(serve(source, line))
    await asyncio.sleep(0.05)
    line.gone.set()
    await serving
    assert line.body.count(b": heartbeat\n\n") >= 2
