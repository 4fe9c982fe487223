"""Loads that are always current: the cache of folded streams, and reads that share their way."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from conftest import Database
from keyfold.domain.aggregates import KEY, PARTNER, UnknownEventError
from keyfold.domain.key_events import KeyIssued, KeyRevoked
from keyfold.domain.key_state import Key
from keyfold.domain.partner import Partner, PartnerInvited, PartnerKeyAdded
from keyfold.domain.refusals import Unavailable
from keyfold.store import grouped
from keyfold.store.grouped import Grouped
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.store.streams import Streams

from .support import SEALING, append, new_id, record


@pytest.fixture
async def elsewhere(database: Database) -> AsyncIterator[PostgresJournal]:
    """The journal of another API process."""
    postgres = Postgres(database.api_url, name="elsewhere")
    await postgres.open()
    journal = PostgresJournal(postgres, SEALING)
    yield journal
    await journal.close()
    await postgres.close()


def invited(stream: str) -> PartnerInvited:
    return PartnerInvited(workspace_id="ws", partner_id=stream, integration_id="int", link_id="lnk", metadata={})


def added(stream: str, number: int) -> PartnerKeyAdded:
    return PartnerKeyAdded(workspace_id="ws", partner_id=stream, integration_id="int", key_id=f"key_{number}")


def issued(stream: str) -> KeyIssued:
    return KeyIssued(workspace_id="ws", key_id=stream, kind="account", name="a key", role="viewer")


async def test_a_stream_is_never_older_than_the_call_whoever_wrote_it(
    journal: PostgresJournal, elsewhere: PostgresJournal
) -> None:
    """Two processes write the same streams in turn; each sees the other's write at once, over its own cache."""
    dice = random.Random(3)
    streams = {new_id("prt"): 0 for _ in range(5)}
    for _ in range(120):
        stream = dice.choice(list(streams))
        version = streams[stream] = streams[stream] + 1
        writer, reader = dice.sample([journal, elsewhere], 2)
        event = invited(stream) if version == 1 else added(stream, version)
        await append(writer, record(stream, version, event))
        for each in (reader, writer):
            loaded = await each.load(PARTNER, stream)
            assert loaded.version == version
            assert isinstance(loaded.state, Partner)
            assert len(loaded.state.keys) == version - 1


async def test_readers_at_the_same_time_as_writers_never_go_back(
    journal: PostgresJournal, elsewhere: PostgresJournal
) -> None:
    """What a reader has been told it was answered, it is never told less of; and never less than what was committed."""
    stream, committed = new_id("prt"), 1
    await append(journal, record(stream, 1, invited(stream)))

    async def write() -> None:
        nonlocal committed
        for version in range(2, 150):
            await append(elsewhere, record(stream, version, added(stream, version)))
            committed = version

    async def read() -> None:
        seen = 0
        while committed < 149:
            least = max(seen, committed)
            loaded = await journal.load(PARTNER, stream)
            assert loaded.state is not None
            assert loaded.version >= least
            assert len(loaded.state.keys) == loaded.version - 1
            seen = loaded.version

    await asyncio.gather(write(), *[read() for _ in range(8)])


async def test_only_so_many_streams_are_remembered_and_the_others_are_read_again(
    journal: PostgresJournal, postgres: Postgres
) -> None:
    streams, remembering = [new_id("key") for _ in range(20)], Streams(postgres, SEALING, capacity=3)
    for stream in streams:
        await append(journal, record(stream, 1, issued(stream)))
    loaded = await asyncio.gather(*[remembering.load(KEY, stream) for stream in streams])
    assert [each.state.id for each in loaded if each.state] == streams
    assert len(remembering._known) == 3
    again = await remembering.load(KEY, streams[0])
    assert (again.version, isinstance(again.state, Key)) == (1, True)


async def test_a_stream_that_does_not_exist_is_nothing_and_may_come_later(journal: PostgresJournal) -> None:
    stream = new_id("key")
    assert await journal.load(KEY, stream) == (None, 0)
    await append(journal, record(stream, 1, issued(stream)))
    assert (await journal.load(KEY, stream)).version == 1


