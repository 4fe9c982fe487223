"""What time brings to a key: announced ahead once each, and the ends written down."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given as all_of
from hypothesis import strategies

from keyfold.domain import key
from keyfold.domain.key_events import (
    AnyKeyEvent,
    DocumentChange,
    KeyChanged,
    KeyExpired,
    KeyExpiring,
    KeyIssued,
    KeyRetired,
    KeyRetiring,
    KeyRevoked,
    KeyRotated,
    KeyRotationDue,
    KeySuspended,
)
from keyfold.domain.key_state import Key
from keyfold.domain.policy import Upkeep
from keyfold.domain.rule import Rule
from keyfold.domain.schedule import agenda, due, due_at

from .given import NOW, given

MOMENT, DAY = timedelta(microseconds=1), timedelta(days=1)
EXPIRY = NOW + 90 * DAY
THIS: dict[str, Any] = {"workspace_id": "ws_1", "key_id": "key_1", "integration_id": "int_1", "partner_id": "prt_1"}
EXPIRED = KeyExpired(expires_at=EXPIRY, **THIS)
RETIRED = KeyRetired(**THIS)
SUSPENDED = KeySuspended(reason="weekend", **THIS)


def issued(**fields: Any) -> KeyIssued:
    return KeyIssued(kind="service", environment="prod", name="orders", rule=Rule(), **THIS, **fields)


def expiring(days: int, at: datetime = EXPIRY) -> KeyExpiring:
    return KeyExpiring(days=days, expires_at=at, **THIS)


def rotation_due(days: int, at: datetime) -> KeyRotationDue:
    return KeyRotationDue(days=days, due_at=at, **THIS)


def rotated(retires_at: datetime | None) -> KeyRotated:
    return KeyRotated(successor_id="key_2", overlap_seconds=60, overlap_starts="now", retires_at=retires_at, **THIS)


def state(*events: AnyKeyEvent) -> Key:
    this: Key = given(key, events).state
    return this


def lived(this: Key, *moments: datetime) -> list[AnyKeyEvent]:
    """What is written down when the schedule comes by at these moments."""
    said: list[AnyKeyEvent] = []
    for now in moments:
        for event in due(this, now):
            this = key.evolve(this, event, now)
            said.append(event)
    return said


def test_an_expiry_is_announced_30_7_and_1_days_ahead_and_then_written_down() -> None:
    moments = [EXPIRY - 30 * DAY, EXPIRY - 7 * DAY, EXPIRY - DAY, EXPIRY]
    assert lived(state(issued(expires_at=EXPIRY)), *[each - MOMENT for each in moments[:1]]) == []
    said = lived(state(issued(expires_at=EXPIRY)), *moments)
    assert said == [expiring(30), expiring(7), expiring(1), EXPIRED]


def test_nothing_is_due_a_moment_too_early() -> None:
    this = state(issued(expires_at=EXPIRY), expiring(30))
    assert due(this, EXPIRY - 7 * DAY - MOMENT) == []
    assert due(this, EXPIRY - 7 * DAY) == [expiring(7)]


def test_however_often_the_schedule_comes_by_each_is_said_once() -> None:
    hourly = [NOW + timedelta(hours=n) for n in range(91 * 24)]
    this = state(issued(expires_at=EXPIRY, upkeep=Upkeep(rotation_due_at=NOW + 60 * DAY)))
    kinds = [(type(event), getattr(event, "days", None)) for event in lived(this, *hourly)]
    assert sorted(kinds, key=str) == sorted(
        [*((KeyExpiring, n) for n in (30, 7, 1)), *((KeyRotationDue, n) for n in (30, 7, 1, 0)), (KeyExpired, None)],
        key=str,
    )


def test_of_several_that_are_late_only_the_nearest_is_said() -> None:
    this = state(issued(expires_at=EXPIRY))
    assert lived(this, EXPIRY - DAY / 2, EXPIRY - DAY / 3) == [expiring(1)]
    assert lived(this, EXPIRY - 3 * DAY, EXPIRY - DAY) == [expiring(7), expiring(1)]
    assert lived(this, EXPIRY + DAY) == [EXPIRED]


def test_what_would_have_been_before_the_keys_birth_is_never_said() -> None:
    for_a_week = NOW + 7 * DAY
    assert lived(state(issued(expires_at=for_a_week)), NOW, for_a_week - 2 * DAY) == []
    assert due(state(issued(expires_at=for_a_week + MOMENT)), NOW + MOMENT) == [expiring(7, for_a_week + MOMENT)]


def test_the_leads_are_those_of_the_policy_that_the_key_was_issued_under() -> None:
    this = state(issued(expires_at=EXPIRY, upkeep=Upkeep(lead_days=(2, 14))))
    assert [at for at, _ in agenda(this)] == [EXPIRY - 14 * DAY, EXPIRY - 2 * DAY, EXPIRY]
    assert [at for at, _ in agenda(state(issued(expires_at=EXPIRY, upkeep=Upkeep(lead_days=()))))] == [EXPIRY]


def test_a_rotation_is_announced_and_is_due_until_it_was_done() -> None:
    when = NOW + 10 * DAY
    this = state(issued(upkeep=Upkeep(rotation_due_at=when)))
    said = [rotation_due(7, when), rotation_due(1, when), rotation_due(0, when)]
    assert lived(this, NOW, when - 7 * DAY, when - DAY, when, when + DAY) == said
    assert agenda(key.evolve(this, rotated(None), NOW)) == []


def test_a_moved_expiry_is_announced_anew_and_a_rotation_isnt() -> None:
    rotation, sooner, later = NOW + 40 * DAY, NOW + 12 * DAY, NOW + 200 * DAY
    said: list[AnyKeyEvent] = [
        issued(expires_at=EXPIRY, upkeep=Upkeep(rotation)),
        expiring(30),
        expiring(7),
        rotation_due(30, rotation),
    ]

    def moved(to: datetime) -> Key:
        change = KeyChanged(before=DocumentChange(expires_at=EXPIRY), after=DocumentChange(expires_at=to), **THIS)
        return state(*said, change)

    # 30 days ahead of the earlier one lies before the key's birth
    assert due(moved(sooner), NOW + 5 * DAY - MOMENT) == []
    assert due(moved(sooner), NOW + 5 * DAY) == [expiring(7, sooner)]
    # the rotation was announced 30 days ahead, and isn't again
    assert due(moved(later), rotation - 30 * DAY) == []
    assert due(moved(later), later - 30 * DAY) == [rotation_due(0, rotation), expiring(30, later)]


def test_a_retiring_key_is_retired_at_its_moment_and_one_that_waits_for_a_first_use_isnt() -> None:
    retires = NOW + DAY
    assert lived(state(issued(), rotated(retires)), retires - MOMENT, retires) == [RETIRED]
    waiting = state(issued(), rotated(None))
    assert agenda(waiting) == []
    begun = key.evolve(waiting, KeyRetiring(retires_at=retires, **THIS), NOW)
    assert lived(begun, retires) == [RETIRED]


def test_the_end_that_comes_first_is_the_one_that_is_written_down_and_nothing_comes_after_it() -> None:
    early = state(issued(expires_at=EXPIRY), rotated(EXPIRY - 10 * DAY))
    assert lived(early, EXPIRY - 30 * DAY, EXPIRY + DAY) == [expiring(30), RETIRED]
    assert [at for at, _ in agenda(early)] == [EXPIRY - 30 * DAY, EXPIRY - 10 * DAY]
    late = state(issued(expires_at=EXPIRY), rotated(EXPIRY + DAY))
    assert lived(late, EXPIRY + 2 * DAY) == [EXPIRED]
    together = state(issued(expires_at=EXPIRY), rotated(EXPIRY))
    assert lived(together, EXPIRY) == [EXPIRED]
    assert together.status_at(EXPIRY) == "expired"


def test_a_suspended_key_is_announced_and_expires_and_an_ended_one_has_nothing_before_it() -> None:
    assert due(state(issued(expires_at=EXPIRY), SUSPENDED), EXPIRY - 30 * DAY) == [expiring(30)]
    assert due(state(issued(expires_at=EXPIRY), SUSPENDED), EXPIRY) == [EXPIRED]
    for end in (EXPIRED, RETIRED, KeyRevoked(reason="lost", **THIS)):
        ended = state(issued(expires_at=EXPIRY, upkeep=Upkeep(EXPIRY)), rotated(EXPIRY), end)
        assert (agenda(ended), due_at(ended)) == ([], None)


@all_of(
    strategies.none() | strategies.integers(1, 100 * 24),
    strategies.none() | strategies.integers(1, 100 * 24),
    strategies.none() | strategies.integers(1, 100 * 24),
    strategies.lists(strategies.integers(1, 60), max_size=4).map(tuple),
    strategies.lists(strategies.integers(0, 110 * 24), min_size=1, max_size=12).map(sorted),
)
def test_what_is_due_next_is_due_at_that_moment_and_at_none_before(
    expires: int | None, rotates: int | None, retires: int | None, leads: tuple[int, ...], visits: list[int]
) -> None:
    def moment(hours: int | None) -> datetime | None:
        return None if hours is None else NOW + timedelta(hours=hours)

    this = state(issued(expires_at=moment(expires), upkeep=Upkeep(moment(rotates), leads)))
    if retires is not None:
        this = key.evolve(this, rotated(moment(retires)), NOW)
    for now in [NOW + timedelta(hours=hours) for hours in visits]:
        following = due_at(this)
        assert (following is not None and following <= now) is bool(due(this, now))
        for event in due(this, now):
            this = key.evolve(this, event, now)
        assert due(this, now) == []
        assert this.status_at(now) in (("active", "retiring") if this.status == "active" else (this.status,))
