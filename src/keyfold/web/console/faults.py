"""What is wrong with a form, field by field: in plain words, under the label that the field has."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from keyfold.web.problems import FieldError
from keyfold.web.texts import has, t

_WORDS = (
    (r"Expected `int.*` >= (\d+)", "fault.least"),
    (r"Expected `int.*` <= (\d+)", "fault.most"),
    (r"Expected `int.*", "fault.number"),
    (r"Invalid RFC3339.*|Expected `datetime.*", "fault.moment"),
    (r"Invalid enum value.*", "fault.choice"),
    (r"Expected `str` of length <= (\d+)", "fault.length"),
    (r"Expected `str` of length >= (\d+)", "fault.required"),
    (r"Expected `str` matching.*", "fault.line"),
    (r"Expected `object.*", "fault.object"),
    (r"Expected `array.*", "fault.array"),
)
"""What msgspec says (the field's type, in Python's words), and the text that says what to type instead."""


class Fault(NamedTuple):
    """`name` is that of the form's field, as `label` calls it; both are empty for what no field is to blame for."""

    name: str
    label: str
    detail: str


def plain(detail: str) -> str:
    """The same in words for whoever fills in a form."""
    for pattern, word in _WORDS:
        if found := re.fullmatch(rf"(?:{pattern})\.?", detail, re.DOTALL):
            return t(word, n=found[1]) if found.groups() else t(word)
    return detail


def first(pointer: str) -> str:
    """The field that a pointer is about, where fields are called as they are in what is asked for."""
    return pointer.lstrip("?/").split("/", 1)[0]


def labels(*groups: str) -> Callable[[str], str]:
    """Gives the label of a field: the text of the first of the groups that has one of its name."""

    def label(name: str) -> str:
        return next((t(f"{group}.{name}") for group in groups if has(f"{group}.{name}")), "")

    return label


def faults_of(
    errors: Iterable[FieldError], label: Callable[[str], str], field: Callable[[str], str] = first
) -> list[Fault]:
    """What is said of each field. A field without a label has no place on the form."""
    found = [(field(each.pointer), each) for each in errors]
    return [Fault(name if label(name) else "", label(name), _at(name, each)) for name, each in found]


def _at(name: str, error: FieldError) -> str:
    """What is said, with the place in the JSON that a field has for its text."""
    place = error.pointer.removeprefix(f"/{name}")
    inside = t("fault.at", place=place) if place.startswith("/") and place != error.pointer else ""
    return inside + plain(error.detail)
