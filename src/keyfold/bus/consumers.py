"""The consumers of a key: its own, which its successors take over, and the groups that its partner shares."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary

from keyfold.app.memory import Known
from keyfold.app.ports import Clock, Journal
from keyfold.bus.durables import Durable, Durables, Start
from keyfold.domain.aggregates import PARTNER
from keyfold.domain.app_event import EVERYONE, stream_of
from keyfold.domain.consumer_group import OWN, Group, in_environment
from keyfold.domain.ids import time_of
from keyfold.domain.key_state import Key
from keyfold.domain.reach import Obstacle, Reach, beyond, coarse, reach, reach_of, receive_of
from keyfold.domain.refusals import NotFound, Refusal
from keyfold.domain.rule import Receive

LATE = Obstacle("history-window", "Its window begins after it was made, and only Keyfold tells the age of events.")


class NothingToReceive(Refusal):
    """The rules that the key is under have no topic in common to receive from."""

    code, status, title = "nothing-to-receive", 403, "The key reaches no topic"


class ConsumerBeyondReach(Refusal):
    """The consumer gives more than the key may have by now."""

    code, status, title = "consumer-beyond-reach", 403, "The consumer goes beyond the key"


class Consumer(NamedTuple):
    """A consumer as a key has it before it. `reach` is what it gives; `target` stands for it in subjects.

    `why_not_native` says why it can't be used through NATS alone.
    """

    name: str
    reach: Reach
    target: str
    why_not_native: Obstacle | None
    durable: Durable

    @property
    def stream(self) -> str:
        return self.durable.stream

    @property
    def native(self) -> bool:
        return self.why_not_native is None


class Consumers:
    """`find` gives a key by its id, from memory or from the truth. Durables are made when somebody needs them, so NATS
    may lose them all."""

    def __init__(
        self,
        durables: Durables,
        *,
        journal: Journal,
        find: Callable[[str], Awaitable[Known | None]],
        clock: Clock,
    ) -> None:
        self.durables = durables
        self._journal = journal
        self._find = find
        self._clock = clock
        self._reaches: WeakKeyDictionary[Known, Reach] = WeakKeyDictionary()

    async def own(self, known: Known) -> str:
        """The name of the key's own durable, which is there now. Raises as `named` does."""
        return (await self.named(known, OWN)).durable.name

    async def natives(self, known: Known) -> list[tuple[str, str]]:
        """Stream and name of each durable that the key may use through NATS alone, all of them there. Raises
        `Unavailable`."""
        usable = [each for each in await self.usable(known) if each.native]
        for each in usable:
            await self.durables.ensure(each.durable)
        return [(each.stream, each.durable.name) for each in usable]

    async def named(self, known: Known, name: str) -> Consumer:
        """The key's consumer of this name, which is there now. Raises `NotFound`, `NothingToReceive`,
        `ConsumerBeyondReach`, `Unavailable`."""
        consumer = await self.find(known, name)
        await self.durables.ensure(consumer.durable)
        return consumer

    async def find(self, known: Known, name: str) -> Consumer:
        """The same, whether it is there by now or not."""
        if known.subject.key.environment is None:
            raise NotFound.of("consumer", name)
        if name == OWN:
            return await self._own(known)
        for group in await self.groups(known):
            if group.name == name:
                _demand_covered(known, reach_of(group.receive))
                return _of_group(known.subject.key, group)
        raise NotFound.of("consumer", name)

    async def usable(self, known: Known) -> list[Consumer]:
        """Every consumer that the key may use by now."""
        found = []
        for name in (OWN, *(group.name for group in await self.groups(known))):
            try:
                found.append(await self.find(known, name))
            except (NothingToReceive, ConsumerBeyondReach, NotFound):
                continue
        return found

    async def groups(self, known: Known) -> list[Group]:
        """The groups of the key's partner in its environment."""
        key = known.subject.key
        if key.partner_id is None:
            return []
        partner = (await self._journal.load(PARTNER, key.partner_id)).state
        return [*in_environment(partner.consumers, key.environment)] if partner else []

    def reach_of(self, known: Known) -> Reach:
        """What the key may receive by now, worked out once for as long as nothing moves."""
        found = self._reaches.get(known)
        if found is None:
            found = self._reaches[known] = reach(known.subject)
        return found

    def receive_of(self, known: Known) -> Receive:
        """The same as options of receiving. Raises `NothingToReceive`."""
        given = self.reach_of(known)
        if not given.patterns:
            raise NothingToReceive("The key, the keys above it and its integration have no topic in common.")
        return receive_of(given)

    async def _own(self, known: Known) -> Consumer:
        """The one that all keys of a line share; the last of them says what it gives."""
        leader = await self._leader(known)
        given = self.reach_of(leader)
        if leader is not known and given != self.reach_of(known):
            _demand_covered(known, given)
        if not given.patterns:
            raise NothingToReceive("The key, the keys above it and its integration have no topic in common.")
        return _of_key(known.subject.key, given, self._clock())

    async def _leader(self, known: Known) -> Known:
        """The last key of the line that hasn't ended."""
        while (succession := known.subject.key.succession) is not None:
            following = await self._find(succession.successor_id)
            if following is None or following.subject.key.has_ended(self._clock()):
                break
            known = following
        return known


