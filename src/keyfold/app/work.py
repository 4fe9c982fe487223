"""One command: load, decide, append, and again from the start when somebody else was faster."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import msgspec

from keyfold.app.ports import AlreadyAnsweredError, Clock, Entropy, Entry, Journal, Replay, StreamMovedError, Write
from keyfold.app.vault import ReplayKey, Vault
from keyfold.domain import ids, record, tokens
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.record import Actor, Event, Record
from keyfold.domain.refusals import Conflict, NotFound, Refusal
from keyfold.domain.tokens import Mark, Token

S = TypeVar("S")
V = TypeVar("V", bound=msgspec.Struct)

ATTEMPTS = 8
"""How often a command is decided anew before it is refused as a conflict."""


class Cause(msgspec.Struct, frozen=True):
    """Who asks, in the course of which request, and under which Idempotency-Key, if any."""

    actor: Actor
    correlation_id: str
    replay: ReplayKey | None = None


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


class Work:
    """One attempt at a command: what it has read, and what it is going to append."""

    def __init__(self, office: "Office", cause: Cause) -> None:
        self.now: datetime = office.clock()
        self._office = office
        self._cause = cause
        self.versions: dict[str, int] = {}
        """Of all that was loaded, with what is going to be appended to it."""
        self._states: dict[str, Any] = {}
        self._write = Write(entries=[], digests=[])

    def new_id(self, prefix: str) -> str:
        return ids.new_id(prefix, self.now, self._office.entropy(ids.ENTROPY))

    def mint(self, mark: Mark, of: str) -> Token:
        """A new token for this key, link or session, whose digest is stored with the events."""
        token = tokens.mint(mark, of, self._office.entropy(tokens.ENTROPY))
        self._write.digests.append(self._office.vault.digest(token))
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

    def append(self, aggregate: Aggregate[S], of: str, events: list[Any]) -> S:
        """Appends to a stream that was loaded, or is new, and gives the state that it has then."""
        for event in events:
            version = self.versions[of] = self.versions.get(of, 0) + 1
            self._write.entries.append(Entry(of, version, self._record(of, version, event)))
            self._states[of] = aggregate.evolve(self._states.get(of), event, self.now)
        return cast("S", self._states[of])

    def written(self, view: V) -> Write:
        if self._cause.replay is None:
            return self._write
        key = self._cause.replay
        sealed = self._office.vault.seal(key, record.encode(view))
        return msgspec.structs.replace(self._write, replay=Replay(key.id, key.fingerprint, sealed))

    def _record(self, stream: str, version: int, event: Event) -> str:
        encoded = record.encode(
            Record(
                id=self.new_id("evt"),
                stream=stream,
                version=version,
                type=event.type,
                time=self.now,
                actor=self._cause.actor,
                correlation_id=self._cause.correlation_id,
                data=msgspec.Raw(record.encode(event)),
            )
        )
        if len(encoded) > record.LIMIT:
            raise RecordTooLarge(f"What this would record has {len(encoded)} bytes; {record.LIMIT} is the most.")
        return encoded.decode()


def demand_version(work: Work, of: str, version: int) -> None:
    """That nothing has happened to it since it was read at this version. Raises `PreconditionFailed`."""
    if work.versions[of] != version:
        raise PreconditionFailed("Somebody has changed it meanwhile. Read it again, and decide anew.")


class Office:
    """Carries commands out. The one place where deciding and appending meet."""

    def __init__(self, *, journal: Journal, vault: Vault, clock: Clock, entropy: Entropy) -> None:
        self.journal = journal
        self.vault = vault
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
            except Refusal:
                # perhaps because of what this very request, made twice, has done since we looked
                if cause.replay and (replayed := await self._replayed(cause.replay, kind)):
                    return replayed
                raise
            write = work.written(view)
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
