"""How keys are used for events: what a process notes, and how the report of a stretch of time reads."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from keyfold.app import event_usage
from keyfold.app.event_usage import BUCKETS, LATENCY_BOUNDS, EventUsage, Tally
from keyfold.app.usage_report import Span, Total, report, span
from keyfold.domain.refusals import Invalid

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = int(NOON.timestamp()) // 60
SECOND = timedelta(seconds=1)


def taken(usage: EventUsage) -> list[Tally]:
    return [tally for batch in usage.take() for tally in batch]


def test_events_are_added_up_by_key_minute_and_outcome() -> None:
    usage = EventUsage()
    usage.note("key_1", "published", at=NOON, size=10)
    usage.note("key_1", "published", at=NOON + 59 * SECOND, count=2, size=5)
    usage.note("key_1", "published", at=NOON + 60 * SECOND)
    usage.note("key_1", "duplicate", at=NOON)
    usage.note("key_2", "published", at=NOON)
    assert taken(usage) == [
        Tally("key_1", MINUTE, "published", 3, 15),
        Tally("key_1", MINUTE + 1, "published", 1),
        Tally("key_1", MINUTE, "duplicate", 1),
        Tally("key_2", MINUTE, "published", 1),
    ]
    assert taken(usage) == []


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0, 0), (0.0005, 0), (0.00051, 1), (0.001, 1), (32.768, 16), (32.769, 17), (float("inf"), 17), (-1, 0)],
)
def test_a_latency_is_in_the_bucket_whose_end_it_is_not_above(seconds: float, bucket: int) -> None:
    usage = EventUsage()
    usage.note("key_1", "published", at=NOON, count=2, seconds=seconds)
    ((tally,),) = usage.take()
    assert tally.buckets == [2 if n == bucket else 0 for n in range(BUCKETS)]


def test_when_it_is_full_what_is_known_still_counts_and_the_rest_is_counted_as_dropped() -> None:
    usage = EventUsage(capacity=2)
    for key_id in ("key_1", "key_2", "key_3", "key_1", "key_3"):
        usage.note(key_id, "published", at=NOON, count=5)
    assert usage.dropped == 10
    assert [(tally.key_id, tally.count) for tally in taken(usage)] == [("key_1", 10), ("key_2", 5)]


def test_every_batch_fits_into_a_message_and_reads_back() -> None:
    usage = EventUsage()
    for n in range(event_usage.BATCH + 1):
        usage.note(f"key_{n:026}", "refused:" + "x" * 40, at=NOON, count=2**40, size=2**48, seconds=0.01)
    batches = [*usage.take()]
    assert [len(batch) for batch in batches] == [event_usage.BATCH, 1]
    payload = msgspec.json.encode(batches[0])
    assert len(payload) < 1_000_000
    assert msgspec.json.decode(payload, type=list[Tally]) == batches[0]


def test_a_span_covers_what_is_asked_for_in_whole_steps() -> None:
    asked = span(NOON - timedelta(minutes=90), NOON - timedelta(minutes=1), "hour", NOON + timedelta(days=1))
    assert asked == Span(MINUTE - 120, MINUTE, "hour")
    day = MINUTE // 1440 * 1440
    assert span(NOON, NOON, "day", NOON + timedelta(days=2)) == Span(day, day + 1440, "day")


def test_a_span_ends_with_the_step_that_is_now() -> None:
    assert span(NOON, None, "minute", NOON + SECOND) == Span(MINUTE, MINUTE + 1, "minute")
    assert span(NOON, NOON + timedelta(days=9), "hour", NOON + SECOND) == Span(MINUTE, MINUTE + 60, "hour")
    assert span(None, None, "hour", NOON + SECOND) == Span(MINUTE + 60 - 1440, MINUTE + 60, "hour")


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOON, NOON - SECOND * 61),
        (NOON, NOON),
        (NOON + timedelta(days=3), None),
        (NOON, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_reversed_or_empty_span_is_refused(since: datetime, until: datetime | None) -> None:
    with pytest.raises(Invalid, match="empty"):
        span(since, until, "minute", NOON)


def test_a_span_of_too_many_steps_is_refused_and_one_of_just_so_many_is_not() -> None:
    assert span(NOON - timedelta(minutes=1500), NOON, "minute", NOON).end == MINUTE
    with pytest.raises(Invalid, match="1500 steps"):
        span(NOON - timedelta(minutes=1501), NOON, "minute", NOON)
    with pytest.raises(Invalid, match="1500 steps"):
        span(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "day", NOON)


def test_a_report_has_totals_and_quantiles() -> None:
    rows = [(MINUTE, "published", 2, 20), (MINUTE + 60, "duplicate", 1, 7), (MINUTE + 60, "published", 3, 30)]
    latencies = [("published", 1, 50), ("published", 3, 48), ("published", 5, 1), ("published", 18, 1), ("slow", 18, 1)]
    view = report(Span(MINUTE, MINUTE + 120, "hour"), rows, latencies)
    assert (view.since, view.to) == (NOON, NOON + timedelta(hours=2))
    assert view.totals == {"published": Total(count=5, bytes=50), "duplicate": Total(count=1, bytes=7)}
    published, slow = view.latency.by_outcome["published"], view.latency.by_outcome["slow"]
    assert (published.p50, published.p99, sum(published.counts)) == (0.0005, 0.008, 100)
    assert (slow.p50, slow.p99) == (None, None)
    assert view.latency.bounds == LATENCY_BOUNDS
