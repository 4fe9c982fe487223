"""Witnesses: asked to cosign each newest checkpoint, never waited for, and believed only after looking."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import msgspec
import pytest

from keyfold.audit.signing import Signer
from keyfold.audit.witness import Witness
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import LifecycleStream
from keyfold.settings import Settings
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.store.tree import TreeStore
from keyfold.web.health import api_readiness
from keyfold.web.services import Services
from keyfold.worker.loop import Degraded
from keyfold.worker.publishing import Publishing
from keyfold.worker.tree import TreeGrower
from keyfold.worker.witnesses import Asker
from keyfold.worker.worker import Worker
from keyfold_client.audit.checkpoints import open_checkpoint
from keyfold_client.audit.notes import NoteError, Verifier, parse_note

from .support import append, entry, rows, value, wait_until, working
from .witness import StrictWitness

OLD, NEW = Signer("localhost/tests", bytes(32)), Signer("localhost/tests", bytes([1]) * 32)


@pytest.fixture
def witness() -> Iterator[StrictWitness]:
    with StrictWitness(OLD.verifier_key) as this:
        yield this


@pytest.fixture
def store(worker_postgres: Postgres) -> TreeStore:
    return TreeStore(worker_postgres)


class Log:
    """A log that grows and is signed, a step at a time."""

    def __init__(self, journal: PostgresJournal, grower: TreeGrower) -> None:
        self._journal = journal
        self._grower = grower
        self._size = 0

    async def grows(self, count: int) -> None:
        await append(self._journal, *[entry("key_filling", self._size + n) for n in range(1, count + 1)])
        self._size += count
        while await self._grower.step():
            pass


@pytest.fixture
async def log(journal: PostgresJournal, store: TreeStore, bus: Bus) -> Log:
    stream = LifecycleStream(bus, replicas=1)
    return Log(journal, TreeGrower(store, stream, (NEW, OLD), Publishing(bus, ""), 0))


def asker(store: TreeStore, witness: StrictWitness) -> Asker:
    return Asker(store, Witness.parse(f"{witness.vkey} {witness.url}"))


async def test_each_newest_checkpoint_is_cosigned_and_carries_it(
    log: Log, store: TreeStore, witness: StrictWitness
) -> None:
    """From the first, over steps of all kinds, and after a restart; the proofs are judged by the witness itself."""
    this = asker(store, witness)
    for count in (1, 1, 5, 250, 600, 3):
        await log.grows(count)
        await this.step()
        await this.step()
        assert witness.size == (await store.tree())[0]
        signed = await store.shown()
        assert signed is not None
        keys = [OLD.verifier], [Verifier.parse(witness.vkey)]
        assert open_checkpoint(signed.cosigned_note.encode(), *keys, quorum=1).checkpoint.size == witness.size
    assert [status for _, status in witness.requests] == [200] * 6, "each once, and from the size that it has seen"
    await log.grows(4)
    await asker(store, witness).step()
    assert witness.requests[-1] == (860, 200)


async def test_a_witness_that_says_another_size_is_asked_from_that(
    log: Log, store: TreeStore, witness: StrictWitness
) -> None:
    """It has cosigned for us and the answer was lost, or it has seen nothing of us any more."""
    await log.grows(5)
    await asker(store, witness).step()
    await log.grows(5)
    signed = await store.newest()
    assert signed is not None
    witness.size, witness.root = signed.size, signed.root
    await asker(store, witness).step()
    assert witness.requests[-2:] == [(5, 409), (10, 200)]
    witness.size, witness.root = 0, bytes(32)
    await log.grows(5)
    await asker(store, witness).step()
    assert witness.requests[-2:] == [(10, 409), (0, 200)]
    await log.grows(1)
    witness.size = 100
    with pytest.raises(Degraded, match=r"has seen the log at 100, beyond 16\. Was an older backup restored"):
        await asker(store, witness).step()


def bad(status: int, body: bytes = b"no", kind: str = "text/plain") -> tuple[int, str, bytes]:
    return status, kind, body


async def test_what_is_no_cosignature_is_not_kept_and_health_says_why(
    log: Log, store: TreeStore, witness: StrictWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.worker.witnesses.PAUSES", (0.0, 0.0))
    await log.grows(5)
    signed = await store.newest()
    assert signed is not None
    text = parse_note(signed.note.encode()).text.encode()
    other = StrictWitness(OLD.verifier_key, "witness.example/other").cosignature(text)
    forged = witness.cosignature(text + b"x\n")
    answers = {
        "404: it doesn't know this log": bad(404),
        "403: it trusts no key": bad(403),
        "422: it says that the checkpoint isn't consistent": bad(422),
        "400: it doesn't understand": bad(400),
        "answers 500": bad(500),
        "answers 302": bad(302),
        "409 with something that is no size": bad(409, b"05\n", "text/x.tlog.size"),
        "answers 409": bad(409, b"5\n"),
        "no cosignature: the note isn't signed by a key": bad(200, other),
        "no cosignature: the signature of .* is wrong": bad(200, forged),
        "no cosignature: a note": bad(200, b"\xff"),
        "no cosignature: not a signature": bad(200, b"hello\n"),
        "cosignature has no time": bad(200, witness.cosignature(text, 0)),
        "too long": bad(200, b"x" * 100_000),
    }
    for said, answer in answers.items():
        witness.answers = [answer]
        with pytest.raises(Degraded, match=said):
            await asker(store, witness).step()
    still = await store.newest()
    assert still is not None
    assert still.cosignatures == []
    witness.answers = [bad(200, other + witness.cosignature(text))]
    await asker(store, witness).step()
    kept = await store.newest()
    assert kept is not None
    assert len(kept.cosignatures) == 1, "of others nothing is kept"
    with pytest.raises(NoteError):
        open_checkpoint((signed.note + forged.decode()).encode(), [OLD.verifier], [Verifier.parse(witness.vkey)])


async def test_a_witness_is_asked_again_and_not_all_the_time(
    log: Log, store: TreeStore, witness: StrictWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.worker.witnesses.PAUSES", (0.1, 1.0))
    await log.grows(5)
    witness.answers = [bad(500)] * 2
    this, loop = asker(store, witness), asyncio.get_running_loop()
    began = loop.time()
    while witness.size < 5:
        with suppress(Degraded):
            await this.step()
    assert loop.time() - began > 0.3
    assert [status for _, status in witness.requests] == [500, 500, 200]
    assert await this.step() is False, "well again"


async def test_witnesses_delay_nothing_whether_they_are_slow_down_or_hostile(
    services: Services, worker_settings: Settings, witness: StrictWitness, journal: PostgresJournal
) -> None:
    """Three of them in a running worker: checkpoints go on, one cosigns, and health says what the others do."""
    url = services.settings.admin_database_url
    with StrictWitness(OLD.verifier_key, "witness.example/slow") as slow:
        slow.delay = 3
        down = StrictWitness(OLD.verifier_key, "witness.example/down")
        given = f"{witness.vkey} {witness.url}/,{slow.vkey} {slow.url} ,{down.vkey} http://127.0.0.1:1/x"
        settings = msgspec.structs.replace(worker_settings, witnesses=given, checkpoint_seconds=1)
        await services.bus.start()
        async with working(Worker(settings)):
            for n in range(1, 3):
                await append(journal, entry("key_filling", n))
                signed = f"SELECT max(size) = {n} FROM keyfold.checkpoints"
                await wait_until(partial(value, url, signed), 4)
                seen = f"SELECT count(*) = 1 FROM keyfold.cosignatures WHERE size = {n} AND witness LIKE '%w1+%'"
                await wait_until(partial(value, url, seen), 4)

            async def told() -> bool:
                checks = (await api_readiness(services.postgres, services.bus, services.sealing)).checks
                check = checks.get("loop witness witness.example/down")
                return check is not None and check.ok and "hasn't cosigned" in check.detail

            await wait_until(told, 6)
            await wait_until(
                lambda: value(url, "SELECT count(*) > 0 FROM keyfold.cosignatures WHERE witness ~ 'slow'"), 9
            )
    assert len(await rows(url, "SELECT FROM keyfold.checkpoints")) == 2


async def test_a_witness_that_hangs_up_is_down(log: Log, store: TreeStore) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        vkey = StrictWitness(OLD.verifier_key).vkey
        await log.grows(1)
        with pytest.raises(Degraded, match="hasn't cosigned 1"):
            await Asker(store, Witness.parse(f"{vkey} http://127.0.0.1:{port}")).step()