def _demand_covered(known: Known, given: Reach) -> None:
    """Raises `ConsumerBeyondReach`."""
    if excess := beyond(receive_of(given), known.subject):
        raise ConsumerBeyondReach("This key may not receive all that the consumer gives.", *excess)


def _of_key(key: Key, given: Reach, now: datetime) -> Consumer:
    born = time_of(key.line)
    suffix = key.line.partition("_")[2]
    native, through_us = f"k_{suffix}", f"h_{suffix}"
    why = given.why_not_native or (LATE if given.since is not None and given.since > born else None)
    name, sibling = (native, through_us) if why is None else (through_us, native)
    earliest = given.earliest(now)
    start = Start(max(born, earliest) if earliest else born)
    durable = _durable(key, given, name=name, target=native, start=start, sibling=sibling)
    return Consumer(OWN, given, native, why, durable)


def _of_group(key: Key, group: Group) -> Consumer:
    given = reach_of(group.receive)
    name = f"g_{str(key.partner_id).partition('_')[2]}_{group.name}"
    why = given.why_not_native or (LATE if given.since is not None and given.since > group.added_at else None)
    starts = [each for each in (group.start, given.since) if each is not None]
    durable = _durable(key, given, name=name, target=name, start=Start(max(starts, default=None)))
    return Consumer(group.name, given, name, why, durable)


def _durable(key: Key, given: Reach, *, name: str, target: str, start: Start, sibling: str | None = None) -> Durable:
    environment = str(key.environment)
    return Durable(
        workspace_id=key.workspace_id,
        environment=environment,
        stream=stream_of(key.workspace_id, environment),
        name=name,
        subjects=subjects_of(key, given, target),
        start=start,
        key_id=key.id,
        sibling=sibling,
    )


def subjects_of(key: Key, given: Reach, *more: str) -> tuple[str, ...]:
    """The subjects of all that lies within a reach: for everyone, for the key's partner, and for what `more` names."""
    base = f"ev.{key.workspace_id}.{key.environment}"
    topics = [each.replace("**", ">").replace("/", ".") for each in coarse(given.patterns)]
    return tuple(f"{base}.{to}.{topic}" for to in (EVERYONE, str(key.partner_id), *more) for topic in topics)


def topic_of(subject: str) -> str:
    """The topic of a stored event."""
    return "/".join(subject.split(".")[4:])


def recipient_of(subject: str) -> str:
    """Whom a stored event is for: `EVERYONE`, a partner, or a consumer."""
    return subject.split(".")[3]
