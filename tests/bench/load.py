"""A load generator in a process of its own: raw HTTP/1.1 over connections that are kept open.

Takes questions on standard input, one JSON object a line, and answers each with one line.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop


def request(method: str, path: str, headers: dict[str, str], body: str) -> str:
    """The text of a request with a JSON body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])


class Connection(asyncio.Protocol):
    """Sends the request again as soon as it is answered, until `end`."""

    def __init__(self, text: bytes, end: float, statuses: Counter[int]) -> None:
        self._text = text
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
        if not found or len(rest) < _length(head):
            return
        self._received = b""
        self._statuses[int(head[9:12])] += 1
        if self._transport is None or time.perf_counter() >= self._end:
            self._close()
        else:
            self._transport.write(self._text)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_exception(error or ConnectionError("the server closed the connection"))

    def _close(self) -> None:
        self.closed.set_result(None)
        if self._transport is not None:
            self._transport.close()


def _length(head: bytes) -> int:
    """Bytes of the body. An answer without a length is a bug here: it would never end."""
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    raise ValueError(f"an answer without Content-Length: {head[:200]!r}")


async def load(question: dict[str, Any]) -> dict[str, object]:
    """Counts answers for some seconds. Fails when one is not a 201."""
    statuses: Counter[int] = Counter()
    started = time.perf_counter()
    end = started + question["seconds"]
    loop, text = asyncio.get_running_loop(), question["request"].encode()
    connections = [
        (await loop.create_connection(lambda: Connection(text, end, statuses), "127.0.0.1", question["port"]))[1]
        for _ in range(question["connections"])
    ]
    await asyncio.gather(*[connection.closed for connection in connections])
    if set(statuses) != {201}:
        return {"error": f"answers by status: {dict(statuses)}"}
    return {"count": statuses[201], "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(uvloop.run(load(json.loads(line)))), flush=True)
