"""The time: UTC, and never earlier than it was."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class SteadyClock:
    """Follows the machine's clock forwards. When that is set back, goes on at the pace of the monotonic one until it
    has caught up: no key lives a moment longer because somebody corrected a clock."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def __call__(self) -> datetime:
        wall, elapsed = self._wall(), self._monotonic()
        self._ahead = max(self._ahead, wall - elapsed)
        return datetime.fromtimestamp(elapsed + self._ahead, UTC)
