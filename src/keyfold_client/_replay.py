"""Events read again from a place in their stream, as server-sent events, which nothing is acknowledged of."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from keyfold_client import _retry
from keyfold_client._http import Http
from keyfold_client._road import EVENTS
from keyfold_client.errors import KeyfoldError, Unreachable
from keyfold_client.models import Event, event_fields


class Message(NamedTuple):
    """One event of a stream (WHATWG HTML, 9.2). `id` is empty where none was given yet."""

    id: str
    event: str
    data: str


class Parser:
    """Takes lines without their ends, and gives a message at each empty one that ends some data."""

    def __init__(self) -> None:
        self._id = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Message | None:
        if not line:
            message = Message(self._id, self._event or "message", "\n".join(self._data))
            had_data, self._event, self._data = bool(self._data), "", []
            return message if had_data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id" if "\0" not in value:
                self._id = value
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
        return None


def place(start: str | int | datetime) -> str:
    """`beginning`, `end`, a sequence, or a time, as the API takes it. Raises `ValueError`."""
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError("The time needs a time zone, such as datetime.UTC.")
        return start.isoformat()
    if isinstance(start, int) and start > 0:
        return str(start)
    if start in ("beginning", "end"):
        return str(start)
    raise ValueError('A replay starts at "beginning", "end", a sequence from 1 on, or a time.')


async def replay(http: Http, start: str, topics: Iterable[str]) -> AsyncGenerator[Event, None]:
    """All that the key may receive, in order, each once, over every break of the line, and on with what comes.

    Raises `KeyfoldError` when there is no going on.
    """
    params, headers = {"from": start}, {"Accept": "text/event-stream"}
    if chosen := ",".join(topics):
        params["topics"] = chosen
    waits = _retry.waits()
    while True:
        try:
            async with http.stream(f"{EVENTS}/stream", params, headers) as response:
                parser = Parser()
                async for line in response.aiter_lines():
                    message = parser.feed(line)
                    if message is not None and message.event == "message":  # not why it ends: asking again tells that
                        yield _event(message)
                        headers["Last-Event-ID"], waits = message.id, _retry.waits()
            raise Unreachable("The stream has ended.")
        except KeyfoldError as error:
            await _retry.soon(next(waits), error)


def _event(message: Message) -> Event:
    event = msgspec.json.decode(message.data, type=dict[str, Any])
    return Event(**event_fields(event, sequence=int(message.id)))
