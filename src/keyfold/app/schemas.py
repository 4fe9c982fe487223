"""Schemas put to work: judged by the meta-schema, compiled, and asked about events.

Regular expressions are matched in linear time: lookaround and backreferences, which can't be, are refused with the
schema. Formats that are known (`date-time`, `email`, `uuid` …) are held to. Nothing is ever fetched.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from keyfold.domain.json_schema import escaped
from keyfold.domain.limits import Fault
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.topic_entry import demand_schema

MOST = 20
"""Places that a violation names."""
_SENTENCE = 300
_REGEX = RegexOptions(size_limit=512 * 1024, dfa_size_limit=512 * 1024)
_VALUE = "This"
"""What stands for a value in a sentence: nothing of an event is repeated."""


class SchemaViolation(Refusal):
    """The event isn't as the topic's schema says; each place is named."""

    code, status, title = "schema-violation", 422, "The data is not valid under the topic's schema"

    @classmethod
    def of(cls, what: str, faults: list[Fault]) -> "SchemaViolation":
        return cls(
            f"{what}: {len(faults)}{'' if len(faults) < MOST else ' or more'} places are not as it says.", *faults
        )


class Judge:
    """One version of a schema, compiled."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Raises `Invalid`, naming the place, for what is no schema."""
        demand_schema(schema)
        try:
            self._validator = Draft202012Validator(
                # its own $id would only change what it is called
                {name: value for name, value in schema.items() if name != "$id"},
                pattern_options=_REGEX,
                validate_formats=True,
                offline=True,
                mask=_VALUE,
            )
        except ValidationError as error:
            place = _pointer("/schema", error.instance_path)
            raise Invalid("This is no JSON Schema 2020-12.", (place, _said(error.message))) from error

    def accepts(self, data: Any) -> bool:
        try:
            return self._validator.is_valid(data)
        except ValueError:  # no JSON, such as bytes
            return False

    def faults(self, pointer: str, data: Any) -> list[Fault]:
        """Where the data isn't as the schema says, at most `MOST` places; `pointer` is where it stands."""
        if self.accepts(data):
            return []
        try:
            return [fault for fault, _ in zip(self._faults(pointer, data), range(MOST), strict=False)]
        except ValueError:
            return [(pointer, "This is no JSON.")]

    def _faults(self, pointer: str, data: Any) -> Iterator[Fault]:
        for error in self._validator.iter_errors(data):
            yield _pointer(pointer, error.instance_path), _said(error.message)


def example_faults(judge: Judge, examples: tuple[Any, ...]) -> list[Fault]:
    """Where the examples aren't as the schema says."""
    return [fault for n, each in enumerate(examples) for fault in judge.faults(f"/examples/{n}", each)][:MOST]


def _pointer(at: str, path: list[str | int]) -> str:
    return "".join([at, *(f"/{escaped(str(part))}" for part in path)])


def _said(message: str) -> str:
    return f"{message[:_SENTENCE]}{'…' if len(message) > _SENTENCE else '.'}"
