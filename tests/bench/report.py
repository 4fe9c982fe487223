"""The outcome as a Markdown table, or as JSON for machines."""

from collections.abc import Mapping, Sequence

import msgspec

from .catalogue import ROWS
from .measure import Bound, Figure, Outcome, Row

_TIMES = "\N{MULTIPLICATION SIGN}"
_TIMES_TAKEN: tuple[Figure, ...] = ("p50", "p99", "worst")
_HEAD = ("what", "ours", "against", "theirs", "ratio", "target", "met")


def as_markdown(machine: Mapping[str, str], outcomes: Sequence[Outcome], rows: Mapping[str, Row] = ROWS) -> str:
    """The machine as a list, then a line for each row, then what is to be said of those that were skipped."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        "",
        _line(_HEAD),
        _line(["---"] * len(_HEAD)),
        *(_line(_cells(each, rows[each.row])) for each in outcomes),
        "",
    ]
    lines += [f"Skipped {each.row}: {each.skipped}" for each in outcomes if each.skipped]
    lines.append("Figures are medians of rounds in which the sides take turns; the ratio is the median of theirs.")
    return "\n".join(lines)


def as_json(machine: Mapping[str, str], outcomes: Sequence[Outcome], rows: Mapping[str, Row] = ROWS) -> str:
    """The same with every round's figure, `met` null where a row was skipped."""
    lines = [
        {**msgspec.to_builtins(rows[each.row]), **msgspec.to_builtins(each), "met": each.is_met(rows[each.row])}
        for each in outcomes
    ]
    return msgspec.json.encode({"machine": dict(machine), "rows": lines}).decode()


def target(bounds: Sequence[Bound]) -> str:
    """Such as `p50 ≤ 10 ms, p99 ≤ 50 ms`."""
    return ", ".join(_bound(bound) for bound in bounds) or "-"


def _bound(bound: Bound) -> str:
    sign, value = ("≥", bound.least) if bound.least is not None else ("≤", bound.most)
    match bound.figure:
        case "ratio":
            return f"{sign} {value:g} {_TIMES}"
        case "rate":
            return f"{sign} {value:,.0f}/s"
        case "seconds":
            return f"{sign} {value:g} s"
        case "p50" | "p99" | "worst":
            return f"{bound.figure} {sign} {_time(value or 0.0, 'g')}"
        case "late":
            return f"{sign} {value:g} late"


def _cells(outcome: Outcome, row: Row) -> list[str]:
    met = {True: "yes", False: "**no**", None: "skipped" if outcome.skipped else "-"}[outcome.is_met(row)]
    ratio = f"{outcome.figures['ratio']:.2f} {_TIMES}" if "ratio" in outcome.figures else "-"
    theirs = _value(outcome.their_median, outcome.unit)
    return [row.what, _ours(outcome), row.against, theirs, ratio, target(row.bounds), met]


def _ours(outcome: Outcome) -> str:
    """What the row is judged by, or the median of the rounds, unless percentiles say it better."""
    figures = outcome.figures
    judged = figures.get("seconds", outcome.our_median)
    said = [] if outcome.unit == "ms" and "p50" in figures else [_value(judged, outcome.unit)]
    said += [f"{name} {_time(figures[name], '.1f')}" for name in _TIMES_TAKEN if name in figures]
    if "late" in figures:
        said.append(f"{figures['late']:.0f} late")
    return ", ".join(said)


def _time(milliseconds: float, precision: str) -> str:
    if 0 < milliseconds < 1:
        return f"{milliseconds * 1000:{precision}} µs"
    return f"{milliseconds:{precision}} ms"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}/s" if unit == "/s" else f"{value:.2f} {unit}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
