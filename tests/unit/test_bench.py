"""The benchmarks' arithmetic and tables. How fast anything is, no test says."""

import json
from collections.abc import Awaitable, Callable

import pytest

from bench.catalogue import GROUPS, ROWS, chosen, rows_of
from bench.load import request
from bench.measure import Bound, Outcome, Row, compared, interleaved, percentile, ratio
from bench.report import as_json, as_markdown, target

_MACHINE = {"CPU": "two cores of something", "Postgres": "18.4"}


def _row(*bounds: Bound) -> Row:
    return Row(name="append-32", what="append", against="pgbench", bounds=bounds)


def test_every_row_names_its_target_but_those_that_have_none() -> None:
    assert {row.name for row in ROWS.values() if not row.bounds} == {
        "publish-http",
        "scale-history-first",
        "scale-past-first",
        "connect-first",
        "connect-again",
        "connect-rate",
        "connect-memory",
        "lifecycle-size",
    }
    for row in ROWS.values():
        for bound in row.bounds:
            assert (bound.least is None) != (bound.most is None), row.name


def test_a_row_has_one_group_and_a_name_of_its_own() -> None:
    assert len(ROWS) == sum(len(rows) for rows in GROUPS.values())
    assert all(name == row.name for name, row in ROWS.items())


def test_a_row_that_is_compared_says_with_what() -> None:
    for row in ROWS.values():
        is_compared = any(bound.figure == "ratio" for bound in row.bounds)
        assert not row.bounds or is_compared == (row.against != "-"), row.name


def test_all_groups_but_scale_are_measured_when_nothing_is_named() -> None:
    assert chosen([], []) == [group for group in GROUPS if group != "scale"]
    assert chosen(["scale", "append"], []) == ["scale", "append"]


def test_a_row_is_found_in_whichever_group_it_is() -> None:
    assert chosen([], ["scale-append"]) == ["scale"]
    assert chosen([], ["visible", "append-1", "append-32"]) == ["append", "project"]
    assert chosen(["append", "scale"], ["scale-append"]) == ["scale"]


