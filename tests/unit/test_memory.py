"""What is remembered of keys: never past a move, never past a moment, and only while everything is heard."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies

from keyfold.app import memory
from keyfold.app.memory import QUESTIONS, Known, Memory, next_change
from keyfold.app.ports import Digest
from keyfold.domain.judgement import Decision, Question, Subject, decide
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import Key, Succession
from keyfold.domain.policy import Offer
from keyfold.domain.rule import Rule

from .given import NOW

MOMENT, HOUR = timedelta(microseconds=1), timedelta(hours=1)
SEND = Question("send", "app/order/created")


class Ears:
    is_current = True


def key(number: int = 1, **fields: Any) -> Key:
    document = {each: fields.pop(each) for each in ("not_before", "expires_at") if each in fields}
    return Key(
        id=f"key_{number:026}",
        workspace_id="ws_1",
        kind="service",
        document=Document(name="orders", rule=Rule(), **document),
        integration_id="int_1",
        partner_id="prt_1",
        environment="prod",
        issued_at=NOW,
        **fields,
    )


def known(number: int = 1, *streams: str, this: Key | None = None, parents: tuple[Key, ...] = ()) -> Known:
    this = this or key(number)
    return Known(Subject(this, parents, Offer()), frozenset({this.id, *streams}), Digest(this.id, 1, bytes(32)))


def secret_of(number: int) -> str:
    return f"kf_prod_{number:026}_{'x' * 49}"


def remembering(*of: Known, ears: Ears | None = None) -> Memory:
    this = Memory(ears or Ears())
    for each in of:
        this.keep(each, this.mark())
    return this


def code(this: Known, now: datetime, question: Question = SEND) -> str:
    return this.decision(question, now).code


def test_what_was_kept_is_found_by_the_text_of_the_secret() -> None:
    one, two = known(1), known(2)
    this = remembering(one, two)
    assert (this.find(secret_of(1)), this.find(secret_of(2)), this.find(secret_of(3))) == (one, two, None)
    assert this.find("") is None


def test_nothing_is_found_while_this_process_may_not_have_heard() -> None:
    ears = Ears()
    one = known(1)
    this = remembering(one, ears=ears)
    ears.is_current = False
    assert this.find(secret_of(1)) is None
    ears.is_current = True
    assert this.find(secret_of(1)) is one


def test_what_was_asked_while_it_couldnt_hear_is_not_kept() -> None:
    ears = Ears()
    this = Memory(ears)
    ears.is_current = False
    mark = this.mark()
    ears.is_current = True
    this.keep(known(1), mark)
    assert this.find(secret_of(1)) is None


@pytest.mark.parametrize("stream", ["key_00000000000000000000000001", "int_1", "key_0"])
def test_a_key_is_forgotten_when_any_stream_moves_that_it_was_folded_from(stream: str) -> None:
    one, two = known(1, "int_1", "key_0"), known(2, "ws_1")
    this = remembering(one, two)
    this.forget(["int_2", stream])
    assert (this.find(secret_of(1)), this.find(secret_of(2))) == (None, two)


def test_one_move_forgets_every_key_that_depends_on_it() -> None:
    this = remembering(*(known(n, "int_1") for n in range(10)), known(10, "int_2"))
    this.forget(["int_1"])
    assert [n for n in range(11) if this.find(secret_of(n))] == [10]


@pytest.mark.parametrize("stream", ["key_00000000000000000000000001", "int_1"])
def test_what_moved_between_asking_and_keeping_is_not_kept(stream: str) -> None:
    this = Memory(Ears())
    mark = this.mark()
    this.forget([stream])
    this.keep(known(1, "int_1"), mark)
    assert this.find(secret_of(1)) is None
    this.keep(known(1, "int_1"), this.mark())
    assert this.find(secret_of(1)) is not None


def test_what_moved_before_the_question_or_elsewhere_doesnt_hinder() -> None:
    this = Memory(Ears())
    this.forget(["int_1"])
    mark = this.mark()
    this.forget(["int_2"])
    this.keep(known(1, "int_1"), mark)
    assert this.find(secret_of(1)) is not None


def test_when_more_has_moved_than_is_remembered_nothing_of_that_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CAPACITY", 3)
    this = Memory(Ears())
    mark = this.mark()
    this.forget(["int_1"])
    for n in range(3):
        this.forget([f"int_other{n}"])
    this.keep(known(1, "int_1"), mark)
    assert this.find(secret_of(1)) is None
    later = this.mark()
    this.keep(known(1, "int_1"), later)
    assert this.find(secret_of(1)) is not None


def test_the_one_that_was_kept_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CAPACITY", 3)
    this = remembering(*(known(n) for n in (1, 2, 3)), known(1), known(4))
    assert [n for n in (1, 2, 3, 4) if this.find(secret_of(n))] == [1, 3, 4]


def test_what_is_kept_anew_depends_on_its_new_streams_alone() -> None:
    newer = known(1, "key_new")
    this = remembering(known(1, "key_old"), newer)
    this.forget(["key_old"])
    assert this.find(secret_of(1)) is newer
    this.forget(["key_new"])
    assert this.find(secret_of(1)) is None


def test_a_moment_that_changes_something_is_a_new_judgement() -> None:
    this = known(this=key(not_before=NOW + HOUR, expires_at=NOW + 3 * HOUR))
    moments = [NOW, NOW + HOUR - MOMENT, NOW + HOUR, NOW + 3 * HOUR - MOMENT, NOW + 3 * HOUR, NOW + 4 * HOUR]
    assert [code(this, now) for now in moments] == ["pending", "pending", "valid", "valid", "expired", "expired"]


def test_when_the_clock_goes_back_it_is_judged_anew_as_well() -> None:
    this = known(this=key(not_before=NOW + HOUR, expires_at=NOW + 3 * HOUR))
    moments = [NOW + 3 * HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR, NOW, NOW + HOUR]
    assert [code(this, now) for now in moments] == ["expired", "valid", "expired", "pending", "valid"]


def test_a_parents_moments_count_as_the_keys_own() -> None:
    parent = key(2, expires_at=NOW + 2 * HOUR, succession=Succession("key_3", 60, NOW + HOUR))
    this = known(this=key(not_before=NOW), parents=(parent,))
    assert [next_change(this.subject, NOW + n * HOUR - MOMENT) for n in (0, 1, 2)] == [NOW, NOW + HOUR, NOW + 2 * HOUR]
    assert [code(this, NOW + HOUR - MOMENT), code(this, NOW + HOUR)] == ["valid", "parent-retired"]


def test_a_question_is_decided_once_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Question] = []

    def counted(subject: Subject, question: Question, now: datetime) -> Decision:
        asked.append(question)
        return decide(subject, question, now)

    monkeypatch.setattr(memory, "decide", counted)
    this = known(this=key(expires_at=NOW + HOUR))
    other = Question("receive")
    for now in (NOW, NOW + MOMENT, NOW + HOUR - MOMENT):
        assert (code(this, now), code(this, now, other)) == ("valid", "valid")
    assert asked == [SEND, other]
    assert code(this, NOW + HOUR) == "expired"
    assert asked == [SEND, other, SEND]


def test_answers_to_endless_questions_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Question] = []
    monkeypatch.setattr(memory, "decide", lambda subject, question, now: asked.append(question))
    this = known()
    for n in range(QUESTIONS):
        this.decision(Question("send", f"app/{n}"), NOW)
    this.decision(Question("send", "one/more"), NOW)
    this.decision(Question("send", "app/0"), NOW)
    assert len(asked) == QUESTIONS + 2


MOMENTS = strategies.none() | strategies.integers(0, 12)


@given(MOMENTS, MOMENTS, MOMENTS, MOMENTS, strategies.lists(strategies.integers(0, 13), min_size=1, max_size=20))
def test_whatever_the_clock_does_the_answer_is_what_it_would_be_without_a_memory(
    begins: int | None, expires: int | None, retires: int | None, parents_end: int | None, clock: list[int]
) -> None:
    def moment(hours: int | None) -> datetime | None:
        return None if hours is None else NOW + hours * HOUR

    succession = None if retires is None else Succession("key_2", 60, moment(retires))
    this = known(
        this=key(not_before=moment(begins), expires_at=moment(expires), succession=succession),
        parents=(key(2, expires_at=moment(parents_end)),),
    )
    for hours in clock:
        now = NOW + hours * HOUR
        assert this.decision(SEND, now) == decide(this.subject, SEND, now)
