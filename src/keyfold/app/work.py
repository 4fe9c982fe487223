"""One command: load, decide, append, and again from the start when somebody else was faster."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from keyfold.app.ports import (
    AlreadyAnsweredError,
    Clock,
    DataKey,
    Digest,
    Entropy,
    Entry,
    Journal,
    Replay,
    StreamMovedError,
    Write,
)
from keyfold.app.sealing import Sealing, boxed, subjects_of
from keyfold.app.vault import ReplayKey, Vault
from keyfold.domain import ids, record, tokens
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.key_events import KeyErased
from keyfold.domain.key_state import Key
from keyfold.domain.partner import Partner, PartnerErased
from keyfold.domain.record import Actor, Event, Record
from keyfold.domain.refusals import Conflict, NotFound, Refusal
from keyfold.domain.tokens import Mark, Token

S = TypeVar("S")
V = TypeVar("V", bound=msgspec.Struct)

ATTEMPTS = 8
"""How often a command is decided anew before it is refused as a conflict."""


class Cause(msgspec.Struct, frozen=True):
    """Who asks, in the course of which request, and under which Idempotency-Key, if any. `subject` is under whose data
    key the actor's address is sealed; without one it isn't recorded."""

    actor: Actor
    correlation_id: str
    replay: ReplayKey | None = None
    subject: str | None = None


class Answer(msgspec.Struct, Generic[V], frozen=True):
    """What a command is answered: the view of what it did, the position at which lists include it, and the versions of
    the things that it looked at."""

    view: V
    position: int
    replayed: bool = False
    versions: dict[str, int] = {}


class KeyReused(Refusal):
    code, status, title = "idempotency-key-reused", 422, "The idempotency key was used for another request"


class RecordTooLarge(Refusal):
    code, status, title = "record-too-large", 413, "The request is too large to be recorded"


class PreconditionFailed(Refusal):
    code, status, title = "precondition-failed", 412, "It has changed since it was read"


class Pending(NamedTuple):
    """An event on its way into the log: the version that it gets in its stream, and the id of its record."""

    stream: str
    version: int
    id: str
    event: Event
    because: str | None

    @property
    def founds(self) -> bool:
        """Whether it is the first that is heard of whom it is about."""
        return self.version == 1 and self.event.subject == self.stream


class Work:
    """One attempt at a command: what it has read, and what it is going to append."""

    def __init__(self, office: "Office", cause: Cause) -> None:
        self.now: datetime = office.clock()
        self._office = office
        self._cause = cause
        self.versions: dict[str, int] = {}
        """Of all that was loaded, with what is going to be appended to it."""
        self._states: dict[str, Any] = {}
        self._pending: list[Pending] = []
        self._digests: list[Digest] = []

    def new_id(self, prefix: str) -> str:
        return ids.new_id(prefix, self.now, self._office.entropy(ids.ENTROPY))

    def mint(self, mark: Mark, of: str) -> Token:
        """A new token for this key, link or session, whose digest is stored with the events."""
        token = tokens.mint(mark, of, self._office.entropy(tokens.ENTROPY))
        self._digests.append(self._office.vault.digest(token))
        return token

    async def find(self, aggregate: Aggregate[S], of: str) -> S | None:
        if of not in self.versions:
            loaded = await self._office.journal.load(aggregate, of)
            self._states[of], self.versions[of] = loaded
        return cast("S | None", self._states[of])

    async def load(self, aggregate: Aggregate[S], of: str) -> S:
        """The state of something that must exist. Raises `NotFound`."""
        state: S | None = None
        if ids.is_id(aggregate.prefix, of):
            state = await self.find(aggregate, of)
        if state is None:
            raise NotFound.of(aggregate.word, of)
        return state

    def append(self, aggregate: Aggregate[S], of: str, events: list[Any], *, because: str | None = None) -> S:
        """Appends to a stream that was loaded, or is new, and gives the state that it has then. `because` is the id of
        the event that causes these."""
        for event in events:
            version = self.versions[of] = self.versions.get(of, 0) + 1
            self._pending.append(Pending(of, version, self.new_id("evt"), event, because))
            self._states[of] = aggregate.evolve(self._states.get(of), event, self.now)
        return cast("S", self._states[of])

    def newest(self, of: str) -> str | None:
        """The id of the last event that is going to be appended to a stream, as the cause of others."""
        return next((each.id for each in reversed(self._pending) if each.stream == of), None)

    async def written(self, view: V) -> Write:
        """All of it, with what is personal sealed. Raises `RecordTooLarge`, `Unavailable`."""
        new = {each.stream: self._office.sealing.new_key(each.stream) for each in self._pending if each.founds}
        wanted = {of for each in self._pending for of in self._subjects_of(each.event)} - {*new}
        keys = {**await self._office.journal.data_keys(wanted), **new} if wanted else new
        return Write(
            entries=[
                Entry(each.stream, each.version, self._record(each, keys), each.event.workspace_id)
                for each in self._pending
            ],
            digests=self._digests,
            replay=self._replay(view),
            data_keys=[*new.values()],
            erased=[each.stream for each in self._pending if isinstance(each.event, (PartnerErased, KeyErased))],
        )

    def _subjects_of(self, event: Event) -> Iterable[str]:
        return subjects_of(event, self._cause.actor, self._cause.subject)

    def _replay(self, view: V) -> Replay | None:
        key = self._cause.replay
        if key is None:
            return None
        answer = self._office.vault.seal(key, record.encode(view))
        subjects = {of for state in self._states.values() if (of := _subject(state)) is not None}
        return Replay(key.id, key.fingerprint, answer, subjects=tuple(sorted(subjects)))

    def _record(self, pending: Pending, keys: dict[str, DataKey]) -> str:
        event, cause = pending.event, self._cause
        actor, data, sealed = boxed(self._office.sealing, pending.id, event, cause.actor, cause.subject, keys)
        encoded = record.encode(
            Record(
                id=pending.id,
                stream=pending.stream,
                version=pending.version,
                type=event.type,
                time=self.now,
                actor=actor,
                correlation_id=cause.correlation_id,
                causation_id=pending.because,
                data=msgspec.Raw(data),
                sealed=sealed,
            )
        )
        if len(encoded) > record.LIMIT:
            raise RecordTooLarge(f"What this would record has {len(encoded)} bytes; {record.LIMIT} is the most.")
        return encoded.decode()


def _subject(state: Any) -> str | None:
    """Whose personal data a view of this may show."""
    if isinstance(state, Key):
        return state.subject
    return state.id if isinstance(state, Partner) else getattr(state, "partner_id", None)


def demand_version(work: Work, of: str, version: int) -> None:
    """That nothing has happened to it since it was read at this version. Raises `PreconditionFailed`."""
    if work.versions[of] != version:
        raise PreconditionFailed("Somebody has changed it meanwhile. Read it again, and decide anew.")


class Office:
    """Carries commands out. The one place where deciding and appending meet."""

    def __init__(self, *, journal: Journal, vault: Vault, sealing: Sealing, clock: Clock, entropy: Entropy) -> None:
        self.journal = journal
        self.vault = vault
        self.sealing = sealing
        self.clock = clock
        self.entropy = entropy

    def new_id(self, prefix: str) -> str:
        return ids.new_id(prefix, self.clock(), self.entropy(ids.ENTROPY))

    async def carry_out(self, cause: Cause, kind: type[V], command: Callable[[Work], Awaitable[V]]) -> Answer[V]:
        """Decides and appends until nobody comes in between; `kind` is the view that the command answers with."""
        for _ in range(ATTEMPTS):
            if cause.replay and (replayed := await self._replayed(cause.replay, kind)):
                return replayed
            work = Work(self, cause)
            try:
                view = await command(work)
                write = await work.written(view)
            except Refusal:
                # perhaps because of what this very request, made twice, has done since we looked
                if cause.replay and (replayed := await self._replayed(cause.replay, kind)):
                    return replayed
                raise
            if not write.entries:
                return Answer(view=view, position=await self.journal.head(), versions=work.versions)
            try:
                return Answer(view=view, position=await self.journal.append(write), versions=work.versions)
            except (StreamMovedError, AlreadyAnsweredError):
                continue
        raise Conflict("Others kept changing the same thing. Nothing was done; try again in a moment.")

    async def _replayed(self, key: ReplayKey, kind: type[V]) -> Answer[V] | None:
        kept = await self.journal.replay(key.id)
        if kept is None:
            return None
        if kept.fingerprint != key.fingerprint:
            raise KeyReused(
                "This Idempotency-Key came with a different request before. Use a new one for a new request."
            )
        answer = msgspec.json.decode(self.vault.unseal(key, kept.answer), type=kind)
        return Answer(view=answer, position=kept.position, replayed=True)
