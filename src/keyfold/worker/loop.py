"""The one shape of every long-lived loop: start, stop, step, leader, health."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import nats.errors
import structlog

from keyfold.app.cancellation import obey_cancellation
from keyfold.domain.refusals import Unavailable
from keyfold.metrics import LOOP_HEALTHY
from keyfold.store.postgres import OUTAGE
from keyfold.worker.leader import Leader

log = structlog.get_logger()

LoopStatus = Literal["starting", "running", "standby", "degraded", "waiting", "halted", "dead"]
OUTAGES = (*OUTAGE, Unavailable, nats.errors.Error)
"""What passes by itself: the step is tried again. Everything else is a bug and ends the process."""


class Halt(Exception):  # noqa: N818  # a state, not a mistake
    """The loop must not go on until somebody has looked: it stays where it is, unhealthy, trying again now and then."""


class Degraded(Exception):  # noqa: N818  # a state, not a mistake
    """The loop does its work, but for something that isn't in its hands: health says so, and stays well."""


class Loop:
    """Calls `step` every `every` seconds, and at once when `wake` is set or the last step had more to do.

    An outage is waited out; `Halt` halts it in place; any other exception ends `run`, and so the process.
    """

    def __init__(
        self,
        name: str,
        *,
        step: Callable[[], Awaitable[bool]],
        every: float,
        wake: asyncio.Event | None = None,
        leader: Leader | None = None,
    ) -> None:
        self.name = name
        self.status: LoopStatus = "starting"
        self.detail = ""
        self._step = step
        self._every = every
        self._wake = wake or asyncio.Event()
        self._leader = leader

    @property
    def is_healthy(self) -> bool:
        return self.status in ("starting", "running", "standby", "degraded")

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                more = await self._try_step()
                obey_cancellation()
                if not more:
                    await self._rest()
        except asyncio.CancelledError as cancelled:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # of something that the step waited for: raised as it is, it would end the loop and nobody would know
            self._is("dead", "CancelledError")
            raise RuntimeError(f"the loop {self.name} was ended by a stray cancellation") from cancelled
        except BaseException as error:
            self._is("dead", type(error).__name__)
            raise
        finally:
            if self._leader is not None:
                await asyncio.shield(self._leader.resign())

    async def _try_step(self) -> bool:
        try:
            if self._leader is not None and not await self._leader.leads():
                self._is("standby")
                return False
            more = await self._step()
            self._is("running")
        except Degraded as degraded:
            self._is("degraded", str(degraded))
        except Halt as halt:
            self._is("halted", str(halt))
        except OUTAGES as outage:
            self._is("waiting", type(outage).__name__)
        else:
            return more
        return False

    async def _rest(self) -> None:
        pause = {"halted": 5.0, "waiting": 0.2, "standby": 0.5}.get(self.status, self._every)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        self._wake.clear()
        if self.status in ("halted", "waiting"):
            await asyncio.sleep(0.05)  # woken all the time, it would try again as often

    def _is(self, status: LoopStatus, detail: str = "") -> None:
        if (status, detail) != (self.status, self.detail):
            level = (
                "error" if status in ("halted", "dead") else "warning" if status in ("waiting", "degraded") else "info"
            )
            getattr(log, level)("loop." + status, loop=self.name, detail=detail)
        self.status, self.detail = status, detail
        LOOP_HEALTHY.labels(self.name).set(self.is_healthy)
