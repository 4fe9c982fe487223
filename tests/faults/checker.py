"""Whether a history and what is found afterwards go together. Pure: every rule says in words what goes against it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keyfold_client.audit.merkle import Frontier, leaf_hash

from .history import Call, Fact, Fault, Found
from .watch import BOUND

RECOVERY = 10.0
"""Seconds after a fault in which connections may still end that should have ended during it."""
FACTS: Mapping[str, Counter[str]] = {
    "invite": Counter({"partner.invited.v1": 1, "link.issued.v1": 1}),
    "redeem": Counter({"link.redeemed.v1": 1, "partner.onboarded.v1": 1, "session.opened.v1": 1, "key.issued.v1": 3}),
    "issue": Counter({"key.issued.v1": 1}),
    "rotate": Counter({"key.rotated.v1": 1, "partner.key-added.v1": 1, "key.issued.v1": 1}),
    "narrow": Counter({"key.changed.v1": 1}),
    "suspend": Counter({"key.suspended.v1": 1}),
    "reinstate": Counter({"key.reinstated.v1": 1}),
    "revoke": Counter({"key.revoked.v1": 1}),
}
"""What each command is in the log, all of it or nothing."""
_SAYS = {
    "key.issued.v1": "valid",
    "key.reinstated.v1": "valid",
    "key.suspended.v1": "suspended",
    "key.revoked.v1": "revoked",
}
_REFUSALS = {"revoked", "suspended", "topic-not-permitted"}
"""What a key that is there, and hasn't come to its end, can be called."""
USES = {"verify", "publish", "connect", "receive"}


class Ban(NamedTuple):
    """From the answer to its command until `until` the key may not be used, for a topic alone or at all."""

    key: str
    topic: str
    since: float
    until: float
    what: str


def violations(calls: Sequence[Call], faults: Sequence[Fault], found: Found) -> list[str]:
    """All that is wrong; nothing when all is well."""
    rules: list[Callable[[], Iterable[str]]] = [
        lambda: gaps(found.facts),
        lambda: wrong_commands(calls, found.facts),
        lambda: unasked(calls, found.facts, found.asked_from),
        lambda: late_uses(calls, faults),
        lambda: groundless_refusals(calls),
        lambda: wrong_standing(found),
        lambda: wrong_lifecycle(found.facts, found.lifecycle),
        lambda: wrong_events(calls, found),
        lambda: foreign_events(calls, found),
        lambda: wrong_tree(found),
        lambda: (f"the projection {name} differs: {each}" for name, more in found.differences.items() for each in more),
    ]
    return [said for rule in rules for said in rule()]


def gaps(facts: Sequence[Fact]) -> Iterator[str]:
    """Positions and the versions of each stream go 1, 2, 3 …"""
    versions: Counter[str] = Counter()
    for position, fact in enumerate(facts, 1):
        if fact.position != position:
            yield f"position {position} is {fact.position}"
        versions[fact.stream] += 1
        if fact.version != versions[fact.stream]:
            yield f"version {versions[fact.stream]} of {fact.stream} is {fact.version}, at position {fact.position}"


def wrong_commands(calls: Sequence[Call], facts: Sequence[Fact]) -> Iterator[str]:
    """What was acknowledged is there once, and where it was said; what was refused isn't; what is unknown is there
    once or not at all, and never in part."""
    by_request: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_request[fact.request].append(fact)
    commands: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.what in FACTS:
            commands[call.command].append(call)
    for attempts in commands.values():
        mine = [fact for call in attempts for fact in by_request[call.request]]
        yield from _wrong_command(attempts, mine, {call.request: by_request[call.request] for call in attempts})


def _wrong_command(attempts: Sequence[Call], mine: Sequence[Fact], own: Mapping[str, Sequence[Fact]]) -> Iterator[str]:
    first, types = attempts[0], Counter(fact.type for fact in mine)
    named = f"{first.what} of {first.key or 'nothing'} ({first.command})"
    results = {call.result for call in attempts}
    allowed = [Counter[str]()] if "ok" not in results else []
    if results != {"refused"}:
        allowed.append(FACTS[first.what])
    if types not in allowed:
        yield f"{named} was {' and '.join(sorted(results))}, and the log has {dict(types) or 'nothing'} of it"
        return
    for call in attempts:
        if call.result == "ok":
            end, is_exact = max(fact.position for fact in mine), call.replayed or own[call.request]
            if call.position < end or (is_exact and call.position != end):
                yield f"{named} is said to be at {call.position}, and is at {end}"
            if missing := {*call.made} - {fact.stream for fact in mine}:
                yield f"{named} is said to have made {sorted(missing)}"


def unasked(calls: Sequence[Call], facts: Sequence[Fact], since: int) -> Iterator[str]:
    """Nothing of a command's kind is in the log that nobody has asked for."""
    kinds = {kind for counted in FACTS.values() for kind in counted}
    requests = {call.request for call in calls}
    for fact in facts:
        if fact.position >= since and fact.type in kinds and fact.request not in requests:
            yield f"nobody asked for {fact.type} of {fact.stream} at position {fact.position}"


def bans(calls: Sequence[Call]) -> Iterator[Ban]:
    """From the answer to each command that takes something from a key, to the begin of what may have given it back."""
    for call in calls:
        if call.result == "ok" and call.what in ("revoke", "suspend", "narrow"):
            back = [
                other.began
                for other in calls
                if other.what == "reinstate" and other.key == call.key and other.began > call.began
            ]
            until = min(back, default=float("inf")) if call.what == "suspend" else float("inf")
            yield Ban(call.key, call.topic, call.ended, until, call.what)


