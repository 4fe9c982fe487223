"""A key's life, whatever is done to it in whatever order, against somebody who keeps a notebook.

The use cases are the real ones, over a journal in memory. The notebook knows nothing of events: it writes each end
down the moment that it comes, and finds families by looking for whose name stands above.
"""

import os
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, cast

import msgspec
from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from keyfold.app.access import Caller
from keyfold.app.key_life import KeyLife
from keyfold.app.keys import Keys, NewKey
from keyfold.app.ports import DataKey, Loaded, Write
from keyfold.app.rotation import Overlap, Rotation
from keyfold.app.sealing import Sealing
from keyfold.app.vault import Vault
from keyfold.app.work import Cause, Office, Work
from keyfold.domain import integration, partner, workspace
from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER, WORKSPACE, Aggregate, aggregate_of, fold
from keyfold.domain.ceilings import excesses
from keyfold.domain.judgement import Question, Subject, refusal
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.domain.policy import KeyPolicy, Offer
from keyfold.domain.record import Actor, read_record
from keyfold.domain.refusals import Refusal
from keyfold.domain.schedule import due
from keyfold.settings import Secret

from .given import NOW

WS, INT, PRT = (f"{prefix}_{1:026}" for prefix in ("ws", "int", "prt"))
HOUR = timedelta(hours=1)
HOURS = strategies.integers(1, 48)
# mostly for ever, or what is left to look at are the dead
LONG = strategies.sampled_from([None, None, None, 60, 300])
SOON = strategies.sampled_from([None, None, None, 10])
CAUSE = Cause(Actor("operator", "root@host"), "req_1")
CALLER = Caller(CAUSE, WS, is_owner=True)


class Life:
    """One page of the notebook."""

    def __init__(self, line: int, expires: datetime | None, begins: datetime | None = None) -> None:
        self.line = line
        self.expires, self.begins = expires, begins
        self.leaves: datetime | None = None
        self.overlap = timedelta()
        self.end = self.paused = self.above = self.before = self.heir = ""
        self.depth = 0
        self.used = False

    def word(self, now: datetime) -> str:
        if self.end or self.paused:
            return self.end or "suspended"
        if self.begins and self.begins > now:
            return "pending"
        return "retiring" if self.heir else "active"

    def in_use(self, now: datetime) -> bool:
        return self.word(now) in ("active", "retiring")


class MemoryJournal:
    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.keys: dict[str, DataKey] = {}
        self.sealing = Sealing({1: Secret(b"o" * 32)}, os.urandom)
        self.versions: dict[str, int] = {}

    async def load(self, aggregate: Aggregate[Any], stream: str) -> Loaded[Any]:
        return Loaded(self.states.get(stream), self.versions.get(stream, 0))

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        return {subject: self.keys[subject] for subject in subjects}

    async def append(self, write: Write) -> int:
        self.keys |= {each.subject: each for each in write.data_keys}
        for entry in write.entries:
            assert entry.version == self.versions.get(entry.stream, 0) + 1
            self.versions[entry.stream] = entry.version
            state = self.states.get(entry.stream)
            self.states[entry.stream] = fold(
                aggregate_of(entry.stream), state, self.sealing.open(read_record(entry.record), self.keys)
            )
        return 1

    async def head(self) -> int:
        return 1


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it: an answer's view or a refusal. Nothing here ever waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    except Refusal as refused:
        return refused
    raise AssertionError("something waited")


