"""Errors as problem+json: where a field is, in the words of RFC 6901."""

import msgspec
import pytest
from litestar.exceptions import HTTPException, ValidationException

from keyfold.app.admission import KeyRefused
from keyfold.domain.refusals import Invalid, OutOfSight, Refusal
from keyfold.web.problems import FieldError, _describe


def described(message: str) -> tuple[int, str, list[FieldError]]:
    """Status, code and fields of what Litestar raises for a value that msgspec refused with this message."""
    error = ValidationException()
    error.__cause__ = msgspec.ValidationError(message)
    _, status, _, code, fields = _describe(error)
    return status, code, fields


GONE = "There is no such field; leave it out."
NEEDED = "This field is required."
TEXT = "Expected `str`, got `int`"


@pytest.mark.parametrize(
    ("message", "pointer", "detail"),
    [
        ("Object contains unknown field `foo` - at `$.data`", "/foo", GONE),
        ("Object contains unknown field `data` - at `$.data`", "/data", GONE),
        ("Object contains unknown field `` - at `$.data`", "/", GONE),
        ("Object contains unknown field `a/~b` - at `$.data`", "/a~1~0b", GONE),
        ("Object contains unknown field `a\nb` - at `$.data`", "/a\nb", GONE),
        ("Object contains unknown field `x` - at `$.y` - at `$.data`", "/x` - at `$.y", GONE),
        ("Object contains unknown field `b` - at `$.data.options.send`", "/options/send/b", GONE),
        ("Object missing required field `name` - at `$.data`", "/name", NEEDED),
        ("Object missing required field `data`", "", "The body is empty; send a JSON object."),
        (f"{TEXT} - at `$.data`", "", TEXT),
        (f"{TEXT} - at `$.data.appName`", "/appName", TEXT),
        (f"{TEXT} - at `$.data.topics[3]`", "/topics/3", TEXT),
        (f"{TEXT} - at `$.data.environments[...].permitted[0]`", "/environments", TEXT),
        ("Invalid enum value 'x' - at `key` in `$.data.environments`", "/environments", "Invalid enum value 'x'"),
        ("Expected `int` >= 1 - at `$.limit`", "?limit", "Expected `int` >= 1"),
        ("Expected `int` >= 0 - at `$.min_position`", "?minPosition", "Expected `int` >= 0"),
        ("Expected `str` - at `$.type_`", "?type", "Expected `str`"),
    ],
)
def test_a_field_is_pointed_at_in_the_clients_own_words(message: str, pointer: str, detail: str) -> None:
    assert described(message) == (400, "invalid-request", [FieldError(pointer, detail)])


def test_a_refusal_tells_its_code_its_status_and_its_fields() -> None:
    title, status, detail, code, fields = _describe(Invalid("No.", ("/a", "wrong"), ("/b", "too")))
    assert (title, status, detail, code) == (Invalid.title, 400, "No.", "invalid-request")
    assert fields == [FieldError("/a", "wrong"), FieldError("/b", "too")]


@pytest.mark.parametrize("status", [404, 405, 413, 415])
def test_what_the_framework_refuses_has_a_code_and_a_hint(status: int) -> None:
    title, given, detail, code, _ = _describe(HTTPException(status_code=status))
    assert given == status
    assert code not in ("", "internal")
    assert title
    assert detail


def test_json_that_is_nested_beyond_reading_is_the_clients_mistake() -> None:
    assert _describe(RecursionError())[1:4:2] == (400, "invalid-json")


@pytest.mark.parametrize(
    "error", [ValueError("kf_prod_secret"), KeyError("kf_prod_secret"), HTTPException(status_code=418)]
)
def test_whatever_else_breaks_says_nothing_of_itself(error: Exception) -> None:
    title, status, detail, code, fields = _describe(error)
    assert (status, code, fields) == (500, "internal", [])
    assert "secret" not in title + detail


def kinds(of: type[Refusal]) -> list[type[Refusal]]:
    return [each for kind in of.__subclasses__() for each in (kind, *kinds(kind))]


def test_every_refusal_has_a_code_of_its_own_a_status_and_a_title() -> None:
    every = kinds(Refusal)
    for_us_alone = {KeyRefused, OutOfSight}  # a client is told no more than of their parents
    codes = [kind.code for kind in every if kind not in for_us_alone]
    assert len(every) > 10
    assert len({*codes}) == len(codes)
    assert [kind for kind in every if not (400 <= kind.status < 600 and kind.title)] == []