async def test_a_stream_that_cannot_be_folded_hurts_nobody_but_those_who_ask_for_it(journal: PostgresJournal) -> None:
    """Others that are read by the same query get their answer."""
    good, bad = [new_id("key") for _ in range(20)], new_id("key")
    for stream in good:
        await append(journal, record(stream, 1, issued(stream)))
    await append(journal, record(bad, 1, issued(bad), type="key.frozen.v9"))
    outcomes = await asyncio.gather(
        *[journal.load(KEY, stream) for stream in [*good[:10], bad, *good[10:]]], return_exceptions=True
    )
    assert isinstance(outcomes.pop(10), UnknownEventError)
    assert [not isinstance(each, BaseException) and each.version for each in outcomes] == [1] * 20


async def test_a_revocation_elsewhere_is_seen_by_the_next_load(
    journal: PostgresJournal, elsewhere: PostgresJournal
) -> None:
    stream = new_id("key")
    await append(journal, record(stream, 1, issued(stream)))
    assert (await journal.load(KEY, stream)).version == 1
    await append(elsewhere, record(stream, 2, KeyRevoked(workspace_id="ws", key_id=stream, reason="leaked")))
    state = (await journal.load(KEY, stream)).state
    assert state is not None
    assert state.status == "revoked"


class Slow:
    """A fetch that a test lets go, one call at a time."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def __call__(self, keys: list[str]) -> dict[str, str]:
        self.calls.append(keys)
        await self.go.acquire()
        if self.error is not None:
            raise self.error
        return {key: f"{key} by call {len(self.calls)}" for key in keys if key != "missing"}


async def asking(reads: Grouped[str], *keys: str) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(reads.get(key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_while_a_query_is_under_way_goes_into_the_next() -> None:
    """Also for a key that the running query asks for: its answer may be older than the question."""
    slow = Slow()
    reads = Grouped(slow)
    first = await asking(reads, "a")
    later = await asking(reads, "a", "b", "missing", "b")
    slow.go.release()
    slow.go.release()
    assert await asyncio.gather(*first, *later) == ["a by call 1", "a by call 2", "b by call 2", None, "b by call 2"]
    assert slow.calls == [["a"], ["a", "b", "missing"]]


async def test_an_error_goes_to_those_who_asked_and_to_nobody_after() -> None:
    slow = Slow()
    reads = Grouped(slow)
    first = await asking(reads, "a", "b")
    slow.error = Unavailable("out")
    slow.go.release()
    assert [type(each) for each in await asyncio.gather(*first, return_exceptions=True)] == [Unavailable] * 2
    slow.error = None
    slow.go.release()
    assert await reads.get("a") == "a by call 2"


async def test_one_asker_that_gives_up_takes_the_answer_from_no_other() -> None:
    slow = Slow()
    reads = Grouped(slow)
    blocked = await asking(reads, "x")
    gives_up, stays = await asking(reads, "a", "a")
    gives_up.cancel()
    slow.go.release()
    slow.go.release()
    assert await stays == "a by call 2"
    assert gives_up.cancelled()
    assert await blocked[0] == "x by call 1"


async def test_an_error_that_nobody_waits_for_any_more_is_no_noise() -> None:
    """Warnings are errors here: an exception that was never retrieved would fail this test."""
    slow = Slow()
    reads = Grouped(slow)
    (alone,) = await asking(reads, "a")
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    slow.error = RuntimeError("nobody hears this")
    slow.go.release()
    slow.error = None
    slow.go.release()
    assert await reads.get("b") == "b by call 2"


async def test_an_asker_waits_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "PATIENCE", 0.05)
    slow = Slow()
    reads = Grouped(slow)
    with pytest.raises(Unavailable):
        await reads.get("a")
    slow.go.release()
    slow.go.release()
    assert await reads.get("a") == "a by call 2"
