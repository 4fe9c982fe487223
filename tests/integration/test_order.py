"""One gapless order for everybody, however many write."""

import asyncio
import sys
from pathlib import Path

from conftest import Database
from keyfold.store.journal import Logged, read_log
from keyfold.store.postgres import Postgres

from .support import assert_gapless

PROCESSES, WRITERS, APPENDS = 4, 4, 60


async def test_a_reader_that_tails_sixteen_writers_in_four_processes_sees_each_event_once_and_in_order(
    database: Database, postgres: Postgres
) -> None:
    """It asks for what comes after the last it saw, again and again: what it missed once, it would miss for good."""
    writers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("writer.py"))),
            *(database.api_url, f"process_{number}", str(WRITERS), str(APPENDS)),
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    done = asyncio.gather(*[writer.communicate() for writer in writers])
    seen: list[Logged] = []
    passes_while_written = 0
    while True:
        finished, before = done.done(), len(seen)
        async for batch in read_log(postgres, len(seen), batch=7):
            seen += batch
        passes_while_written += len(seen) > before
        if finished:
            break
        await asyncio.sleep(0)
    answered = [int(output) for output, _ in await done]
    assert answered == [WRITERS * APPENDS] * PROCESSES
    assert passes_while_written > 1
    assert [each.position for each in seen] == list(range(1, len(seen) + 1))
    versions: dict[str, int] = {}
    for each in seen:
        assert each.version == versions.get(each.stream, 0) + 1, each
        versions[each.stream] = each.version
    assert sum(version for stream, version in versions.items() if stream.startswith("process")) == 2 * sum(answered)
    assert len(versions) == 16 + 3
    assert await assert_gapless(database.api_url) == len(seen)
