"""Whether cost stays flat: the same work with many events in the log, and with few. And what connections cost."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from keyfold.cli.embedded import Postgres
from keyfold.domain.moment import Moment
from keyfold.web.services import Services

from . import connecting
from .filling import FEW, LIFE, Log, filled
from .measure import Outcome, Side, percentile, ratio
from .profiling import profile
from .stage import BenchError, Stage
from .system import System, running

FOLDER = Path.home() / ".cache" / "keyfold-scale"
SAMPLES = 100
"""Of each kind of work in each round."""


async def measure(stage: Stage, folder: Path, events: int) -> AsyncIterator[Outcome]:
    """The rows of the group, on a log of `FEW` events and on one of `events`, and what connections cost."""
    async for outcome in connecting.measure(stage):
        yield outcome
    if stage.options.wants(*WORK):
        async for outcome in _flat(stage, folder, events):
            yield outcome


async def _flat(stage: Stage, folder: Path, events: int) -> AsyncIterator[Outcome]:
    folder.mkdir(parents=True, exist_ok=True)
    server = Postgres(folder / "postgres")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        await server.start()
        many, few = [await _work(stage, stack, server, folder, size) for size in (events, FEW)]
        for row, work in WORK.items():
            if stage.options.wants(row):
                yield await _compared(stage, row, partial(work, many), partial(work, few))
                if stage.options.profile:
                    await profile(row, partial(work, many))


async def _compared(stage: Stage, row: str, many: Side, few: Side) -> Outcome:
    """Medians in milliseconds."""
    found = await stage.interleaved({"many": many, "few": few})
    return Outcome(
        row=row,
        unit="ms",
        ours=found["many"],
        theirs=found["few"],
        figures={"ratio": ratio(found["many"], found["few"]), "p50": percentile(found["many"], 0.5)},
    )


class Work:
    """What people do, a round of samples at a time: each gives the median in milliseconds."""

    def __init__(self, log: Log, system: System, stranger: Services) -> None:
        self._log = log
        self._system = system
        self._stranger = stranger
        self._random = random.SystemRandom()  # other keys in each run: what one has asked lies in memory for the next

    async def append(self) -> float:
        """A command of one event, by one writer."""
        return await _median(self._system.create for _ in range(SAMPLES))

    async def verify(self) -> float:
        """Of keys that a process has never seen, which it reads from the log."""
        keys = await self._system.keys(SAMPLES)
        return await _median(partial(self._verify, key.secret) for key in keys)

    async def history(self, *, at_first: bool = False) -> float:
        """All that happened to a key, from anywhere in the log, with the records."""
        return await self._anywhere(self._tell, at_first)

    async def past(self, *, at_first: bool = False) -> float:
        """The first page of the keys that there were at any moment."""
        return await self._anywhere(self._look_back, at_first)

    async def _anywhere(self, ask: Callable[[int], Awaitable[None]], at_first: bool) -> float:
        """A small log lies in memory whole, and a large one doesn't: some of what is asked `at_first` comes from the
        disk, as much as memory doesn't hold; and what is asked once more does the same work on both."""
        turns = [self._random.randint(1, self._log.lives) for _ in range(SAMPLES)]
        first, again = [await _median(partial(ask, turn) for turn in turns) for _ in range(2)]
        return first if at_first else again

    async def _verify(self, secret: str) -> None:
        if not (await self._stranger.verifier.verify(secret)).valid:
            raise BenchError("a valid key was refused")

    async def _tell(self, turn: int) -> None:
        asked = {"key_id = $?": self._log.life.key(turn)}
        page = await self._stranger.lists.audit(
            self._log.life.workspace_id, asked, ascending=False, cursor=None, limit=50
        )
        if len(page.items) != 2:
            raise BenchError(f"a key that was issued and revoked has a history of {len(page.items)}")

    async def _look_back(self, turn: int) -> None:
        position = self._log.life.position + turn * LIFE
        at = Moment(position, await self._stranger.past.time_of(position))
        page = await self._stranger.past.page(
            "key", self._log.life.workspace_id, {}, status=None, at=at, cursor=None, limit=50
        )
        if not page.items:
            raise BenchError("there were no keys")


WORK: dict[str, Callable[[Work], Awaitable[float]]] = {
    "scale-append": Work.append,
    "scale-verify": Work.verify,
    "scale-history": Work.history,
    "scale-past": Work.past,
    "scale-history-first": partial(Work.history, at_first=True),
    "scale-past-first": partial(Work.past, at_first=True),
}
"""By row."""


async def _median(samples: Iterable[Callable[[], Awaitable[object]]]) -> float:
    times = []
    for sample in samples:
        started = time.perf_counter()
        await sample()
        times.append((time.perf_counter() - started) * 1000)
    return percentile(times, 0.5)


async def _work(stage: Stage, stack: AsyncExitStack, server: Postgres, folder: Path, events: int) -> Work:
    log = await filled(stage, server, folder, events)
    system = await stack.enter_async_context(running(log.settings))
    stranger = Services(log.settings)  # hears of nothing, so it remembers nothing
    await stranger.open()
    stack.push_async_callback(stranger.close)
    return Work(log, system, stranger)
