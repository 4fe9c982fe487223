"""What commands take as arguments: durations, moments, the ids of keys, files of JSON."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import click

from keyfold.domain.ids import is_id

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
MYSELF = "self"


class Duration(click.ParamType[timedelta]):
    """`30m`, `24h`, `7d`; `0` is none."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if value == "0":
            return timedelta()
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a duration such as 30m, 24h or 7d.", param, ctx)
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


class Moment(click.ParamType[datetime]):
    """RFC 3339 with its zone; or from now: `7d` lies ahead, `-2h` behind."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if _DURATION.fullmatch(value.removeprefix("-")):
                span = DURATION.convert(value.removeprefix("-"), param, ctx)
                return datetime.now(UTC) + (-span if value.startswith("-") else span)
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment such as 2026-11-21T08:00:00Z, 7d or -2h.", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"Say the zone as well: {value}Z, or {value}+02:00.", param, ctx)
        return moment


class AsOf(click.ParamType[str]):
    """A moment that lies behind, or a position of the log, as the API takes it."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.isascii() and value.isdecimal():
            return str(value)
        return rfc3339(MOMENT.convert(value, param, ctx))


class KeyId(click.ParamType[str]):
    """An id, or `self`. A secret is refused and never repeated: by now it is in the shell's history."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.startswith("kf_"):
            self.fail("That is a secret, which others can see here. Name the key by its id, key_….", param, ctx)
        if value != MYSELF and not is_id("key", value):
            self.fail(f"{value!r} is no key's id: key_… and 26 characters, or self.", param, ctx)
        return str(value)


class JsonFile(click.File):
    """A file with an object of JSON, `-` for standard input."""

    name = "file"

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        file: BinaryIO = super().convert(value, param, ctx)  # type: ignore[assignment]  # opened as bytes
        try:
            content = json.load(file)
        except ValueError as error:
            self.fail(f"{value} is no JSON: {error}", param, ctx)
        if not isinstance(content, dict):
            self.fail(f"{value} holds no object.", param, ctx)
        return content


DURATION = Duration()
MOMENT = Moment()
AS_OF = AsOf()
KEY_ID = KeyId()
JSON_FILE = JsonFile()


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