class KeyLives(RuleBasedStateMachine):
    keys = Bundle("keys")

    @initialize(target=keys, lifetime=LONG)
    def a_family(self, lifetime: int | None) -> Any:
        self.offer(lifetime)
        first = self.issue(None, None)
        second = self.delegate(first, ("app/*",))
        return multiple(first, second, self.delegate(second, ("app/*",)))

    def offer(self, lifetime: int | None) -> None:
        self.now, self.lines = NOW, count()
        self.notes: dict[str, Life] = {}
        self.lifetime = None if lifetime is None else lifetime * HOUR
        self.journal = MemoryJournal()
        numbers = count(1)
        self.office = Office(
            journal=cast(Any, self.journal),
            vault=Vault({1: Secret(b"o" * 32)}, bytes),
            sealing=self.journal.sealing,
            clock=lambda: self.now,
            entropy=lambda size: next(numbers).to_bytes(size, "big"),
        )
        self.rotation, self.life, self.issuing = Rotation(self.office), KeyLife(self.office), Keys(self.office)
        policy = KeyPolicy(lifetime_seconds=lifetime and lifetime * 3600)
        terms = integration.Terms(name="Shop", environments={each: Offer(policy=policy) for each in ENVIRONMENTS})
        work = Work(self.office, CAUSE)
        work.append(WORKSPACE, WS, workspace.create(WS, "Acme"))
        work.append(INTEGRATION, INT, integration.create(INT, WS, terms))
        invited = {"link_id": "lnk_1", "workspace_id": WS, "partner_id": PRT, "integration_id": INT}
        work.append(PARTNER, PRT, partner.invite(partner.Invitation(), **invited))
        run(self.journal.append(run(work.written(msgspec.Struct()))))

    def state(self, key_id: str) -> Key:
        this: Key = self.journal.states[key_id]
        return this

    def below(self, key_id: str) -> list[tuple[str, Life]]:
        return [(name, life) for name, life in self.notes.items() if life.above == key_id and not life.end]

    def moment(self, hours: int | None) -> datetime | None:
        return None if hours is None else self.now + hours * HOUR

    def policy_end(self) -> datetime | None:
        return None if self.lifetime is None else self.now + self.lifetime

    def look_at_the_clock(self) -> None:
        for life in self.notes.values():
            ends = [(life.expires, "expired"), (life.leaves, "retired")]
            come = [(moment, word) for moment, word in ends if moment is not None and moment <= self.now]
            life.end = life.end or min(come, default=(NOW, ""))[1]

    def settle(self, answer: Any, *, refused: bool) -> None:
        assert isinstance(answer, Refusal) is refused, answer
        self.look_at_the_clock()

    @rule(hours=HOURS)
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR
        self.look_at_the_clock()

    @rule(target=keys, expires=LONG, begins=SOON)
    def issue(self, expires: int | None, begins: int | None) -> Any:
        ends, latest = self.moment(expires), self.policy_end()
        expected = ends or latest
        wanted = NewKey(partner_id=PRT, environment="prod", expires_at=ends, not_before=self.moment(begins))
        answer = run(self.issuing.issue(CALLER, wanted))
        too_late = ends is not None and latest is not None and ends > latest
        never = begins is not None and expected is not None and self.now + begins * HOUR >= expected
        self.settle(answer, refused=too_late or never)
        if too_late or never:
            return multiple()
        self.notes[answer.view.id] = Life(next(self.lines), expected, self.moment(begins))
        return answer.view.id

    @rule(target=keys, parent=keys, topics=strategies.sampled_from([("app/*",), ("app/*",), ("**",)]))
    def delegate(self, parent: str, topics: tuple[str, ...]) -> Any:
        above = self.notes[parent]
        fits = not [*excesses(self.narrow(parent, topics), self.rule_of(parent))]
        possible = above.in_use(self.now) and above.depth < 2 and fits
        wanted = NewKey(options={"send": {"topics": topics}})
        answer = run(self.issuing.delegate(CALLER, parent, wanted))
        self.settle(answer, refused=not possible)
        if not possible:
            return multiple()
        child = self.notes[answer.view.id] = Life(next(self.lines), above.expires)
        child.above, child.depth = parent, above.depth + 1
        return answer.view.id

    def rule_of(self, key_id: str) -> Any:
        return self.state(key_id).document.rule

    def narrow(self, key_id: str, topics: tuple[str, ...]) -> Any:
        return self.rule_of(key_id).with_asked(None, {"send": {"topics": topics}})

    @rule(
        target=keys,
        key_id=keys,
        overlap=strategies.sampled_from([0, 1, 24, 720]),
        starts=strategies.sampled_from(["now", "first-use"]),
    )
    def rotate(self, key_id: str, overlap: int, starts: Any) -> Any:
        old, before = self.notes[key_id], self.state(key_id)
        heir = self.notes.get(old.heir)
        parent = self.notes.get(old.above)
        followed = heir is not None and heir.used and not heir.end
        possible = old.in_use(self.now) and not followed and (parent is None or parent.in_use(self.now))
        answer = run(self.rotation.rotate(CALLER, key_id, Overlap(overlap * 3600, starts)))
        self.settle(answer, refused=not possible)
        if not possible:
            return multiple()
        ends = min((each for each in (old.expires, self.policy_end()) if each is not None), default=None)
        name, life = answer.view.id, Life(old.line, ends)
        for _, child in [*self.below(key_id), *(self.below(old.heir) if heir else [])]:
            child.above = name
        if heir is not None:
            heir.end = heir.end or "revoked"
        if old.before:
            self.notes[old.before].end = self.notes[old.before].end or "retired"
        life.above, life.depth, life.before = old.above, old.depth, key_id
        old.heir, old.overlap = name, overlap * HOUR
        old.leaves = self.now + old.overlap if starts == "now" else None
        self.notes[name] = life
        self.look_at_the_clock()
        after = self.state(name)
        assert [*excesses(self.rule_of(name), before.document.rule or self.rule_of(name))] == []
        assert before.expires_at is None or (after.expires_at is not None and after.expires_at <= before.expires_at)
        return name

    @rule(key_id=keys)
    def use(self, key_id: str) -> None:
        life = self.notes[key_id]
        if life.before and life.in_use(self.now):
            run(self.rotation.note_first_use(CAUSE, key_id))
            old = self.notes[life.before]
            if not life.used and old.leaves is None:
                old.leaves = self.now + old.overlap
            life.used = True
            self.look_at_the_clock()

    @rule(key_id=keys)
    def suspend(self, key_id: str) -> None:
        life = self.notes[key_id]
        self.settle(run(self.life.suspend(CALLER, key_id, "weekend")), refused=bool(life.end))
        if not life.end:
            life.paused = "own"
            self.pause_below(key_id)

    def pause_below(self, key_id: str) -> None:
        for name, child in self.below(key_id):
            child.paused = child.paused or "parent"
            self.pause_below(name)

    @rule(key_id=keys)
    def reinstate(self, key_id: str) -> None:
        life = self.notes[key_id]
        parent = self.notes.get(life.above)
        refused = bool(life.end) or (parent is not None and not parent.in_use(self.now))
        self.settle(run(self.life.reinstate(CALLER, key_id)), refused=refused)
        if not refused:
            life.paused = ""
            self.bring_back_below(key_id)

    def bring_back_below(self, key_id: str) -> None:
        for name, child in self.below(key_id):
            if child.paused == "parent":
                child.paused = ""
                self.bring_back_below(name)

    @rule(key_id=keys)
    def revoke(self, key_id: str) -> None:
        self.settle(run(self.life.revoke(CALLER, key_id, "lost")), refused=False)
        self.notes[key_id].end = "revoked"
        self.end_below(key_id)

    def end_below(self, key_id: str) -> None:
        for name, child in self.below(key_id):
            child.end = "revoked"
            self.end_below(name)

    @rule(key_id=keys, hours=LONG)
    def move_the_expiry(self, key_id: str, hours: int | None) -> None:
        life, ends = self.notes[key_id], self.moment(hours)
        document = msgspec.structs.replace(self.state(key_id).document, expires_at=ends)
        version = self.journal.versions[key_id]
        is_active = not life.paused
        answer = run(self.life.change(CALLER, key_id, document, version=version, is_active=is_active))
        latest = self.latest(key_id)
        beyond = latest is not None and (ends is None or ends > latest) and ends != life.expires
        never = life.begins is not None and ends is not None and life.begins >= ends
        refused = bool(life.end) or beyond or never
        self.settle(answer, refused=refused)
        if not refused:
            life.expires = ends

    def latest(self, key_id: str) -> datetime | None:
        """What the one above, or else the policy, allows."""
        above = self.notes[key_id].above
        if above:
            return self.notes[above].expires
        return None if self.lifetime is None else self.state(key_id).issued_at + self.lifetime

    @rule()
    def the_schedule_comes_by(self) -> None:
        work = Work(self.office, CAUSE)
        for name in self.notes:
            run(work.load(KEY, name))
            work.append(KEY, name, [*due(self.state(name), self.now)])
        run(self.journal.append(run(work.written(msgspec.Struct()))))

    @invariant()
    def every_key_is_what_the_notebook_says(self) -> None:
        for name, life in getattr(self, "notes", {}).items():
            assert self.state(name).status_at(self.now) == life.word(self.now), name

    @invariant()
    def of_a_line_live_two_at_the_most(self) -> None:
        living = [
            life.line for name, life in getattr(self, "notes", {}).items() if not self.state(name).has_ended(self.now)
        ]
        assert all(living.count(line) <= 2 for line in living)

    @invariant()
    def nobody_is_usable_under_one_who_isnt(self) -> None:
        for name, life in getattr(self, "notes", {}).items():
            parents, above = [], life.above
            while above:
                parents.append(above)
                above = self.notes[above].above
            subject = Subject(self.state(name), tuple(map(self.state, parents)), Offer())
            usable = refusal(subject, Question(), self.now) is None
            assert usable is all(self.notes[each].in_use(self.now) for each in (name, *parents))


KeyLives.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestKeyLives = KeyLives.TestCase
