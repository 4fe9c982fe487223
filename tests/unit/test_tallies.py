"""What is counted on its way into the log: the first at once, then numbers, and nothing lost in an outage."""

from datetime import UTC, datetime, timedelta

import pytest

from keyfold.app import tallies
from keyfold.app.tallies import EVERY, Tallies, Tally
from keyfold.domain.refusals import Unavailable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Book:
    """What was written, by a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON
        self.lines: list[tuple[str, int, str]] = []
        self.spans: list[tuple[datetime, datetime]] = []
        self.is_down = False
        self.tallies: Tallies[str, str] = Tallies(lambda: self.now, self.write)

    async def write(self, kind: str, tally: Tally[str]) -> None:
        if self.is_down:
            raise Unavailable("down")
        self.lines.append((kind, tally.count, tally.last))
        self.spans.append((tally.since, tally.until))

    def note(self, kind: str, last: str = "") -> None:
        self.tallies.note(kind, last, self.now)


@pytest.fixture
def book() -> Book:
    return Book()


async def test_the_first_is_written_at_once_and_a_million_more_are_one_record_each_ten_minutes(book: Book) -> None:
    book.note("a", "one")
    await book.tallies.flush()
    for n in range(1000):
        book.now += SECOND / 10
        book.note("a", str(n))
        await book.tallies.flush()
    assert book.lines == [("a", 1, "one")]
    book.now = NOON + EVERY
    await book.tallies.flush()
    assert book.lines == [("a", 1, "one"), ("a", 1000, "999")]
    assert book.spans[1] == (NOON + SECOND / 10, NOON + 100 * SECOND)


async def test_what_was_quiet_for_so_long_is_forgotten_and_then_the_first_again(book: Book) -> None:
    book.note("a")
    await book.tallies.flush()
    book.now += EVERY
    await book.tallies.flush()
    book.note("a")
    await book.tallies.flush()
    assert book.lines == [("a", 1, ""), ("a", 1, "")]


async def test_what_cannot_be_written_is_kept_and_written_later_with_what_came_meanwhile(book: Book) -> None:
    book.note("a")
    book.is_down = True
    with pytest.raises(Unavailable):
        await book.tallies.flush()
    book.now += SECOND
    book.note("a", "later")
    book.is_down = False
    await book.tallies.flush()
    assert book.lines == [("a", 2, "later")]
    assert book.spans == [(NOON, NOON + SECOND)]


async def test_what_comes_while_it_is_written_belongs_to_the_next(book: Book) -> None:
    async def write(kind: str, tally: Tally[str]) -> None:
        book.note("a", "meanwhile")
        book.lines.append((kind, tally.count, tally.last))

    book.tallies = Tallies(lambda: book.now, write)
    book.note("a", "first")
    await book.tallies.flush()
    await book.tallies.flush()
    assert book.lines == [("a", 1, "first")]
    book.now += EVERY
    await book.tallies.flush()
    assert book.lines[1:] == [("a", 1, "meanwhile")]


async def test_of_more_kinds_than_there_is_room_for_the_oldest_are_written_early(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "CAPACITY", 2)
    for kind in "abc":
        book.note(kind)
    await book.tallies.flush()
    for kind in "abc":
        book.note(kind)
    await book.tallies.flush()
    assert book.lines[3:] == [("a", 1, "")]


async def test_a_kind_is_noted_again_only_where_it_came_already(book: Book) -> None:
    assert not book.tallies.again("a", NOON)
    book.note("a")
    assert book.tallies.again("a", NOON)
    await book.tallies.flush()
    assert book.lines == [("a", 2, "")]
    assert not book.tallies.again("a", NOON)
