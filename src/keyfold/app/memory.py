"""What a process remembers of keys, and when it must not use it."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

from keyfold.app.ports import Digest
from keyfold.domain.judgement import Decision, Question, Subject, decide

CAPACITY = 50_000
"""Keys that are remembered."""
QUESTIONS = 64
"""Questions whose answers are remembered for each of them."""
_END = datetime.max.replace(tzinfo=UTC)


class Hears(Protocol):
    """Whether all that moves is told to this process in time."""

    @property
    def is_current(self) -> bool: ...


class Known:
    """A key with all that a judgement depends on, the digest of its secret, and what was decided about it lately.

    `streams` are those that it was folded from: when one of them moves, all of it is forgotten.
    """

    def __init__(self, subject: Subject, streams: frozenset[str], digest: Digest) -> None:
        self.subject = subject
        self.streams = streams
        self.digest = digest
        self.answers: dict[Question, bytes] = {}
        """What was answered, where nothing but the decision has a say in it: goes with the decisions."""
        self._decided: dict[Question, Decision] = {}
        self._since = self._until = _END

    def decision(self, question: Question, now: datetime) -> Decision:
        """What is decided once for as long as time changes nothing about it."""
        if not self._since <= now < self._until or len(self._decided) >= QUESTIONS:
            self._decided.clear()
            self.answers.clear()
            self._since, self._until = now, next_change(self.subject, now)
        try:
            return self._decided[question]
        except KeyError:
            decided = self._decided[question] = decide(self.subject, question, now)
            return decided


class Memory:
    """Keys by the random part of their ids, used only while `hears` is current."""

    def __init__(self, hears: Hears) -> None:
        self._hears = hears
        self._known: dict[str, Known] = {}
        self._dependent: dict[str, set[str]] = {}
        self._moved: OrderedDict[str, int] = OrderedDict()
        self._moves = 0
        self._forgotten_moves = -1

    def find(self, text: str) -> Known | None:
        """What is known of the key whose secret `text` could be."""
        return self._known.get(text[-76:-50]) if self._hears.is_current else None

    def find_id(self, key_id: str) -> Known | None:
        """What is known of the key with this id."""
        return self._known.get(key_id[4:]) if self._hears.is_current else None

    def mark(self) -> int | None:
        """To be taken before the truth is asked, and given to `keep`."""
        return self._moves if self._hears.is_current else None

    def keep(self, known: Known, mark: int | None) -> None:
        """Remembers it, unless some of it has moved since the mark, or wasn't heard of then."""
        if mark is None or mark <= self._forgotten_moves:
            return
        if any(self._moved.get(stream, -1) >= mark for stream in known.streams):
            return
        name = known.subject.key.id.partition("_")[2]
        self._drop(name)  # it may have been folded from other streams
        self._known[name] = known
        for stream in known.streams:
            self._dependent.setdefault(stream, set()).add(name)
        if len(self._known) > CAPACITY:
            self._drop(next(iter(self._known)))

    def forget(self, streams: Iterable[str]) -> None:
        """These have moved."""
        for stream in streams:
            self._moved[stream] = self._moves
            self._moved.move_to_end(stream)
            for name in [*self._dependent.get(stream, ())]:
                self._drop(name)
        self._moves += 1
        while len(self._moved) > CAPACITY:
            _, self._forgotten_moves = self._moved.popitem(last=False)

    def _drop(self, name: str) -> None:
        known = self._known.pop(name, None)
        for stream in known.streams if known else ():
            names = self._dependent[stream]
            names.discard(name)
            if not names:
                del self._dependent[stream]


def next_change(subject: Subject, now: datetime) -> datetime:
    """When time by itself may change a judgement next."""
    moments = (
        moment
        for key in (subject.key, *subject.parents)
        for moment in (key.document.not_before, key.expires_at, key.retires_at)
    )
    return min((moment for moment in moments if moment is not None and moment > now), default=_END)