@pytest.mark.parametrize(
    ("groups", "only", "says"),
    [
        (["apend"], [], "no such group: apend; there are append, project, .*scale"),
        (
            [],
            ["scale-apend"],
            "no such row: scale-apend; there are, by group, append: append-32, .*scale: scale-append",
        ),
        (["append"], ["append-1", "scale-append"], "of another group: scale-append is of scale$"),
    ],
)
def test_what_cannot_be_measured_is_said_with_what_can(groups: list[str], only: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chosen(groups, only)


def test_rows_of_scale_say_how_many_events_there_were() -> None:
    assert rows_of(10_000_000) == ROWS
    assert rows_of(200_000)["scale-append"].what.endswith(", 200,000 events in the log")
    assert rows_of(200_000)["append-1"] == ROWS["append-1"]


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # the machine was ten times slower in the second round, for both
    assert ratio([200.0, 20.0, 330.0], [100.0, 10.0, 110.0]) == 2.0


def test_an_outcome_shows_the_median_of_each_side() -> None:
    outcome = compared("append-32", [1.0, 9.0, 3.0], [2.0, 3.0, 4.0])
    assert (outcome.our_median, outcome.their_median) == (3.0, 3.0)
    assert outcome.figures == {"ratio": 0.75, "rate": 3.0}


def test_sides_of_unequal_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_occurred(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_a_bound_includes_its_number() -> None:
    assert Bound("ratio", least=1.2).holds(1.2)
    assert not Bound("ratio", least=1.2).holds(1.19)
    assert Bound("p99", most=50).holds(50)
    assert not Bound("p99", most=50).holds(50.1)


def test_a_row_is_met_when_all_its_bounds_hold() -> None:
    outcome = Outcome(row="append-32", figures={"ratio": 0.3, "rate": 70_000})
    assert outcome.is_met(_row(Bound("ratio", least=0.25)))
    assert not outcome.is_met(_row(Bound("ratio", least=0.25), Bound("rate", least=80_000)))


def test_a_row_that_is_skipped_or_has_no_target_is_neither_met_nor_missed() -> None:
    assert Outcome(row="append-32", skipped="not installed").is_met(_row(Bound("ratio", least=1))) is None
    assert Outcome(row="append-32", ours=[1.0]).is_met(_row()) is None


async def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def side(name: str) -> Callable[[], Awaitable[float]]:
        async def run() -> float:
            calls.append(name)
            return float(len(calls))

        return run

    figures = await interleaved({"ours": side("ours"), "theirs": side("theirs")}, rounds=2)
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert figures == {"ours": [4.0, 5.0], "theirs": [3.0, 6.0]}


def test_targets_read_like_the_design() -> None:
    times = "\N{MULTIPLICATION SIGN}"
    assert target([Bound("ratio", least=1.2)]) == f"≥ 1.2 {times}"
    assert target([Bound("ratio", least=0.25), Bound("rate", least=80_000)]) == f"≥ 0.25 {times}, ≥ 80,000/s"
    assert target([Bound("p50", most=10), Bound("p99", most=50)]) == "p50 ≤ 10 ms, p99 ≤ 50 ms"
    assert target([Bound("seconds", most=2.5)]) == "≤ 2.5 s"
    assert target([Bound("rate", least=200_000), Bound("p99", most=0.05)]) == "≥ 200,000/s, p99 ≤ 50 µs"
    assert target([Bound("p99", most=20), Bound("late", most=0)]) == "p99 ≤ 20 ms, ≤ 0 late"


def test_the_table_has_a_line_for_each_row_and_says_what_was_skipped() -> None:
    outcomes = [
        compared("append-32", [30_000.0, 26_000.0, 24_000.0], [20_000.0, 20_000.0, 20_000.0]),
        compared("append-1", [1_000.0], [4_000.0]),
        Outcome(row="append-emmett", skipped="emmett is not installed"),
        Outcome(row="visible", unit="ms", ours=[1.0, 3.0], figures={"p50": 3.2, "p99": 7.04}),
        Outcome(row="verify-in-process", ours=[2e5], figures={"rate": 2e5, "p50": 0.0032, "p99": 0.06}),
        Outcome(row="revocation", unit="ms", figures={"p50": 0.9, "p99": 4, "worst": 2_000, "late": 1}),
        Outcome(row="publish-http", ours=[900.0]),
        Outcome(row="thousand-gone", unit="s", ours=[0.2, 0.3, 1.4], figures={"seconds": 1.4, "late": 0}),
        Outcome(row="connect-first", unit="ms", ours=[8.8], theirs=[11.07]),
        Outcome(row="connect-memory", unit="KB", ours=[165.2]),
    ]
    text = as_markdown(_MACHINE, outcomes)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("- CPU: two cores of something\n- Postgres: 18.4\n\n|")
    assert len({line.count("|") for line in lines}) == 1
    assert [line.rsplit("|", 2)[1].strip() for line in lines[2:]] == [
        "yes",
        "**no**",
        "skipped",
        "yes",
        *["**no**"] * 2,
        "-",
        "**no**",
        "-",
        "-",
    ]
    assert "| 26,000/s |" in lines[2]
    assert "| 1.30 " in lines[2]
    assert "| p50 3.2 ms, p99 7.0 ms |" in lines[5]
    assert "| 200,000/s, p50 3.2 µs, p99 60.0 µs |" in lines[6]
    assert "| p50 900.0 µs, p99 4.0 ms, worst 2000.0 ms, 1 late |" in lines[7]
    assert "| 1.40 s, 0 late |" in lines[9]  # what it is judged by, and not the median
    assert "| 8.80 ms | in nats-server | 11.07 ms |" in lines[10]
    assert "| 165.20 KB |" in lines[11]
    assert "Skipped append-emmett: emmett is not installed" in text


def test_machines_get_every_rounds_figure() -> None:
    outcomes = [compared("append-1", [1.0, 2.0], [4.0, 4.0]), Outcome(row="up-cold", skipped="no such command")]
    read = json.loads(as_json(_MACHINE, outcomes))
    assert read["machine"] == _MACHINE
    first, second = read["rows"]
    assert (first["ours"], first["theirs"], first["figures"]["ratio"], first["met"]) == ([1, 2], [4, 4], 0.375, False)
    assert first["bounds"] == [{"figure": "ratio", "least": 0.4, "most": None}]
    assert (second["met"], second["skipped"]) == (None, "no such command")


def test_a_request_counts_the_bytes_of_its_body() -> None:
    head, _, body = request("POST", "/x", {"Authorization": "Bearer k"}, '{"ü": 1}').partition("\r\n\r\n")
    assert head.startswith("POST /x HTTP/1.1\r\n")
    assert f"Content-Length: {len(body.encode())}" in head
