"""A load generator in a process of its own: raw HTTP/1.1 over connections that are kept open.

Takes questions on standard input, one JSON object a line, and answers each with one line.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from functools import partial
from itertools import cycle, islice
from typing import Any

import uvloop


def request(method: str, path: str, headers: dict[str, str], body: str) -> str:
    """The text of a request with a JSON body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])


class Connection(asyncio.Protocol):
    """Sends the request again as soon as it is answered, until `end`. The first answer's body must have `expects`."""

    def __init__(self, text: bytes, expects: bytes, end: float, statuses: Counter[int]) -> None:
        self._text = text
        self._expects = expects
        self._end = end
        self._statuses = statuses
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._text)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or len(rest) < body_length(head):
            return
        self._received = b""
        self._statuses[int(head[9:12])] += 1
        if self._expects not in rest:
            self._close(ValueError(f"an answer without {self._expects.decode()}: {rest[:200]!r}"))
        elif self._transport is None or time.perf_counter() >= self._end:
            self._close(None)
        else:
            self._expects = b""  # looking for it each time would cost as much as the rest
            self._transport.write(self._text)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(error or ConnectionError("the server closed the connection"))

    def _close(self, wrong: ValueError | None) -> None:
        if wrong is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(wrong)
        if self._transport is not None:
            self._transport.close()


def body_length(head: bytes) -> int:
    """Bytes of the body. An answer without a length is a bug here: it would never end."""
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    raise ValueError(f"an answer without Content-Length: {head[:200]!r}")


async def load(question: dict[str, Any]) -> dict[str, object]:
    """Counts answers to `requests`, one for each connection in turn, for some seconds. An error when one has not the
    `status`, or the first on a connection has not what it `expects`."""
    statuses: Counter[int] = Counter()
    started = time.perf_counter()
    end = started + question["seconds"]
    loop, expects = asyncio.get_running_loop(), question["expects"].encode()
    texts = islice(cycle(question["requests"]), question["connections"])
    connections = [
        (await loop.create_connection(partial(Connection, text.encode(), expects, end, statuses), *_at(question)))[1]
        for text in texts
    ]
    outcomes = await asyncio.gather(*[connection.closed for connection in connections], return_exceptions=True)
    if errors := [outcome for outcome in outcomes if outcome is not None]:
        return {"error": str(errors[0])}
    if set(statuses) != {question["status"]}:
        return {"error": f"answers by status: {dict(statuses)}"}
    return {"count": statuses.total(), "seconds": time.perf_counter() - started}


def _at(question: dict[str, Any]) -> tuple[str, int]:
    return "127.0.0.1", question["port"]


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(uvloop.run(load(json.loads(line)))), flush=True)
