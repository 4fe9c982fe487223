"""One HTTP connection that is kept open, for questions that wait for their answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import msgspec

from .load import body_length, request
from .stage import BenchError


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Client:
    """Asks on behalf of a key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key

    async def post(self, path: str, body: object, *, status: int = 200) -> Answer:
        """Raises `BenchError` for another status."""
        text = msgspec.json.encode(body).decode()
        self._writer.write(request("POST", path, {"Authorization": f"Bearer {self._key}"}, text).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        answer = Answer(int(first.split()[1]), headers, await self._reader.readexactly(body_length(head)))
        if answer.status != status:
            raise BenchError(f"POST {path} was answered {answer.status}: {answer.body[:500].decode()}")
        return answer

    async def data(self, path: str, body: object, *, status: int = 200) -> Any:
        """The answer's `data`."""
        return msgspec.json.decode((await self.post(path, body, status=status)).body)["data"]


@asynccontextmanager
async def connected(port: int, key: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer, key)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
