"""The steady clock: whatever is done to the machine's, no key lives a moment longer."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies

from keyfold.app.clock import SteadyClock
from keyfold.domain.key_events import Document
from keyfold.domain.key_state import USABLE, Key

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = 3600.0


class Machine:
    """The two clocks of a machine, and who steps the one of them."""

    def __init__(self) -> None:
        self.wall = START.timestamp()
        self.elapsed = 1000.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.elapsed)

    def passes(self, seconds: float) -> datetime:
        self.wall += seconds
        self.elapsed += seconds
        return self.clock()

    def is_stepped(self, seconds: float) -> datetime:
        self.wall += seconds
        return self.clock()


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_it_is_the_machines_time_in_utc() -> None:
    machine = Machine()
    assert (machine.clock(), machine.passes(1.5)) == (START, after(1.5))
    assert machine.clock().tzinfo is UTC
    assert abs(SteadyClock()() - datetime.now(UTC)) < timedelta(seconds=5)


def test_set_forward_it_follows_and_set_back_it_goes_on_at_the_same_pace() -> None:
    machine = Machine()
    assert machine.is_stepped(HOUR) == after(HOUR)
    assert machine.is_stepped(-HOUR) == after(HOUR)
    assert machine.passes(10) == after(HOUR + 10)
    assert machine.is_stepped(-HOUR) == after(HOUR + 10)
    assert machine.passes(HOUR) == after(2 * HOUR + 10)


def test_it_follows_again_once_the_machine_has_caught_up() -> None:
    machine = Machine()
    machine.is_stepped(-HOUR)
    assert machine.is_stepped(HOUR - 1) == START
    assert machine.is_stepped(2) == after(1)


def test_a_machine_that_slept_has_lived_through_that_time() -> None:
    machine = Machine()
    # asleep, Linux's monotonic clock stands still
    assert machine.is_stepped(8 * HOUR) == after(8 * HOUR)


STEPS = strategies.tuples(strategies.booleans(), strategies.floats(0, HOUR), strategies.floats(-HOUR, HOUR))


@given(strategies.lists(STEPS, max_size=30), strategies.floats(0, 3 * HOUR))
def test_stepped_back_and_forth_it_is_never_earlier_and_no_ended_key_is_usable_again(
    steps: list[tuple[bool, float, float]], lifetime: float
) -> None:
    machine = Machine()
    key = Key("key_1", "ws_1", "service", Document(name="x", expires_at=after(lifetime)), None, None, "prod", START)
    lived, last, ended = 0.0, machine.clock(), False
    for stepped, seconds, by in steps:
        now = machine.is_stepped(by) if stepped else machine.passes(seconds)
        lived += 0 if stepped else seconds
        assert now >= last
        assert now >= after(lived) - timedelta(microseconds=10)
        usable = key.status_at(now) in USABLE
        assert not (ended and usable)
        assert not (usable and lived > lifetime + 0.00001)
        last, ended = now, ended or not usable
