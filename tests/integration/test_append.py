"""Appending: positions, conflicts, and what lives or dies with the events."""

import asyncio
import random
from collections import Counter

import pytest

from conftest import Database
from keyfold.app.ports import AlreadyAnsweredError, Digest, Replay, StreamMovedError, Write
from keyfold.domain.record import LIMIT
from keyfold.store.appender import arguments
from keyfold.store.journal import PostgresJournal, read_log
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query

from .support import SEALING, append, assert_gapless, entry, moved, new_id, rows, value


def digest(of: str) -> Digest:
    return Digest(of, 1, bytes(32))


def replay(of: bytes) -> Replay:
    return Replay(of, b"fingerprint", b"answer")


async def call(postgres: Postgres, *writes: Write) -> tuple[int, list[int], list[int]]:
    """The append function itself, with the writes as one batch."""
    row = await postgres.fetchrow(query("append"), *arguments(list(writes)))
    assert row is not None
    return row["before"], sorted(row["conflicted"]), sorted(row["replayed"])


async def test_positions_are_gapless_and_in_the_order_of_the_calls(journal: PostgresJournal) -> None:
    first = [await append(journal, entry("a", 1)), await append(journal, entry("a", 2), entry("b", 1))]
    at_once = await asyncio.gather(*[append(journal, entry(f"s{n}", 1)) for n in range(600)])
    assert first == [1, 3]
    assert at_once == list(range(4, 604))


async def test_a_write_to_several_streams_is_appended_whole_or_not_at_all(
    journal: PostgresJournal, database: Database
) -> None:
    await append(journal, entry("a", 1))
    with pytest.raises(StreamMovedError):
        await append(journal, entry("b", 1), entry("a", 1), entry("c", 1))
    assert await append(journal, entry("b", 1), entry("a", 2), entry("b", 2), entry("c", 1)) == 5
    assert await rows(database.api_url, "SELECT stream, version FROM keyfold.log ORDER BY position") == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("b", 2),
        ("c", 1),
    ]


async def test_a_conflict_takes_nothing_from_the_others_of_its_batch(postgres: Postgres, database: Database) -> None:
    await call(postgres, Write(entries=[entry("a", 1)]))
    outcome = await call(
        postgres,
        Write(entries=[entry("b", 1), entry("b", 2)], replay=replay(b"1")),
        Write(entries=[entry("a", 1)], digests=[digest("lost")], replay=replay(b"2")),
        Write(entries=[entry("c", 1), entry("a", 2)], replay=replay(b"3")),
    )
    assert outcome == (1, [2, 3], [])
    assert await rows(database.api_url, "SELECT stream FROM keyfold.log ORDER BY position") == [("a",), ("b",), ("b",)]
    assert await rows(database.api_url, "SELECT id, position FROM keyfold.replays") == [(b"1", 3)]
    assert await rows(database.api_url, "SELECT id FROM keyfold.key_secrets") == []


async def test_of_two_commands_for_one_stream_in_a_batch_the_second_is_a_conflict(postgres: Postgres) -> None:
    """Whatever version it names: it was decided without knowing the first."""
    writes = [Write(entries=[entry("a", 1)]), Write(entries=[entry("a", 1)]), Write(entries=[entry("a", 2)])]
    assert await call(postgres, *writes) == (0, [2, 3], [])


@pytest.mark.parametrize("version", [1, 2, 4, 2_000_000])
async def test_a_version_that_is_not_the_next_is_refused(journal: PostgresJournal, version: int) -> None:
    """The stream has two: one and two are taken, four would leave a gap."""
    await append(journal, entry("a", 1), entry("a", 2))
    assert await moved(append(journal, entry("a", version)))
    assert not await moved(append(journal, entry("a", 3)))


async def test_a_gap_within_one_write_is_refused(journal: PostgresJournal) -> None:
    assert await moved(append(journal, entry("a", 1), entry("a", 3)))
    assert await moved(append(journal, entry("a", 2), entry("a", 1)))
    assert await moved(append(journal, entry("a", 1), entry("a", 1)))


