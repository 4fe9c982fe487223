"""A network between a process and NATS that a test can break: a TCP proxy on a port of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Hands on what is said, but for the directions in `swallowed`; nobody's connection notices."""

    def __init__(self, port: int) -> None:
        self.swallowed: set[str] = set()
        self.url = ""
        self._port = port
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if not self._is_cut:
                there, onwards = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers |= {writer, onwards}
                await asyncio.gather(self._pump(reader, onwards, "to server"), self._pump(there, writer, "to client"))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if direction not in self.swallowed:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    @asynccontextmanager
    async def swallowing(self, *directions: str) -> AsyncIterator[None]:
        """What was swallowed is missing in the middle of a connection, so those end afterwards."""
        self.swallowed = {*directions}
        try:
            yield
        finally:
            self.swallowed = set()
            self._close()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """No connection lasts, and none is made."""
        self._is_cut = True
        self._close()
        try:
            yield
        finally:
            self._is_cut = False

    def _close(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@asynccontextmanager
async def proxying(port: int, *, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine, listening at this address of it."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, host, 0)
    proxy.url = f"nats://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        async with proxy.cut():
            await asyncio.sleep(0)
