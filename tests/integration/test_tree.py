"""The tree grows with the log: a step at a time, whole or not at all, once each, and never over what was changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats
import pytest

from keyfold.audit.signing import Signer
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import LifecycleStream
from keyfold.cli.embedded import Nats
from keyfold.settings import Secret, Settings, SettingsError
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.store.tree import Leaf, TreeStore
from keyfold.worker.auditing import signers_of, witnesses_of
from keyfold.worker.loop import Degraded, Halt
from keyfold.worker.publishing import Publishing
from keyfold.worker.tree import BATCH, TreeGrower
from keyfold.worker.worker import Worker
from keyfold_client.audit.checkpoints import open_checkpoint

from .stream import put
from .support import append, connected, entry, rows, value, wait_until
from .tree import assert_right

OLD, NEW = Signer("log.example", bytes(32)), Signer("log.example", bytes([1]) * 32)
Make = Callable[..., TreeGrower]


class Reads(TreeStore):
    """Counts the rows of the log that it reads."""

    count = 0

    async def leaves(self, position: int, limit: int) -> list[Leaf]:
        found = await super().leaves(position, limit)
        self.count += len(found)
        return found


@pytest.fixture
def store(worker_postgres: Postgres) -> Reads:
    return Reads(worker_postgres)


@pytest.fixture
def make(store: Reads, bus: Bus) -> Make:
    """A grower without loop and leader: the test makes its steps. It signs at each, unless `every` says otherwise."""

    def made(*signers: Signer, every: float = 0, file: str = "") -> TreeGrower:
        stream = LifecycleStream(bus, replicas=1)
        return TreeGrower(store, stream, signers or (OLD,), Publishing(bus, file), every)

    return made


async def run_dry(grower: TreeGrower) -> None:
    while await grower.step():
        pass


async def fill(journal: PostgresJournal, count: int) -> None:
    stream, first = "key_filling", await version_of(journal) + 1
    await append(journal, *[entry(stream, first + n) for n in range(count)])


async def version_of(journal: PostgresJournal) -> int:
    postgres = journal._postgres
    found = await postgres.fetchval("SELECT coalesce(max(version), 0) FROM keyfold.log WHERE stream = 'key_filling'")
    return int(found)


@pytest.fixture
def url(settings: Settings) -> str:
    return settings.admin_database_url


async def test_it_grows_over_the_edges_of_tiles_and_every_checkpoint_of_it_is_right(
    journal: PostgresJournal, store: TreeStore, make: Make, url: str
) -> None:
    grower = make()
    for count in (1, 1, 253, 1, 1, 255, 1, 70):
        await fill(journal, count)
        await run_dry(grower)
    assert await assert_right(store, url, OLD) == 583
    sizes = [size for (size,) in await rows(url, "SELECT size FROM keyfold.checkpoints ORDER BY 1")]
    assert sizes == [1, 2, 255, 256, 257, 512, 513, 583]
    assert await grower.step() is False
    assert len(await rows(url, "SELECT FROM keyfold.checkpoints")) == 8, "there is no news"


async def test_a_restart_hashes_nothing_again(journal: PostgresJournal, store: Reads, make: Make, url: str) -> None:
    """However much there is: it reads the last row that it has hashed, and what comes behind."""
    await fill(journal, 2 * BATCH + 10)
    await run_dry(make())
    store.count = 0
    await fill(journal, 5)
    await run_dry(make())
    assert store.count <= 2 + 5 + 1
    assert await assert_right(store, url, OLD) == 2 * BATCH + 15


async def test_two_at_once_do_no_harm_and_neither_does_one_that_is_late(
    journal: PostgresJournal, store: TreeStore, make: Make, url: str
) -> None:
    """Neither leads: both grow and sign whatever they think is next, while more comes."""
    growers, written = [make(), make()], False

    async def grow(this: TreeGrower) -> None:
        while not written or (await store.tree())[0] < await journal.head():
            await this.step()
            await asyncio.sleep(0)

    async def write() -> None:
        nonlocal written
        for _ in range(30):
            await fill(journal, 17)
        written = True

    await asyncio.gather(*map(grow, growers), write())
    assert await assert_right(store, url, OLD) == 510
    size, root = await store.tree()
    assert await store.grow(size, size, root, {}, "another note of this size") is False
    assert await store.grow(size - 1, size + 1, bytes(32), {}, None) is False


async def test_a_step_that_ends_anywhere_leaves_all_of_it_or_nothing(
    journal: PostgresJournal, store: TreeStore, make: Make, url: str
) -> None:
    """Cancelled at each turn of the event loop in which it can be, and gone on with by a new one."""
    await fill(journal, 255)
    for turns in range(1, 200):
        await fill(journal, 2)
        stepping = asyncio.create_task(make().step())
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = stepping.done()
        stepping.cancel()
        await asyncio.gather(stepping, return_exceptions=True)
        size, _ = await store.tree()
        newest = await store.newest()
        assert size == (newest.size if newest else 0), "a step grows and signs, or does neither"
        if ended:
            break
    assert turns > 10
    await run_dry(make())
    assert await assert_right(store, url, OLD) == await journal.head()


async def test_a_checkpoint_comes_at_once_when_there_was_none_for_a_while_and_not_more_often_than_it_is_set(
    journal: PostgresJournal, make: Make, url: str
) -> None:
    grower = make(every=0.4)
    count = "SELECT count(*) FROM keyfold.checkpoints"
    await fill(journal, 3)
    await run_dry(grower)
    assert await value(url, count) == 1
    for _ in range(3):
        await fill(journal, 3)
        await run_dry(grower)
    assert await value(url, count) == 1
    await run_dry(make(every=100))
    assert await value(url, count) == 1, "a restart is no news"
    await asyncio.sleep(0.4)
    await run_dry(grower)
    assert await rows(url, "SELECT size FROM keyfold.checkpoints ORDER BY 1") == [(3,), (12,)]


async def as_superuser(url: str, *statements: str) -> None:
    """Below all protection: triggers off."""
    async with connected(url) as connection:
        for table in ("log", "checkpoints"):
            await connection.execute(f"ALTER TABLE keyfold.{table} DISABLE TRIGGER ALL")
        for statement in statements:
            await connection.execute(statement)


CHANGED = "UPDATE keyfold.log SET record = replace(record::text, 'filling', 'felling')::json WHERE position = "
TAMPERING: dict[str, tuple[list[str], str]] = {
    "its last record was changed": ([f"{CHANGED} 300"], "Position 300 was changed"),
    "the log is shorter than the tree": (
        ["DELETE FROM keyfold.log WHERE position > 290"],
        "Was an older backup restored",
    ),
    "its last record was deleted": (
        ["DELETE FROM keyfold.log WHERE position = 300"],
        "Position 300 was hashed and is missing",
    ),
    "a new record is missing": (["DELETE FROM keyfold.log WHERE position = 303"], "Position 303 is missing"),
    "a column isn't what the record says": (
        ["UPDATE keyfold.log SET stream = 'key_x' WHERE position = 304"],
        "304 .*stream",
    ),
    "a version isn't": (["UPDATE keyfold.log SET version = 999 WHERE position = 304"], "Position 304 .*column version"),
    "a number isn't": (["UPDATE keyfold.log SET number = 999 WHERE position = 304"], "Position 304 .*column number"),
    "a workspace isn't": (
        ["UPDATE keyfold.log SET workspace_id = 'w' WHERE position = 304"],
        "304 .*column workspace_id",
    ),
    "a new record is none": (["UPDATE keyfold.log SET record = '5' WHERE position = 304"], "Position 304 .*no record"),
    "a tile was changed": (
        ["UPDATE keyfold.tiles SET hashes = overlay(hashes PLACING '\\x00' FROM 7) WHERE (level, index) = (0, 1)"],
        "The tree was changed",
    ),
    "the tree was set back": (["UPDATE keyfold.tree SET size = 200"], "The tree was changed"),
    "another checkpoint was put there": (
        ["UPDATE keyfold.checkpoints SET root = sha256('x')"],
        "a checkpoint of 300 leaves says something else",
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_it_halts_and_names_the_position_when(
    journal: PostgresJournal, store: TreeStore, make: Make, url: str, what: str
) -> None:
    """Whether it was running or starts now; what is right before that is in the tree, and nothing behind is signed."""
    statements, said = TAMPERING[what]
    grower = make(every=0)
    await fill(journal, 300)
    await run_dry(grower)
    before = await store.tree()
    await fill(journal, 5)
    await as_superuser(url, *statements)
    restarted = make(every=0)
    if "was changed" in said or "checkpoint" in said:
        with pytest.raises(Halt, match=said):
            await run_dry(restarted)
        if "Position" not in said:
            return
    with pytest.raises(Halt, match=said):
        await run_dry(grower)
    with pytest.raises(Halt, match=said if "after" not in said else "Position 300"):
        await run_dry(make(every=0))
    size, root = await store.tree()
    good = {"303": 302, "304": 303}.get(next((n for n in ("303", "304") if n in said), ""), 300)
    assert size == good
    assert (await rows(url, "SELECT max(size) FROM keyfold.checkpoints")) == [(good,)]
    if good == 300:
        assert (size, root) == before


async def test_it_signs_nothing_while_the_stream_is_ahead_of_the_log(
    journal: PostgresJournal, make: Make, bus: Bus, url: str
) -> None:
    """An older backup was restored, and the tree with it: what it would sign now was signed before, differently."""
    await fill(journal, 3)
    await LifecycleStream(bus, replicas=1).last()
    for _ in range(4):
        await put(bus, b"{}")
    with pytest.raises(Halt, match="The stream is ahead of the log: it is at 4"):
        await make().step()
    assert await value(url, "SELECT count(*) FROM keyfold.checkpoints") == 0


async def test_checkpoints_are_told_on_nats_and_kept_in_a_file_that_an_older_log_cant_outlive(
    journal: PostgresJournal, make: Make, nats_server: Nats, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    credentials = str(nats_server.credentials("gateway"))
    gateway = await nats.connect(nats_server.url, user_credentials=credentials)
    heard = await gateway.subscribe("log.checkpoint")
    await gateway.flush()
    await fill(journal, 3)
    grower = make(file=str(file))
    await run_dry(grower)
    first = file.read_bytes()
    assert (await heard.next_msg(2)).data == first
    await gateway.close()
    assert first == (await value(url, "SELECT note FROM keyfold.checkpoints")).encode()
    await fill(journal, 3)
    await run_dry(grower)
    second = file.read_bytes()
    assert second != first
    file.write_bytes(first)
    await run_dry(make(file=str(file)))
    assert file.read_bytes() == second, "who signed it may not have come to write it"
    file.write_bytes(second.replace(b"\n6\n", b"\n7\n"))
    with pytest.raises(Halt, match="a checkpoint of 7, the log of 6"):
        await make(file=str(file)).step()
    file.write_bytes(b"rubbish")
    with pytest.raises(Halt, match="holds no checkpoint"):
        await make(file=str(file)).step()
    await fill(journal, 1)
    file.unlink()
    folder = make(file=str(tmp_path / "none" / "checkpoint"))
    with pytest.raises(Degraded, match="can't be written"):
        await run_dry(folder)
    assert await value(url, "SELECT max(size) FROM keyfold.checkpoints") == 7, "that delays nothing"


async def test_after_a_change_of_keys_both_sign_and_old_checkpoints_are_verified_with_what_is_published(
    journal: PostgresJournal, store: TreeStore, make: Make, url: str
) -> None:
    for signers in ((OLD,), (NEW, OLD), (NEW,)):
        await fill(journal, 2)
        await run_dry(make(*signers))
    assert await store.keys() == [NEW.verifier_key, OLD.verifier_key]
    notes = [note.encode() for (note,) in await rows(url, "SELECT note FROM keyfold.checkpoints ORDER BY size")]
    for key, verifies in ((OLD, notes[:2]), (NEW, notes[1:])):
        for note in verifies:
            assert open_checkpoint(note, [key.verifier])
    await assert_right(store, url, OLD, NEW)
    with pytest.raises(Halt, match=r"called log\.example, .* other\.example"):
        await make(Signer("other.example", bytes(32))).step()


async def test_without_a_key_it_grows_and_says_that_nothing_is_signed(
    journal: PostgresJournal, store: Reads, bus: Bus, url: str
) -> None:
    await fill(journal, BATCH + 5)
    grower = TreeGrower(store, LifecycleStream(bus, replicas=1), (), Publishing(bus, ""), 0)
    with pytest.raises(Degraded, match="KEYFOLD_LOG_KEYS is not set"):
        await run_dry(grower)
    assert await assert_right(store, url, OLD) == BATCH + 5
    assert await store.newest() is None


async def test_a_worker_signs_what_is_appended(
    journal: PostgresJournal, worker: Worker, url: str, record_property: Callable[[str, object], None]
) -> None:
    loop = asyncio.get_running_loop()
    (tree,) = [each for each in worker.loops if each.name == "tree"]
    await wait_until(lambda: tree.status == "running")
    began = loop.time()
    await fill(journal, 7)
    await wait_until(lambda: value(url, "SELECT max(size) = 7 FROM keyfold.checkpoints"))
    seconds = loop.time() - began
    record_property("measured", f"{seconds * 1000:.0f} ms from an append to a checkpoint of it")


KEY = OLD.secret_key()


@pytest.mark.parametrize(
    "text",
    ["hunter2", f"{KEY},", KEY[:-4], KEY.replace("log.example", "x"), f"{KEY},{Signer('b', bytes(32)).secret_key()}"],
)
def test_keys_that_cant_be_read_are_named_and_not_repeated(worker_settings: Settings, text: str) -> None:
    settings = msgspec.structs.replace(worker_settings, log_keys=Secret(text.encode()))
    with pytest.raises(SettingsError, match="KEYFOLD_LOG_KEYS") as error:
        signers_of(settings)
    assert text not in str(error.value)
    assert KEY[-20:] not in str(error.value)


def test_several_keys_are_read_in_their_order_and_none_is_none(worker_settings: Settings) -> None:
    both = Secret(f"{NEW.secret_key()}, {OLD.secret_key()}".encode())
    read = signers_of(msgspec.structs.replace(worker_settings, log_keys=both))
    assert [each.verifier_key for each in read] == [NEW.verifier_key, OLD.verifier_key]
    assert signers_of(msgspec.structs.replace(worker_settings, log_keys=Secret(b""))) == []
    assert witnesses_of(worker_settings) == []


@pytest.mark.parametrize("text", ["x", f"{OLD.verifier_key} http://w", f"{OLD.verifier_key}", "w+1+a ftp://x", ","])
def test_witnesses_that_cant_be_read_are_named(worker_settings: Settings, text: str) -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_WITNESSES"):
        witnesses_of(msgspec.structs.replace(worker_settings, witnesses=text))
