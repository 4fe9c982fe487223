"""The checker finds what it is there for: histories made by hand, each with one thing wrong."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyfold_client.audit.merkle import Frontier, leaf_hash

from .checker import violations
from .history import Call, Checkpoint, Fact, Fault, Found, Stored

HISTORY = [
    ("partner.invited.v1", "prt_1", 1, "invite-1"),
    ("link.issued.v1", "lnk_1", 1, "invite-1"),
    ("link.redeemed.v1", "lnk_1", 2, "redeem-2"),
    ("partner.onboarded.v1", "prt_1", 2, "redeem-2"),
    ("session.opened.v1", "ses_1", 1, "redeem-2"),
    ("key.issued.v1", "key_1", 1, "redeem-2"),
    ("key.issued.v1", "key_2", 1, "redeem-2"),
    ("key.issued.v1", "key_3", 1, "redeem-2"),
    ("key.suspended.v1", "key_1", 2, "suspend-1"),
    ("key.reinstated.v1", "key_1", 3, "reinstate-1"),
    ("key.changed.v1", "key_2", 2, "narrow-1"),
    ("key.revoked.v1", "key_1", 4, "revoke-1"),
]
FACTS = [
    Fact(at, stream, version, kind, request, f"record {at}".encode())
    for at, (kind, stream, version, request) in enumerate(HISTORY, 1)
]


def call(what: str, began: float, **more: Any) -> Call:
    """An answered one that took a tenth of a second."""
    return Call(**{"what": what, "began": began, "ended": began + 0.1, "result": "ok", **more})


def command(what: str, attempt: int, began: float, **more: Any) -> Call:
    return call(what, began, **{"command": what, "request": f"{what}-{attempt}", **more})


CALLS = [
    command("invite", 1, 0, position=2, made=("prt_1",)),
    command("redeem", 1, 1, result="unknown"),
    command("redeem", 2, 2, position=8),
    command("redeem", 3, 3, position=8, replayed=True),
    call("verify", 4, key="key_1", code="valid"),
    call("publish", 5, key="key_1", topic="a", event="e1", result="unknown"),
    call("publish", 6, key="key_1", topic="a", event="e1", sequence=1),
    command("suspend", 1, 10, position=9, key="key_1"),
    call("verify", 10.5, key="key_1", code="valid"),
    call("verify", 12, key="key_1", result="refused", code="suspended"),
    command("reinstate", 1, 20, position=10, key="key_1"),
    call("verify", 20.05, key="key_1", code="valid"),
    command("narrow", 1, 25, position=11, key="key_2", topic="b"),
    call("publish", 27, key="key_2", topic="a", event="e2", sequence=2),
    call("publish", 28, key="key_2", topic="b", event="e3", result="refused"),
    command("revoke", 1, 30, position=12, key="key_1"),
    command("revoke", 2, 31, position=12, key="key_1"),
    call("verify", 35, key="key_1", result="refused", code="revoked"),
    command("rotate", 1, 40, key="key_2", result="refused", code="key-ended"),
    command("issue", 1, 41, result="unknown"),
]


def checkpoint(size: int) -> Checkpoint:
    frontier = Frontier()
    for fact in FACTS[:size]:
        frontier.append(leaf_hash(fact.record))
    return Checkpoint(size, frontier.root())


FOUND = Found(
    asked_from=1,
    facts=FACTS,
    lifecycle=[(fact.position, fact.record) for fact in FACTS],
    stored=[Stored(1, "key_1", "e1"), Stored(2, "key_2", "e2")],
    received={"a consumer": frozenset({"e1", "e2"})},
    standing={"key_1": ["revoked", "revoked"], "key_2": ["valid", "valid"]},
    differences={"current": []},
    checkpoints=[checkpoint(0), checkpoint(3), checkpoint(3)],
    newest=checkpoint(len(FACTS)),
)
FAULT = Fault("all APIs are killed", 29, 40)


def changed(**more: Any) -> Found:
    return msgspec.structs.replace(FOUND, **more)


def fact(at: int, **more: Any) -> Found:
    """With something else at a position of the log, and in the stream."""
    facts = [*FACTS]
    facts[at - 1] = facts[at - 1]._replace(**more)
    return changed(facts=facts)


def test_a_history_with_nothing_wrong_passes() -> None:
    assert violations(CALLS, [], FOUND) == []


def test_a_connection_may_still_receive_while_whoever_ends_it_is_away_and_not_for_long_after() -> None:
    held_up, late = (call("receive", at, key="key_1", event="e1") for at in (45, 51))
    assert violations([*CALLS, held_up], [FAULT], FOUND) == []
    assert len(violations([*CALLS, late], [FAULT], FOUND)) == 1
    assert len(violations([*CALLS, held_up], [], FOUND)) == 1


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (call("verify", 31.2, key="key_1", code="valid"), "verify with key_1 1.10 s after the answer to its revoke"),
        (call("connect", 60, key="key_1"), "connect with key_1"),
        (call("publish", 60, key="key_1", topic="a", event="e1", sequence=1), "publish with key_1"),
        (call("receive", 60, key="key_1", event="e1"), "receive with key_1"),
        (call("verify", 12, key="key_1", code="valid"), "after the answer to its suspend"),
        (call("verify", 27, key="key_2", topic="b"), "after the answer to its narrow"),
        (call("verify", 9, key="key_1", result="refused", code="suspended"), "nobody has asked for that"),
        (call("verify", 40, key="key_2", result="refused", code="revoked"), "nobody has asked for that"),
        (call("verify", 9, key="key_1", result="refused", code="unknown-key"), "which it never was"),
        (call("receive", 29, key="key_2", event="e9"), "e9 was received, and nobody has sent it"),
        (command("issue", 2, 50, result="refused", code="permission-missing"), "whoever may do it was refused"),
        (command("redeem", 4, 50, position=8, made=("key_9",), replayed=True), "is said to have made ['key_9']"),
        (command("issue", 2, 50, position=13), "issue of nothing (issue) was ok and unknown, and the log has nothing"),
        (command("revoke", 3, 50, position=11, key="key_1"), "is said to be at 11, and is at 12"),
        (command("redeem", 4, 50, position=9, replayed=True), "is said to be at 9, and is at 8"),
        (command("invite", 2, 50, position=2, made=("prt_2",)), "is said to have made ['prt_2']"),
        (call("publish", 50, key="key_2", topic="a", event="e4", sequence=3), "e4 was acknowledged at [3], and is"),
        (call("publish", 50, key="key_2", topic="a", event="e2", sequence=3), "e2 was acknowledged at [2, 3], and is"),
    ],
)
def test_an_answer_that_should_not_have_been_is_found(added: Call, says: str) -> None:
    (said,) = violations([*CALLS, added], [], FOUND)
    assert says in said


WITHOUT: dict[str, Callable[[Call], bool]] = {
    "nobody asked for key.revoked.v1": lambda each: each.what != "revoke",
    "nobody asked for partner.invited.v1": lambda each: each.what != "invite",
    "e2 is stored, and nobody has sent it": lambda each: each.event != "e2",
}


@pytest.mark.parametrize("says", WITHOUT)
def test_what_nobody_has_asked_for_is_found(says: str) -> None:
    assert says in "\n".join(violations([each for each in CALLS if WITHOUT[says](each)], [], FOUND))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (fact(12, position=13), "position 12 is 13"),
        (fact(12, version=5), "version 4 of key_1 is 5, at position 12"),
        (fact(12, request="revoke-2", type="key.suspended.v1"), "revoke of key_1 (revoke) was ok"),
        (fact(8, request="nobody's"), "redeem of nothing (redeem) was ok and unknown, and the log has {"),
        (fact(11, request="rotate-1"), "rotate of key_2 (rotate) was refused, and the log has {'key.changed.v1': 1}"),
        (fact(10, request="issue-1"), "issue of nothing (issue) was unknown, and the log has {'key.reinstated.v1': 1}"),
        (fact(12, record=b"another"), "LIFECYCLE has 12 messages for 12 records, and differs at 12"),
        (changed(lifecycle=FOUND.lifecycle[:-1]), "LIFECYCLE has 11 messages for 12 records, and differs at 12"),
        (changed(lifecycle=[*FOUND.lifecycle, (13, b"record 12")]), "LIFECYCLE has 13 messages for 12 records"),
        (changed(lifecycle=[*FOUND.lifecycle[1::-1], *FOUND.lifecycle[2:]]), "and differs at 1"),
        (changed(stored=FOUND.stored[:1]), "e2 was acknowledged at [2], and is stored at []"),
        (changed(stored=[*FOUND.stored, Stored(3, "key_1", "e1")]), "e1 is stored 2 times, at [1, 3]"),
        (changed(stored=[*FOUND.stored, Stored(3, "key_2", "e3")]), "e3 was refused, and is stored at [3]"),
        (changed(standing={"key_1": ["revoked", "valid"]}), "key_1 is called revoked and valid, and is revoked"),
        (changed(standing={"key_2": ["suspended"]}), "key_2 is called suspended, and is valid"),
        (changed(stored=[Stored(1, "key_2", "e1"), FOUND.stored[1]]), "e1 of key_1 is stored as one of key_2"),
        (changed(received={"it": frozenset({"e1"})}), "e2 is stored at 2, and it hasn't received it"),
        (changed(differences={"audit": ["a row"]}), "the projection audit differs: a row"),
        (changed(newest=checkpoint(11)), "the newest checkpoint has 11 of 12 records"),
        (changed(checkpoints=[Checkpoint(3, bytes(32))]), "a checkpoint of size 3 is of another log"),
        (changed(checkpoints=[checkpoint(3), Checkpoint(3, bytes(32))]), "a checkpoint of size 3 is of another log"),
        (changed(checkpoints=[Checkpoint(13, bytes(32))]), "a checkpoint of size 13 was seen, and the log has 12"),
    ],
)
def test_what_is_not_as_it_was_answered_is_found(found: Found, says: str) -> None:
    assert says in "\n".join(violations(CALLS, [], found))
