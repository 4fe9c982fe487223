"""Fuzz targets end: after so many examples, or when their time is over."""

import time

from hypothesis import strategies as st

from .budget import fuzzed


def test_a_target_has_one_pass_or_as_many_as_fit_into_the_seconds() -> None:
    drawn: list[int] = []

    def note(number: int) -> None:
        drawn.append(number)

    once = fuzzed(st.integers(), examples=5, seconds=0)(note)
    once()
    assert 0 < len(drawn) <= 5
    longer, started = fuzzed(st.integers(), examples=5, seconds=0.2)(note), time.monotonic()
    longer()
    assert len(drawn) > 10
    assert time.monotonic() - started >= 0.2
