"""An OS process of its own with several writers: `writer.py URL NAME WRITERS APPENDS`.

Each writer appends to a stream of its own, and to streams that all writers of all processes share, for which it asks
where they are and tries again when another was faster. Prints how many appends it was answered.
"""

import asyncio
import os
import random
import sys

from keyfold.app.ports import Entry, StreamMovedError, Write
from keyfold.app.sealing import Sealing
from keyfold.settings import Secret
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres

SHARED = ("shared_0", "shared_1", "shared_2")


async def version_of(postgres: Postgres, stream: str) -> int:
    found = await postgres.fetchval("SELECT coalesce(max(version), 0) FROM keyfold.log WHERE stream = $1", stream)
    return int(found)


async def write(journal: PostgresJournal, postgres: Postgres, name: str, appends: int) -> int:
    dice, own, done = random.Random(name), 0, 0
    while done < appends:
        entries = [Entry(name, own + n, f'{{"by":"{name}","version":{own + n}}}', "ws_tests") for n in (1, 2)]
        if dice.random() < 0.3:
            stream = dice.choice(SHARED)
            entries.append(
                Entry(stream, await version_of(postgres, stream) + 1, f'{{"by":"{name}"}}', dice.choice(SHARED))
            )
        try:
            await journal.append(Write(entries=entries))
        except StreamMovedError:
            continue
        own += 2
        done += 1
    return done


async def main(url: str, name: str, writers: int, appends: int) -> None:
    postgres = Postgres(url, name=name)
    await postgres.open()
    journal = PostgresJournal(postgres, Sealing({1: Secret(bytes(32))}, os.urandom))
    writing = [write(journal, postgres, f"{name}_{number}", appends) for number in range(writers)]
    print(sum(await asyncio.gather(*writing)), flush=True)
    await journal.close()
    await postgres.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
