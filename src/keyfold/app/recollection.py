"""What a process remembers of streams, used only while all that moves is told to it in time."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from keyfold.app.memory import Hears

T = TypeVar("T")


class Recollection(Generic[T]):
    """One thing for each stream, made of that stream alone: forgotten when it moves. As strict as `Memory`."""

    def __init__(self, hears: Hears, capacity: int) -> None:
        self._hears = hears
        self._capacity = capacity
        self._kept: dict[str, T] = {}
        self._moved: OrderedDict[str, int] = OrderedDict()
        self._moves = 0
        self._forgotten_moves = -1

    def find(self, stream: str) -> T | None:
        return self._kept.get(stream) if self._hears.is_current else None

    def mark(self) -> int | None:
        """To be taken before the truth is asked, and given to `keep`."""
        return self._moves if self._hears.is_current else None

    def keep(self, stream: str, this: T, mark: int | None) -> None:
        """Remembers it, unless the stream has moved since the mark, or wasn't heard of then."""
        if mark is None or mark <= self._forgotten_moves or self._moved.get(stream, -1) >= mark:
            return
        self._kept[stream] = this
        if len(self._kept) > self._capacity:
            del self._kept[next(iter(self._kept))]

    def forget(self, streams: Iterable[str]) -> None:
        """These have moved."""
        for stream in streams:
            self._kept.pop(stream, None)
            self._moved[stream] = self._moves
            self._moved.move_to_end(stream)
        self._moves += 1
        while len(self._moved) > self._capacity:
            _, self._forgotten_moves = self._moved.popitem(last=False)