async def test_digests_and_replays_live_or_die_with_their_events(journal: PostgresJournal, database: Database) -> None:
    kept = Write(entries=[entry("a", 1)], digests=[digest("a"), digest("b")], replay=replay(b"kept"))
    lost = Write(entries=[entry("a", 1)], digests=[digest("c")], replay=replay(b"lost"))
    assert await journal.append(kept) == 1
    with pytest.raises(StreamMovedError):
        await journal.append(lost)
    assert await journal.digest("a") == digest("a")
    assert await journal.digest("b") == digest("b")
    assert await journal.digest("c") is None
    assert await journal.replay(b"kept") == Replay(b"kept", b"fingerprint", b"answer", 1)
    assert await journal.replay(b"lost") is None


async def test_a_digest_that_cannot_be_stored_takes_its_events_with_it(journal: PostgresJournal) -> None:
    await journal.append(Write(entries=[entry("a", 1)], digests=[digest("a")]))
    with pytest.raises(Exception, match="duplicate key"):
        await journal.append(Write(entries=[entry("b", 1)], digests=[digest("a")]))
    assert await journal.head() == 1


async def test_an_idempotency_key_is_used_once_across_batches(journal: PostgresJournal) -> None:
    assert await journal.append(Write(entries=[entry("a", 1)], replay=replay(b"1"))) == 1
    with pytest.raises(AlreadyAnsweredError):
        await journal.append(Write(entries=[entry("b", 1)], replay=replay(b"1")))
    assert await journal.head() == 1


async def test_an_idempotency_key_is_used_once_within_a_batch(postgres: Postgres, database: Database) -> None:
    same = [Write(entries=[entry(f"s{n}", 1)], digests=[digest(f"s{n}")], replay=replay(b"1")) for n in range(3)]
    assert await call(postgres, *same, Write(entries=[entry("t", 1)])) == (0, [], [2, 3])
    assert await rows(database.api_url, "SELECT stream FROM keyfold.log ORDER BY position") == [("s0",), ("t",)]
    assert await rows(database.api_url, "SELECT id FROM keyfold.key_secrets") == [("s0",)]


async def test_a_stored_answer_knows_the_last_position_of_its_own_command(postgres: Postgres) -> None:
    """Also where refused ones stand before it in the batch."""
    await call(postgres, Write(entries=[entry("a", 1)], replay=replay(b"0")))
    await call(
        postgres,
        Write(entries=[entry("x", 1), entry("x", 2)], replay=replay(b"1")),
        Write(entries=[entry("a", 1), entry("y", 1)], replay=replay(b"2")),
        Write(entries=[entry("z", 1), entry("z", 2), entry("z", 3)], replay=replay(b"0")),
        Write(entries=[entry("b", 1), entry("c", 1)], replay=replay(b"3")),
    )
    journal = PostgresJournal(postgres, SEALING)
    found = [await journal.replay(str(n).encode()) for n in range(4)]
    assert [each and each.position for each in found] == [1, 3, None, 5]


async def test_the_text_of_a_record_comes_back_byte_for_byte(journal: PostgresJournal, postgres: Postgres) -> None:
    """Spaces, the order of keys, a key twice, escapes, big and odd numbers, and the most that fits. Its number in front
    is all that it gets."""
    texts = [
        '{ "b" :1,\n"a": 2, "b":\t1.0e+05}\n',
        '{"text":"\\u00e4 ä \\/ \\u0000 \\ud83d\\udddd 🗝 \u2028"}',
        '{"n":123456789012345678901234567890.10,"z":-0.0}',
        '{"x":"' + "x" * (LIMIT - 8) + '"}',
        '{"x":"' + "ä" * (LIMIT // 2 - 4) + '"}',
    ]
    for version, text in enumerate(texts, 1):
        await append(journal, entry("a", version, text))
    read = [row.record for batch in [each async for each in read_log(postgres, 0, batch=2)] for row in batch]
    assert read == [f'{{"number":{number},{text[1:]}' for number, text in enumerate(texts, 1)]


NUMBERS = "SELECT position, workspace_id, number, record->>'number' FROM keyfold.log ORDER BY position"


async def test_the_records_of_each_workspace_are_numbered_without_a_gap_whatever_is_refused(
    postgres: Postgres, database: Database
) -> None:
    """Two workspaces and several commands in one batch, some refused; and then a batch of one of them alone."""

    def of(workspace_id: str, *versioned: tuple[str, int]) -> Write:
        return Write(entries=[entry(*each, workspace_id=workspace_id) for each in versioned])

    mixed = [of("ws_a", ("a", 1)), of("ws_b", ("b", 1), ("b", 2)), of("ws_a", ("a", 2)), of("ws_a", ("x", 1), ("y", 1))]
    assert await call(postgres, *mixed) == (0, [3], [])
    assert await call(postgres, of("ws_b", ("b", 9)), of("ws_b", ("c", 1)), of("ws_b", ("d", 1))) == (5, [1], [])
    assert await call(postgres, of("ws_c", ("e", 1)), of("ws_b", ("f", 1)), of("ws_c", ("g", 1))) == (7, [], [])
    found = await rows(database.api_url, NUMBERS)
    expected = [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3), ("b", 4), ("c", 1), ("b", 5), ("c", 2)]
    assert found == [(n, f"ws_{of}", number, str(number)) for n, (of, number) in enumerate(expected, 1)]


