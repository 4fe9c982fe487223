"""How long a fuzz target may take: a pass of so many examples, or as long as one asks for.

KEYFOLD_FUZZ_SECONDS=600 pytest tests/contract/test_fuzz.py    # ten minutes for each target
"""

import os
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

BUDGET = 10.0
"""Seconds after which a target that has not failed is given no more examples, where nobody asks for longer."""
ASKED = float(os.environ.get("KEYFOLD_FUZZ_SECONDS", "0"))
"""Seconds for which each target is given one pass after the other."""


def fuzzed(
    *strategies: Any, examples: int, seconds: float = ASKED, **named: Any
) -> Callable[[Callable[..., None]], Any]:
    """A test of what the strategies draw: one pass of so many `examples`, or passes until the `seconds` are over."""

    def decorate(test: Callable[..., None]) -> Any:
        end = 0.0

        @wraps(test)
        def in_time(*given_args: Any, **given_names: Any) -> None:
            if time.monotonic() < end:
                test(*given_args, **given_names)

        draws: Any = given(*strategies, **named)
        drawn = draws(in_time)
        bounds: Any = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        one_pass = bounds(drawn)

        @wraps(one_pass)
        def passes(*args: Any, **names: Any) -> None:
            nonlocal end
            end = time.monotonic() + (seconds or BUDGET)
            one_pass(*args, **names)
            while seconds and time.monotonic() < end:
                one_pass(*args, **names)

        return pytest.mark.timeout(120 + seconds)(passes)

    return decorate
