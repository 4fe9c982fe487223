"""How server-rendered pages say moments, durations and ids."""

import re
from datetime import datetime, timedelta

import msgspec

from keyfold.domain import ids

_UNITS = (("year", 31536000), ("month", 2592000), ("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60))
_HALVES = (1296000, 302400, 43200, 1800, 30, 0)
"""Half of the next smaller unit: so little before it is whole, a larger one is said, and never 60 minutes."""

_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def ago(moment: datetime, now: datetime) -> str:
    """`3 hours ago`, `in 2 days`: as the scripts say it, which keep it true while the page is open."""
    seconds = (moment - now).total_seconds()
    for (unit, size), half in zip(_UNITS, _HALVES, strict=True):
        if abs(seconds) >= size - half:
            count = counted(round(abs(seconds) / size), unit)
            return f"in {count}" if seconds > 0 else f"{count} ago"
    return "now"


def lasting(length: timedelta | int | None) -> str:
    """`90 days`, `30 minutes`: the largest unit that it is a whole number of."""
    if length is None:
        return ""
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    for unit, size in _UNITS[3:]:
        if seconds >= size and not seconds % size:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def counted(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


def exact(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def parts(name: str) -> tuple[str, str, str]:
    """Head, middle and tail of an id: what is long is shown without its middle."""
    if len(name) <= 20:
        return name, "", ""
    head = name[: name.rfind("_") + 5]
    return head, name[len(head) : -6], name[-6:]


def born(this: str) -> datetime:
    """When an id was made."""
    return ids.time_of(this)


def compact(value: object) -> str:
    """A value as JSON, to be read."""
    return visible(msgspec.json.encode(value).decode())


def visible(json: str) -> str:
    """The same JSON with what turns the direction of text (UAX #9) as escapes, so that it reads as it is."""
    return _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def isolated(text: str) -> str:
    """Somebody else's words within a sentence, where there can be no markup: nothing beyond them is turned."""
    return f"\u2068{text}\u2069"


FILTERS = {
    "ago": ago,
    "exact": exact,
    "lasting": lasting,
    "parts": parts,
    "born": born,
    "json": compact,
    "visible": visible,
    "isolated": isolated,
}
