"""What commands take as arguments, and how they tell times and names."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from keyfold.cli.output import printable, relative, span
from keyfold.cli.values import DURATION, KEY_ID, MOMENT


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("24h", 86400), ("7d", 604800), ("0", 0), ("2w", 1209600)]
)
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "1", "-1h", "1.5h", "1y", "h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 30m"):
        DURATION.convert(text, None, None)


def test_a_moment_is_exact_or_from_now() -> None:
    assert MOMENT.convert("2026-03-01T12:00:00+02:00", None, None) == datetime(2026, 3, 1, 10, tzinfo=UTC)
    behind = datetime.now(UTC) - MOMENT.convert("-2h", None, None)
    assert abs(behind - timedelta(hours=2)) < timedelta(minutes=1)
    for wrong in ("2026-03-01T12:00:00", "yesterday", "999999999w"):
        with pytest.raises(click.BadParameter):
            MOMENT.convert(wrong, None, None)


def test_ids_of_other_things_are_no_keys() -> None:
    with pytest.raises(click.BadParameter):
        KEY_ID.convert("prt_01m7ypak2pfcytam0ge61tc7yg", None, None)


def test_times_are_told_in_the_largest_fitting_unit() -> None:
    assert [span(each) for each in (0, 59, 119, 3599, 7199, 86400, 172799)] == [
        "0s",
        "59s",
        "2m",
        "60m",
        "2h",
        "24h",
        "2d",
    ]
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert relative("2026-03-31T00:00:00Z", now=now) == "in 30d"
    assert relative("2026-02-28T21:00:00Z", now=now) == "3h ago"


def test_what_others_have_named_moves_no_cursor() -> None:
    assert printable("a\x9b2J\u202eb\x1b[31m").plain == "a\ufffd2J\ufffdb\ufffd[31m"
