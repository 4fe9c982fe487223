"""Why a server that can be asked doesn't keep what it is given: its disk is full, say."""

import time
from collections.abc import Callable

LATELY = 10.0
"""Seconds for which a failure is told of. For ever it couldn't be, where nobody writes any more because of it."""


class Trouble:
    """`why` says how a write has failed lately, and nothing when one has succeeded since."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until = float("-inf")
        self._why = ""

    @property
    def why(self) -> str:
        return self._why if self._monotonic() < self._until else ""

    def failed(self, error: BaseException) -> None:
        self._until, self._why = self._monotonic() + LATELY, type(error).__name__

    def over(self) -> None:
        self._until = float("-inf")
