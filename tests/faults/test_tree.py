"""kill -9 and SIGSTOP of workers while the tree grows: whole steps only, one checkpoint a size, and it converges."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from conftest import LOG_KEY, Database
from integration.support import value, wait_until
from integration.tree import assert_right
from keyfold.audit.signing import Signer
from keyfold.cli.embedded import Nats
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.tree import TreeStore

from .load import Load
from .system import Process, System, running_system

SIGNER = Signer.parse(LOG_KEY.decode())


@pytest.fixture
async def signing(
    settings: Settings, worker_settings: Settings, nats_server: Nats, database: Database, tmp_path: Path
) -> AsyncIterator[System]:
    """A system that signs every second, and writes each checkpoint to a file."""
    of_worker = msgspec.structs.replace(
        worker_settings, checkpoint_seconds=1, checkpoint_file=str(tmp_path / "checkpoint")
    )
    async with running_system(settings, of_worker, nats_server, database, tmp_path) as this:
        yield this


async def assert_converges(system: System, tmp_path: Path) -> None:
    """The tree comes to the end of the log, signed and shown, and all that was ever signed is of it."""
    url = system.database.admin_url
    behind = "SELECT max(position) - (SELECT max(size) FROM keyfold.checkpoints) FROM keyfold.log"
    await system.ready(60)
    await wait_until(lambda: value(url, f"SELECT ({behind}) = 0"), 30)
    postgres = Postgres(system.database.worker_url, name="tests")
    await postgres.open()
    try:
        size = await assert_right(TreeStore(postgres), url, SIGNER)
    finally:
        await postgres.close()
    shown = f"{size}\n".encode()
    await wait_until(lambda: shown in (tmp_path / "checkpoint").read_bytes())


@pytest.mark.long
async def test_the_tree_is_whole_and_goes_on_whoever_of_two_workers_was_killed_or_stopped_when(
    signing: System, rounds: int, tmp_path: Path
) -> None:
    """Whichever it is, at any moment: one that was stopped wakes up behind the other's back, and thinks it leads."""
    dice, load = random.Random(5), Load(signing)
    workers: list[Process] = [signing.worker, signing.worker.twin()]
    try:
        workers[1].start()
        for _ in range(rounds):
            for each in workers:
                await wait_until(each.is_live, 60)
            await load.more(dice.randint(5, 40))
            victim, other = dice.sample(workers, 2)
            await asyncio.sleep(dice.uniform(0, 0.3))  # any moment: this is what is tested
            if dice.random() < 0.5:
                victim.kill()
                await load.more(5)
                victim.start()
            else:
                with victim.paused():
                    other.kill()  # whoever leads then has to be the one that sleeps, or nobody
                    other.start()
                    await load.more(10)
        await load.more(10)
        await load.stop()
        await assert_converges(signing, tmp_path)
    finally:
        workers[1].close()
    twice = "SELECT count(*) FROM (SELECT FROM keyfold.checkpoints GROUP BY size HAVING count(*) > 1) AS t"
    assert await value(signing.database.admin_url, twice) == 0
    assert await value(signing.database.admin_url, "SELECT count(*) > 1 FROM keyfold.checkpoints")


@pytest.mark.long
async def test_a_leader_that_lost_its_lock_while_it_slept_does_no_harm(signing: System, tmp_path: Path) -> None:
    """Its connections are cut, another grows the tree, and then it wakes up with what it remembers."""
    load, other = Load(signing), signing.worker.twin()
    try:
        other.start()
        standby = "SELECT count(*) FROM projections.loops WHERE loop = 'tree' AND status = 'standby'"
        await wait_until(lambda: value(signing.database.admin_url, standby), 60)
        await load.more(20)
        with signing.worker.paused():
            cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'keyfold_worker'"
            await value(signing.database.admin_url, cut)
            size = await value(signing.database.admin_url, "SELECT size FROM keyfold.tree")
            await load.more(10)
            grown = f"SELECT size > {size} FROM keyfold.tree"
            await wait_until(lambda: value(signing.database.admin_url, grown), 20)
        await load.more(10)
        await load.stop()
        await assert_converges(signing, tmp_path)
    finally:
        other.close()