async def test_the_log_is_read_in_batches_to_a_position_or_the_end(
    journal: PostgresJournal, postgres: Postgres
) -> None:
    await append(journal, *[entry("a", version) for version in range(1, 12)])

    async def read(after: int, until: int | None, batch: int) -> list[list[int]]:
        return [[row.position for row in each] async for each in read_log(postgres, after, until, batch=batch)]

    assert await read(0, None, 5) == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11]]
    assert await read(2, 8, 4) == [[3, 4, 5, 6], [7, 8]]
    assert await read(8, 8, 4) == []
    assert await read(11, None, 4) == []
    assert await read(10, 50, 4) == [[11]]


async def test_random_batches_do_what_a_simple_model_says(postgres: Postgres, database: Database) -> None:
    """Commands of several streams, some stale, some with used idempotency keys, against twelve lines of Python."""
    dice = random.Random(7)
    versions: Counter[str] = Counter()
    used: set[bytes] = set()
    numbered: list[str] = []
    head = 0
    for _ in range(60):
        writes, conflicted, replayed, touched, seen = [], [], [], set[str](), set[bytes]()
        accepted = []
        for number in range(1, dice.randint(2, 12)):
            streams = dice.sample("abcdefgh", dice.randint(1, 3))
            wrong = {stream: dice.choice([0] * 8 + [-1, 1]) for stream in streams}
            entries = [
                entry(s, versions[s] + wrong[s] + n, workspace_id=dice.choice(["ws_a", "ws_b"]))
                for s in streams
                for n in range(1, dice.randint(2, 4))
            ]
            key = bytes([dice.randrange(60)])
            entries = [each for each in entries if each.version > 0] or [entry("a", 1_000)]
            streams = sorted({each.stream for each in entries})
            writes.append(Write(entries=entries, replay=replay(key)))
            begins = {s: min(each.version for each in entries if each.stream == s) for s in streams}
            stale = any(begins[s] != versions[s] + 1 or s in touched for s in streams)
            again = key in used or key in seen
            touched.update(streams)
            seen.add(key)
            if stale:
                conflicted.append(number)
            if again:
                replayed.append(number)
            if not stale and not again:
                accepted.append((key, entries))
        assert await call(postgres, *writes) == (head, conflicted, replayed)
        for key, entries in accepted:
            used.add(key)
            numbered += [each.workspace_id for each in entries]
            head += len(entries)
            versions.update(each.stream for each in entries)
    assert await assert_gapless(database.api_url) == head > 100
    assert await value(database.api_url, "SELECT count(*) FROM keyfold.replays") == len(used)
    expected = [(n, of, numbered[:n].count(of), str(numbered[:n].count(of))) for n, of in enumerate(numbered, 1)]
    assert await rows(database.api_url, NUMBERS) == expected


async def test_an_empty_batch_and_unknown_things_are_no_trouble(postgres: Postgres, journal: PostgresJournal) -> None:
    assert await call(postgres) == (0, [], [])
    assert await journal.head() == 0
    assert await journal.digest(new_id("key")) is None
    assert await journal.replay(b"unknown") is None
