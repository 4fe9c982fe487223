"""An OS process of its own that hears: prints `current` once it is, and then each stream that it is told of with the
moment of the machine's monotonic clock. Settings as for `keyfold api`. Ends when its input does."""

import asyncio
import os
import sys
import time
from collections.abc import Iterable

from keyfold.bus.hearing import Hearing
from keyfold.logs import set_up_logging
from keyfold.settings import read_settings
from keyfold.web.services import Services


def say(streams: Iterable[str]) -> None:
    told = time.monotonic()
    for stream in streams:
        print(stream, told, flush=True)


async def main() -> None:
    settings = read_settings(os.environ)
    set_up_logging(settings)  # elsewhere than on the standard output
    services = Services(settings)
    services.hearing = Hearing(services.bus, services.tail, on_moved=say)
    await services.open()
    work = asyncio.create_task(services.run())
    while not services.hearing.is_current:
        await asyncio.sleep(0.01)
    print("current", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await services.close()


if __name__ == "__main__":
    asyncio.run(main())
