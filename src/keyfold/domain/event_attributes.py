"""The context attributes of an app event: which names and values there may be, and what is wrong with others.

Source: CloudEvents specification 1.0.2, sections "Context Attributes" and "Type System".
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from keyfold.domain.ids import is_id
from keyfold.domain.limits import Fault

ATTRIBUTES = 64
RECIPIENTS = 20
LONGEST_LIFE = timedelta(days=30)
"""As long as a stream keeps what has no time to live."""

Scalar = str | int | bool
Attributes = dict[str, Scalar]

_NAME = re.compile(r"[a-z0-9]{1,64}")
_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufdd0-\\ufdef"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(17))
    + "]"
)
"""What the type String excludes: control characters, surrogates, noncharacters."""
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  # RFC 9110, 5.6.2
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*"))*\s*')
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_LENGTHS = {"id": 256, "type": 255, "subject": 1024, "source": 2048, "dataschema": 2048, "datacontenttype": 255}
_TEXTS = {*_LENGTHS, "time", "topic", "to", "keyid"}
_LONGEST = 4096
_INTEGERS = range(-(2**31), 2**31)


def attribute_faults(attributes: Mapping[str, Any], at: str) -> Iterator[Fault]:
    """What is wrong with these attributes, as JSON has them; `at` is what their names come after in pointers."""
    if len(attributes) >= ATTRIBUTES:
        yield at.rstrip("/"), f"An event may have {ATTRIBUTES} attributes at the most."
        return
    for name, value in attributes.items():
        if _NAME.fullmatch(name) is None or name == "data":
            yield f"{at}{_shown(name)}", "A name has 1 to 64 lower-case letters and digits, and isn't `data`."
        elif fault := _fault(name, value):
            yield f"{at}{name}", fault


def _shown(name: str) -> str:
    """A name in a JSON pointer that anybody can read and nobody is hurt by."""
    return _UNPRINTABLE.sub("?", name[:64]).replace("~", "~0").replace("/", "~1")


def _fault(name: str, value: Any) -> str | None:
    """What is wrong with an attribute."""
    if name == "ttl":
        return _ttl_fault(value)
    if type(value) is str:
        return _text_fault(name, value)
    if name in _TEXTS:
        return "This must be a string."
    if type(value) is int and value not in _INTEGERS:
        return "An integer has 32 bits at the most. Send it as a string."
    return None if type(value) in (int, bool) else "Give a string, an integer, true or false."


def _text_fault(name: str, value: str) -> str | None:
    if _UNPRINTABLE.search(value):
        return "This has a character that no attribute may have."
    if name in _TEXTS and not value:
        return "This is empty. Leave it out."
    if len(value) > (most := _LENGTHS.get(name, _LONGEST)):
        return f"This may have {most} characters at the most."
    return _form_fault(name, value)


def _form_fault(name: str, value: str) -> str | None:
    match name:
        case "time" if not is_time(value):
            return "Give a time as in RFC 3339, such as 2026-03-01T12:00:00Z."
        case "datacontenttype" if _MEDIA_TYPE.fullmatch(value) is None:
            return "Give a media type, such as application/json."
        case "dataschema" if _URI.fullmatch(value) is None:
            return "Give an absolute URI."
        case "to" if not 1 <= len(recipients(value)) <= RECIPIENTS:
            return f"Name {RECIPIENTS} partners at the most."
        case "to" if not all(is_id("prt", each) for each in recipients(value)):
            return "Give ids of partners (prt_…) with commas between."
        case _:
            return None


def _ttl_fault(value: Any) -> str | None:
    most = int(LONGEST_LIFE.total_seconds())
    if type(value) is str and re.fullmatch("[0-9]{1,9}", value):
        value = int(value)
    return None if type(value) is int and 1 <= value <= most else f"Give whole seconds, 1 to {most} (30 days)."


def recipients(to: str) -> list[str]:
    return [each.strip() for each in to.split(",")] if to else []


def is_time(text: str) -> bool:
    """Whether this is a timestamp as in RFC 3339, leap seconds included."""
    match = _TIME.fullmatch(text)
    try:
        return match is not None and bool(datetime.fromisoformat(match[1]))
    except ValueError:
        return False
