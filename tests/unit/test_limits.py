"""Limits in time, on a clock that only the test moves."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from keyfold.app import limits
from keyfold.app.limits import FAILURES, PATIENCE, Limiter, RateLimited, Recent, Throttle, TooManyFailures
from keyfold.domain.rates import Rate, Standing


class Time:
    """The clock, and whoever sleeps by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    @property
    def asleep(self) -> int:
        return sum(not future.done() for _, future in self._sleepers)

    async def passes(self, seconds: float) -> None:
        """Wakes everybody at their own time, and lets all of them do what they can in between."""
        end = self.now + seconds
        await settled()
        while due := [each for each in self._sleepers if each[0] <= end and not each[1].done()]:
            self.now = max(self.now, min(at for at, _ in due))
            for at, future in due:
                if at <= self.now:
                    future.set_result(None)
            await settled()
        self.now = end


async def settled() -> None:
    """Until nobody can go on without the clock: more turns of the loop than any test has tasks to hand on to."""
    for _ in range(4000):
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def throttle(time: Time) -> Throttle:
    return Throttle(time, time.sleep)


class Client:
    """Attempts from one group, each at its time; `ended` says how, in order."""

    def __init__(self, time: Time, throttle: Throttle, group: str = "192.0.2.0/24") -> None:
        self.time, self.throttle, self.group = time, throttle, group
        self.entered: list[float] = []
        self.refused: list[tuple[float, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def tries(self, times: int, lookup: asyncio.Event | None = None, *, fails: bool = True) -> None:
        self.tasks += [asyncio.create_task(self._try(lookup, fails)) for _ in range(times)]

    async def _try(self, lookup: asyncio.Event | None, fails: bool) -> None:
        began = self.time.now
        try:
            async with self.throttle.attempt(self.group) as attempt:
                self.entered.append(self.time.now - began)
                if lookup is not None:
                    await lookup.wait()
                if fails:
                    attempt.failed()
        except TooManyFailures as refusal:
            self.refused.append((self.time.now - began, refusal.retry_after))


@pytest.fixture
def client(time: Time, throttle: Throttle) -> Client:
    return Client(time, throttle)


async def test_twenty_failures_are_free_then_one_goes_on_each_second_and_whoever_is_too_far_is_refused(
    time: Time, client: Client
) -> None:
    client.tries(20)
    await settled()
    assert client.entered == [0.0] * 20
    client.tries(5)
    await settled()
    assert (len(client.entered), client.refused) == (20, [(0.0, 4.0), (0.0, 4.0)])
    await time.passes(10)
    assert client.entered[20:] == [1.0, 2.0, 3.0]


async def test_of_a_thousand_attempts_at_once_twenty_pass_before_the_first_has_failed(
    time: Time, client: Client
) -> None:
    lookup = asyncio.Event()
    client.tries(1000, lookup)
    await settled()
    assert client.entered == [0.0] * 20
    lookup.set()
    await time.passes(10)
    assert client.entered[20:] == [1.0, 2.0, 3.0]
    assert len(client.refused) == 977
    assert {waited for waited, _ in client.refused} == {PATIENCE}


async def test_a_thousand_good_keys_at_once_all_pass_as_soon_as_those_before_them_turn_out_good(
    time: Time, client: Client
) -> None:
    lookup = asyncio.Event()
    client.tries(1000, lookup, fails=False)
    await settled()
    assert len(client.entered) == 20
    lookup.set()
    await settled()
    assert (client.entered, client.refused) == ([0.0] * 1000, [])
    assert time.asleep == 0


async def test_nobody_waits_longer_than_the_patience_for_lookups_that_hang(time: Time, client: Client) -> None:
    client.tries(20, asyncio.Event(), fails=False)
    client.tries(3)
    await time.passes(1)
    client.tries(1)
    await time.passes(10)
    assert [waited for waited, _ in client.refused] == [PATIENCE] * 4
    assert all(retry_after > 0 for _, retry_after in client.refused)
    for task in client.tasks:
        task.cancel()


async def test_nobody_waits_longer_than_the_patience_when_failures_come_to_that(
    time: Time, throttle: Throttle, client: Client
) -> None:
    client.tries(20, asyncio.Event(), fails=False)
    client.tries(1)
    await settled()
    for _ in range(5):
        throttle.failed(client.group)
    client.tries(1)
    await time.passes(10)
    assert client.refused == [(PATIENCE, 3.0), (PATIENCE, 3.0)]
    for task in client.tasks:
        task.cancel()


async def test_who_waits_is_refused_as_soon_as_the_turn_can_not_come_in_time(time: Time, client: Client) -> None:
    lookup = asyncio.Event()
    client.tries(20, lookup)
    client.tries(1)
    await time.passes(2.5)
    lookup.set()
    await settled()
    assert client.refused == [(2.5, 1.0)]


async def test_attempts_under_way_and_those_that_wait_come_before_the_next(
    time: Time, throttle: Throttle, client: Client
) -> None:
    lookup = asyncio.Event()
    client.tries(2, lookup)
    await settled()
    for _ in range(20):
        throttle.failed(client.group)
    assert throttle.blocks(client.group) == 3
    client.tries(2)
    await settled()
    assert client.refused == [(0.0, 4.0)]
    assert throttle.blocks(client.group) == 4
    lookup.set()
    await time.passes(5)


async def test_other_groups_are_not_affected(time: Time, throttle: Throttle, client: Client) -> None:
    client.tries(1000, asyncio.Event())
    other = Client(time, throttle, "198.51.100.0/24")
    other.tries(20)
    await settled()
    assert (len(client.entered), other.entered, other.refused) == (20, [0.0] * 20, [])
    assert throttle.blocks("203.0.113.0/24") == 0
    for task in client.tasks:
        task.cancel()


async def test_what_succeeds_or_breaks_or_is_cancelled_is_no_failure(time: Time, throttle: Throttle) -> None:
    async def breaks() -> None:
        async with throttle.attempt("group"):
            raise ConnectionError

    for _ in range(100):
        async with throttle.attempt("group"):
            pass
        with pytest.raises(ConnectionError):
            await breaks()
    hanging = Client(time, throttle, "group")
    hanging.tries(20, asyncio.Event())
    await settled()
    assert throttle.blocks("group") == 1
    for task in hanging.tasks:
        task.cancel()
    await settled()
    assert throttle.blocks("group") == 0
    hanging.tries(20)
    await settled()
    assert len(hanging.entered) == 40


async def test_who_gives_up_waiting_makes_room_for_the_next(time: Time, client: Client) -> None:
    client.tries(22)
    await settled()
    client.tasks[20].cancel()
    await time.passes(1)
    assert client.entered[20:] == [1.0]
    assert (client.throttle.blocks(client.group), client.refused) == (1.0, [])


async def test_those_that_wait_go_on_in_the_order_in_which_they_came(time: Time, throttle: Throttle) -> None:
    for _ in range(20):
        throttle.failed("group")
    order: list[str] = []

    async def attempt(name: str) -> None:
        async with throttle.attempt("group") as attempt:
            order.append(name)
            attempt.failed()

    tasks = []
    for name in ("first", "second", "third"):
        tasks.append(asyncio.create_task(attempt(name)))
        await time.passes(0.25)
    await time.passes(5)
    await asyncio.gather(*tasks)
    assert order == ["first", "second", "third"]


async def test_failures_run_off_one_a_second(time: Time, throttle: Throttle) -> None:
    for _ in range(20):
        throttle.failed("group")
    assert throttle.blocks("group") == 1
    await time.passes(0.5)
    assert throttle.blocks("group") == 0.5
    await time.passes(5)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            assert throttle.blocks("group") == 0
            await stack.enter_async_context(throttle.attempt("group"))
        assert throttle.blocks("group") == 0.5


async def test_more_failures_than_the_limit_block_for_no_longer(throttle: Throttle) -> None:
    for _ in range(1000):
        throttle.failed("group")
    assert throttle.blocks("group") == 1


async def test_the_throttle_forgets_groups_that_have_no_failures_left(time: Time, throttle: Throttle) -> None:
    for n in range(100):
        throttle.failed(f"group-{n}")
    await time.passes(FAILURES.seconds)
    for n in range(100):
        async with throttle.attempt("another"):
            assert len(throttle._lines) <= max(101 - 2 * n, 1)


async def test_a_group_with_attempts_under_way_is_not_forgotten(time: Time, throttle: Throttle) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(throttle.attempt("busy"))
        await time.passes(100)
        for n in range(10):
            throttle.failed(f"group-{n}")
        assert throttle.blocks("busy") == 1


async def test_a_group_with_somebody_waiting_is_not_forgotten(throttle: Throttle, client: Client) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(throttle.attempt(client.group))
        client.tries(1)
        await settled()
    # all have left, and the one that waits hasn't had its turn of the loop yet
    assert client.entered == []
    throttle.failed("another")
    assert throttle._lines.get(client.group) is not None
    await asyncio.gather(*client.tasks)


def test_a_limiter_counts_each_subject_for_itself(time: Time) -> None:
    limiter, rate = Limiter(time), Rate(2, 10)
    assert limiter.take("a", rate) == Standing(allowed=True, remaining=1, reset_after=5.0, retry_after=0.0)
    assert limiter.take("a", rate) == Standing(allowed=True, remaining=0, reset_after=10.0, retry_after=0.0)
    assert limiter.take("a", rate) == Standing(allowed=False, remaining=0, reset_after=10.0, retry_after=5.0)
    assert limiter.take("b", rate).allowed
    time.now += 5
    assert limiter.take("a", rate) == Standing(allowed=True, remaining=0, reset_after=10.0, retry_after=0.0)


def test_a_limiter_forgets_subjects_that_have_their_whole_quota_again(time: Time) -> None:
    limiter = Limiter(time)
    for n in range(100):
        limiter.take(f"idle-{n}", Rate(10, 10))
    time.now += 1
    for n in range(1, 51):
        limiter.take("busy", Rate(1000, 10))
        assert len(limiter._tats) == 101 - 2 * n
    assert limiter.take("busy", Rate(1000, 10)).remaining == 949


def test_memory_is_bounded_and_keeps_those_that_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBJECTS", 3)
    recent: Recent[int] = Recent(idle=lambda value: value < 0)
    for n, subject in enumerate("abcacd"):
        recent.put(subject, n)
    assert [recent.get(subject) for subject in "abcd"] == [3, None, 4, 5]
    assert len(recent) == 3


def test_a_hundred_thousand_subjects_are_remembered_and_no_more(time: Time) -> None:
    limiter = Limiter(time)
    for n in range(100_002):
        limiter.take(f"subject-{n}", Rate(1, 60))
    assert len(limiter._tats) == 100_000
    assert limiter.take("subject-0", Rate(1, 60)).allowed
    assert not limiter.take("subject-100001", Rate(1, 60)).allowed


def test_refusals_say_when_to_come_back() -> None:
    limited = RateLimited(Rate(100, 60), Standing(allowed=False, remaining=0, reset_after=60.0, retry_after=0.6))
    assert (limited.code, limited.status, limited.rate.requests, limited.standing.retry_after) == (
        "rate-limited",
        429,
        100,
        0.6,
    )
    assert str(limited) == "The limit is 100 requests in 60 seconds. Try again in 1 second."
    failures = TooManyFailures(3.2)
    assert (failures.code, failures.status, failures.retry_after) == ("too-many-failures", 429, 3.2)
    assert str(failures).endswith("Try again in 4 seconds.")
