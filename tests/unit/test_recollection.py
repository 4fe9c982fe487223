"""What is remembered of streams: never what has moved since it was asked for, or wasn't heard of."""

from keyfold.app.recollection import Recollection


class Ears:
    is_current = True


def test_it_is_found_until_its_stream_moves() -> None:
    kept: Recollection[int] = Recollection(Ears(), 10)
    kept.keep("a", 1, kept.mark())
    kept.keep("b", 2, kept.mark())
    kept.forget(["a", "c"])
    assert (kept.find("a"), kept.find("b")) == (None, 2)


def test_what_moved_while_it_was_asked_for_is_not_kept() -> None:
    kept: Recollection[int] = Recollection(Ears(), 10)
    mark = kept.mark()
    kept.forget(["a"])
    kept.keep("a", 1, mark)
    kept.keep("b", 2, mark)
    assert (kept.find("a"), kept.find("b")) == (None, 2)
    kept.keep("a", 1, kept.mark())
    assert kept.find("a") == 1


def test_what_was_asked_for_before_more_moved_than_is_remembered_is_not_kept() -> None:
    kept: Recollection[int] = Recollection(Ears(), 2)
    mark = kept.mark()
    kept.forget(["a"])
    for other in "bcd":
        kept.forget([other])
    kept.keep("a", 1, mark)
    assert kept.find("a") is None


def test_while_nothing_is_heard_nothing_is_found_or_kept() -> None:
    ears = Ears()
    kept: Recollection[int] = Recollection(ears, 10)
    kept.keep("a", 1, kept.mark())
    ears.is_current = False
    mark = kept.mark()
    assert (kept.find("a"), mark) == (None, None)
    ears.is_current = True
    kept.keep("b", 2, mark)
    assert (kept.find("a"), kept.find("b")) == (1, None)


def test_no_more_is_kept_than_there_is_room_for() -> None:
    kept: Recollection[int] = Recollection(Ears(), 2)
    for n, stream in enumerate("abc"):
        kept.keep(stream, n, kept.mark())
    assert [kept.find(stream) for stream in "abc"] == [None, 1, 2]
