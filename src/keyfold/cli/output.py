"""What commands print: JSON for programs, and for people words, tables, and times both relative and exact."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDE = 250
"""Columns where no terminal says how many there are, so that nothing wraps."""
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_STYLES = {
    "active": "green",
    "pending": "cyan",
    "retiring": "yellow",
    "suspended": "yellow",
    "compromised": "bold red",
    "revoked": "red",
    "expired": "dim",
    "retired": "dim",
}


class Output:
    """Where a command's answer goes. What isn't part of it, such as what to do next, goes to standard error."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else WIDE
        self._console = Console(highlight=False, width=width, soft_wrap=False)
        self.aside = Console(stderr=True, highlight=False, soft_wrap=True)

    def data(self, view: Any) -> None:
        click.echo(json.dumps(view, ensure_ascii=False, separators=(",", ":")))

    def line(self, *parts: str | Text) -> None:
        """Parts with their styles; what is plain text stays as it is, brackets included."""
        line = Text()
        for part in parts:
            line.append_text(part if isinstance(part, Text) else printable(part))
        self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        self.aside.print(printable(text), style="dim")

    def fields(self, fields: Mapping[str, str | Text | None]) -> None:
        """Names and values, those without a value left out."""
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        width = max(map(len, given), default=0)
        for name, value in given.items():
            self.line(Text(f"{name:<{width}}  ", style="dim"), value or "")

    def progress(self) -> Progress:
        """A bar for people alone, which what is printed meanwhile doesn't run into."""
        on_screen = self._console.is_terminal
        console = self._console if on_screen else self.aside
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal or (on_screen and self.as_json),
        )

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
        """The first column is never cut or wrapped, so that it can be copied."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
        for number, name in enumerate(columns):
            table.add_column(name, no_wrap=number == 0, overflow="fold")
        for row in rows:
            table.add_row(*[cell if isinstance(cell, Text) else printable(cell) for cell in row])
        self._console.print(table)


def printable(text: str) -> Text:
    """The same without what would move the cursor or turn the writing round: others have chosen it."""
    return Text("".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text))


def status(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def relative(moment: str | None, otherwise: str = "", *, now: datetime | None = None) -> str:
    """`3h ago`, `in 30d`."""
    if moment is None:
        return otherwise
    seconds = (datetime.fromisoformat(moment) - (now or datetime.now(UTC))).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def when(moment: str | None) -> str | None:
    """Exact and relative."""
    return moment and f"{exact(moment)} ({relative(moment)})"


def exact(moment: str) -> str:
    """In whole seconds."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A duration in its largest unit of which there are two or more, nearly: 3599 s are `60m`, 7199 s `2h`."""
    for unit, size in _UNITS:
        if seconds >= 1.95 * size:
            return f"{round(seconds / size)}{unit}"
    return f"{round(seconds)}s"


def changes(before: Any, after: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each place that differs, by its path, with what it held before and after; None is nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from changes(before.get(name), after.get(name), f"{at}.{name}" if at else name)
    elif before != after:
        yield at, before, after


def shown(value: Any) -> str:
    """A JSON value in few words."""
    if value is None:
        return "nothing"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
