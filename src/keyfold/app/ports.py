"""What the application needs of the world outside: a journal that appends and loads, a clock, entropy."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from keyfold.domain.aggregates import Aggregate

if TYPE_CHECKING:
    from keyfold.app.memory import Known

S = TypeVar("S")
Clock = Callable[[], datetime]
Entropy = Callable[[int], bytes]


class Entry(NamedTuple):
    """One record to append: `version` is the one that it gets in its stream. It has no number in its workspace until it
    is appended."""

    stream: str
    version: int
    record: str
    workspace_id: str


class Digest(msgspec.Struct, frozen=True):
    """A token at rest: the HMAC-SHA-256 under the pepper of this version. Its `repr` shows only whose it is."""

    id: str
    pepper: int
    value: bytes

    def __repr__(self) -> str:
        return f"Digest({self.id})"


class DataKey(msgspec.Struct, frozen=True):
    """What personal data of a subject, a partner or an operator's key, is sealed with: wrapped by what is derived from
    the pepper of this version. Its `repr` shows only whose it is."""

    subject: str
    pepper: int
    wrapped: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.subject})"


class Replay(msgspec.Struct, frozen=True):
    """An answer kept for a repeated request. `answer` is sealed; `position` is known once it is stored. It goes when
    one of `subjects` is erased."""

    id: bytes
    fingerprint: bytes
    answer: bytes
    position: int = 0
    subjects: tuple[str, ...] = ()


class Write(msgspec.Struct, frozen=True):
    """What one command appends: its records and the rows that live or die with them. `erased` are streams that say so
    in their records: their data keys and the addresses that they were seen at are deleted."""

    entries: list[Entry]
    digests: list[Digest] = []
    replay: Replay | None = None
    data_keys: list[DataKey] = []
    erased: list[str] = []


class Loaded(NamedTuple, Generic[S]):
    """The state of a stream and its version, None and 0 when there is no such stream."""

    state: S | None
    version: int


class StreamMovedError(Exception):
    """A stream of the write has moved on since it was loaded: decide anew."""


class AlreadyAnsweredError(Exception):
    """The idempotency key of the write has been used, just now, by another request."""


class Journal(Protocol):
    """The event store. Every method raises `Unavailable` when the truth can't be asked within its time."""

    async def load(self, aggregate: Aggregate[S], stream: str) -> Loaded[S]:
        """The stream as it is by now; never older than the call."""
        ...

    async def load_at(self, aggregate: Aggregate[S], stream: str, at: datetime) -> Loaded[S]:
        """The stream as it was at a moment: with all that was noted by then, and what precedes that in the stream,
        though another process with a faster clock has noted it. At its first record where that is later, so that what
        stands above a thing is there whenever the thing is."""
        ...

    async def append(self, write: Write) -> int:
        """Appends all or nothing, and gives the last position. Raises `StreamMovedError`, `AlreadyAnsweredError`."""
        ...

    async def digest(self, of: str) -> Digest | None:
        """The digest of the token of this key, link or session, asked for anew each time."""
        ...

    def remembered_digest(self, of: str) -> Digest | None:
        """The same without asking, if it was found before. Only for a token that matches it: whatever is refused must
        have cost as much as an unknown id, so that nobody learns from the time which ids there are."""
        ...

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        """The data keys to seal with, of those that have one. May be one that was deleted a moment ago: what it seals
        then, nobody can open."""
        ...

    async def replay(self, replay: bytes) -> Replay | None:
        """The answer kept under this id, if there is one."""
        ...

    async def newest(self, stream: str, types: Sequence[str]) -> str | None:
        """The id of the newest event of a stream that is of one of these types."""
        ...

    async def head(self) -> int:
        """The last position of the log, 0 when it is empty."""
        ...


class Stored(NamedTuple):
    """Where an app event is in its stream; of a duplicate, where it has been before."""

    sequence: int
    duplicate: bool


class EventStore(Protocol):
    """The streams of app events."""

    async def store(self, stream: str, subject: str, payload: bytes, headers: dict[str, str]) -> Stored:
        """Keeps a message, whatever is begun first comes first. Raises `Unavailable`, `EventTooLarge`."""
        ...


class Schemas(Protocol):
    """What the data of events must be like."""

    async def demand_valid(self, known: "Known", topic: str, data: Any) -> None:
        """Raises a refusal for data that the topic's schema doesn't allow. UNSET is data that is none, or no JSON."""
        ...
