"""What time brings to keys, written down: announcements and ends, and the suspension of those that nobody uses.

The state of the key decides, so nothing is written twice, however late or often one asks.
"""

from datetime import datetime, timedelta

from keyfold.app.key_life import suspend_key
from keyfold.app.views import KeyView
from keyfold.app.work import Cause, Office, Work
from keyfold.domain import schedule
from keyfold.domain.aggregates import KEY
from keyfold.domain.key import SuspendKey
from keyfold.domain.key_state import USABLE, Key
from keyfold.domain.record import Actor

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Schedules:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def write_due(self, key_id: str) -> None:
        """Appends what is due for the key by now, if anything is. Raises `Conflict`, `Unavailable`."""

        async def command(work: Work) -> KeyView:
            this = await work.load(KEY, key_id)
            for event in schedule.due(this, work.now):
                because = await self._office.journal.newest(key_id, schedule.SET_BY[type(event)])
                this = work.append(KEY, key_id, [event], because=because)
            return KeyView.of(this, work.now)

        await self._office.carry_out(self._cause("schedule"), KeyView, command)

    async def suspend_unused(self, key_id: str) -> None:
        """Suspends a key that nobody has used for as long as it may be idle, and those under it, unless it had less
        time than that. Raises as `write_due` does."""

        async def command(work: Work) -> KeyView:
            this = await work.load(KEY, key_id)
            idle_seconds = this.upkeep.idle_seconds
            if idle_seconds is not None and _had_time(this, timedelta(seconds=idle_seconds), work.now):
                this = await suspend_key(work, this, SuspendKey(f"not used for {_spoken(idle_seconds)}", by="idle"))
            return KeyView.of(this, work.now)

        await self._office.carry_out(self._cause("idle"), KeyView, command)

    def _cause(self, rule: str) -> Cause:
        return Cause(Actor(kind="system", id=rule), self._office.new_id("req"))


def _had_time(key: Key, period: timedelta, now: datetime) -> bool:
    """Whether it could be used for so long: since its issue, its return from a suspension, and its `notBefore`."""
    began = max(each for each in (key.issued_at, key.since, key.document.not_before) if each is not None)
    return key.status_at(now) in USABLE and began + period <= now


def _spoken(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size} {unit}" + ("s" if seconds > size else "")