def late_uses(calls: Sequence[Call], faults: Sequence[Fault]) -> Iterator[str]:
    """Nothing that began when the bound had passed, and before the key was given back, may succeed.

    What is decided at each use is bounded whatever is broken. A connection is ended by a process that is there and
    reaches NATS: what a fault has held up is due when it is over.
    """
    by_key: defaultdict[str, list[Ban]] = defaultdict(list)
    for ban in bans(calls):
        by_key[ban.key].append(ban)
    for call in calls:
        if call.what in USES and call.result == "ok":
            broken = [ban for ban in by_key[call.key] if _is_late(call, ban, faults)]
            if broken:
                late = call.began - broken[0].since
                yield f"{call.what} with {call.key} {late:.2f} s after the answer to its {broken[0].what}: {call}"


def _is_late(call: Call, ban: Ban, faults: Sequence[Fault]) -> bool:
    due = ban.since + BOUND
    if call.what == "receive":
        due = max([due, *(each.ended + RECOVERY for each in faults if each.began < due < each.ended + RECOVERY)])
    return due < call.began and call.ended < ban.until and ban.topic in ("", call.topic)


def groundless_refusals(calls: Sequence[Call]) -> Iterator[str]:
    """No key is called revoked or suspended before anybody has asked for it, or anything that it never is. Nobody who
    may do something is told that they may not."""
    begun: dict[tuple[str, str], float] = {}
    for call in calls:
        of = call.key, {"revoke": "revoked", "suspend": "suspended"}.get(call.what, "")
        begun[of] = min(call.began, begun.get(of, call.began))
    for call in calls:
        is_ended = call.what == "verify" and call.code in ("revoked", "suspended")
        if is_ended and call.ended < begun.get((call.key, call.code), float("inf")):
            yield f"{call.key} is called {call.code}, and nobody has asked for that: {call}"
        if call.what == "verify" and call.result == "refused" and call.code not in _REFUSALS:
            yield f"{call.key} is called {call.code}, which it never was: {call}"
        if call.what in FACTS and call.code in ("unauthenticated", "permission-missing"):
            yield f"whoever may do it was refused: {call}"


def wrong_standing(found: Found) -> Iterator[str]:
    """When all is well again, every process says of each key what the log does."""
    said: dict[str, str] = {}
    for fact in found.facts:
        if fact.type in _SAYS and said.get(fact.stream) != "revoked":
            said[fact.stream] = _SAYS[fact.type]
    for key, codes in found.standing.items():
        if {*codes} != {said[key]}:
            yield f"{key} is called {' and '.join(codes)}, and is {said[key]}"


def wrong_lifecycle(facts: Sequence[Fact], lifecycle: Sequence[tuple[int, bytes]]) -> Iterator[str]:
    """The stream has each record of the log once, on the sequence that is its position."""
    expected = [(fact.position, fact.record) for fact in facts]
    if [*lifecycle] != expected:
        wrong = [a for a, b in zip(expected, lifecycle, strict=False) if a != b]
        at = wrong[0][0] if wrong else min(len(expected), len(lifecycle)) + 1
        yield f"LIFECYCLE has {len(lifecycle)} messages for {len(expected)} records, and differs at {at}"


def foreign_events(calls: Sequence[Call], found: Found) -> Iterator[str]:
    """Each app event is stored as one of the key that sent it, and nothing is received that nobody has sent."""
    senders = {call.event: call.key for call in calls if call.what == "publish"}
    for stored in found.stored:
        if stored.key != (sender := senders.get(stored.event, stored.key)):
            yield f"{stored.event} of {sender} is stored as one of {stored.key}"
    for call in calls:
        if call.what == "receive" and call.event not in senders:
            yield f"{call.event} was received, and nobody has sent it: {call}"


def wrong_events(calls: Sequence[Call], found: Found) -> Iterator[str]:
    """Each acknowledged app event is stored once, where it was said; what was refused isn't; all of it was received."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for stored in found.stored:
        places[stored.event].append(stored.sequence)
    attempts: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.what == "publish":
            attempts[call.event].append(call)
    for event, sequences in places.items():
        if len(sequences) > 1:
            yield f"{event} is stored {len(sequences)} times, at {sequences}"
        for name in [name for name, received in found.received.items() if event not in received]:
            yield f"{event} is stored at {sequences[0]}, and {name} hasn't received it"
    for event in {**attempts, **places}:
        yield from _wrong_event(event, attempts[event], places[event])


def _wrong_event(event: str, attempts: Sequence[Call], places: Sequence[int]) -> Iterator[str]:
    said = {call.sequence for call in attempts if call.result == "ok"}
    if said and said != {*places}:
        yield f"{event} was acknowledged at {sorted(said)}, and is stored at {places}"
    if places and not attempts:
        yield f"{event} is stored, and nobody has sent it"
    if places and {call.result for call in attempts} == {"refused"}:
        yield f"{event} was refused, and is stored at {places}"


def wrong_tree(found: Found) -> Iterator[str]:
    """Every checkpoint that was ever seen is of this log, and the newest one covers it."""
    seen: defaultdict[int, set[bytes]] = defaultdict(set)
    for each in (*found.checkpoints, found.newest):
        seen[each.size].add(each.root)
    frontier = Frontier()
    for size in range(len(found.facts) + 1):
        if size:
            frontier.append(leaf_hash(found.facts[size - 1].record))
        if size in seen and seen.pop(size) != {frontier.root()}:
            yield f"a checkpoint of size {size} is of another log"
    for size in seen:
        yield f"a checkpoint of size {size} was seen, and the log has {len(found.facts)} records"
    if found.newest.size != len(found.facts):
        yield f"the newest checkpoint has {found.newest.size} of {len(found.facts)} records"
