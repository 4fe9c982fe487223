"""A round: clients at work while things break, then all whole again; and what was recorded is checked."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from .apps import Native, Taker, client_of, followed, key_of, pulled, taking
from .checker import violations
from .clients import Clients
from .gathering import Beginning, beginning, found, stream_of, well_again
from .history import Call, Fault
from .system import Process, System, onboard


class Round:
    """What was broken while its recorder's clients are at work, and how long it took to be well when it was whole."""

    def __init__(self, recorder: Clients) -> None:
        self.recorder = recorder
        self.faults: list[Fault] = []
        self.seconds = 0.0
        self._lost_until = 0.0
        self.began = Beginning(0, 0)

    def lose_events(self, *, all_of_them: bool) -> None:
        """What was stored of app events by now may be gone; with all of them the sequences begin anew."""
        self._lost_until = time.monotonic()
        if all_of_them:
            self.began = self.began._replace(sequence=0)

    @property
    def calls(self) -> list[Call]:
        """What has to go with what there is: of a lost event nobody knows whether it is there."""
        return [self._judged(each) for each in self.recorder.history.calls]

    def _judged(self, call: Call) -> Call:
        is_lost = call.what == "publish" and call.result == "ok" and call.ended < self._lost_until
        return msgspec.structs.replace(call, result="unknown") if is_lost else call

    @asynccontextmanager
    async def amid(self, what: str) -> AsyncIterator[None]:
        """Notes what the body breaks and makes whole again."""
        began = time.monotonic()
        yield
        self.faults.append(Fault(what, began, time.monotonic()))

    def __str__(self) -> str:
        calls, amid = len(self.recorder.history.calls), [each.what for each in self.faults]
        return f"round {self.recorder.name}: {calls} calls amid {amid}, well after {self.seconds:.1f} s"


@asynccontextmanager
async def recorded(
    system: System, apis: Sequence[Process], name: str, takers: Sequence[Taker], folder: Path
) -> AsyncIterator[Round]:
    """Clients at work, until the body ends with all whole again. Then all must be well by itself, and what was answered
    go with what there is; if not, the history is in a file."""
    this = Round(Clients(system, apis, name))
    this.began, recorder = await beginning(system), this.recorder
    async with recorder.working():
        await recorder.works()
        yield this
        whole = time.monotonic()
        await recorder.works()
        await recorder.stop()
    await well_again(system, apis)
    this.seconds = time.monotonic() - whole
    there = await found(system, apis, recorder, this.began, *takers)
    recorder.history.faults += this.faults
    if wrong := violations(this.calls, this.faults, there):
        file = folder / f"history-{name}.ndjson"
        recorder.history.write(file)
        raise AssertionError("\n".join([f"{this}; {len(wrong)} violations, history in {file}", *wrong[:40]]))


@asynccontextmanager
async def consumers(system: System, *, native: bool = False) -> AsyncIterator[list[Taker]]:
    """Of keys that nobody revokes: one follows the stream over HTTP, the other takes from a consumer of its own."""
    async with AsyncExitStack() as stack:
        async with system.client() as http:
            one, two = [key_of(await onboard(system, http)) for _ in range(2)]
        client = await stack.enter_async_context(client_of(system, one, "http"))
        takers = [Taker("server-sent events", partial(followed, client))]
        if native:
            app = Native(system.nats.url, two)
            stack.push_async_callback(app.close)
            takers.append(Taker("native", partial(pulled, app, stream_of(system))))
        yield await stack.enter_async_context(taking(*takers))


def told(this: Round, *, since: float) -> list[Call]:
    """Commands of which nobody knows whether they were done."""
    calls = this.recorder.history.calls
    return [each for each in calls if each.command and each.began > since and each.result == "unknown"]
