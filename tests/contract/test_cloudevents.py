"""CloudEvents as they come in: every mode, every encoding, and whatever is none of them refused and never worse."""

import base64
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.domain.app_event import Draft, complete, encode
from keyfold.domain.cloudevents import (
    BATCH,
    media_type,
    read,
    read_batch,
    read_binary,
    read_structured,
)
from keyfold.domain.refusals import Invalid, UnsupportedMediaType
from unit.given import NOW

STRUCTURED = "application/cloudevents+json"
EVENT = {"specversion": "1.0", "id": "7", "type": "a.b", "data": {"x": 1}}


def pointers(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [pointer for pointer, _ in refused.value.fields]


def test_a_structured_event_is_read_as_it_stands() -> None:
    assert read_structured(json.dumps(EVENT).encode()) == Draft(attributes={"id": "7", "type": "a.b"}, data={"x": 1})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("", ""),
        ("[]", ""),
        ("1", ""),
        ("null", ""),
        ("{", ""),
        ("{}", "/specversion"),
        ('{"specversion": 1.0}', "/specversion"),
        ('{"specversion": "0.3"}', "/specversion"),
        ('{"specversion": null}', "/specversion"),
        ('{"specversion": "1.0", "id": 5}', "/id"),
        ('{"specversion": "1.0", "data": NaN}', ""),
        ('{"specversion": "1.0", "data": 1e999}', ""),
        ('{"specversion": "1.0", "data": "\\ud800"}', ""),
        ('{"specversion": "1.0", "id": "\\udfff"}', ""),
        ('{"specversion": "1.0", "data": 1, "data_base64": "AA=="}', "/data_base64"),
        ('{"specversion": "1.0", "data": null, "data_base64": "AA=="}', "/data_base64"),
        ('{"specversion": "1.0", "data_base64": "A"}', "/data_base64"),
        ('{"specversion": "1.0", "data_base64": "AA== "}', "/data_base64"),
        ('{"specversion": "1.0", "data_base64": "\u00e9"}', "/data_base64"),
        ('{"specversion": "1.0", "data_base64": 1}', "/data_base64"),
        ('{"specversion": "1.0", "Type": "x"}', "/Type"),
    ],
)
def test_what_is_no_structured_event_is_refused_by_what_is_wrong(body: str, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_structured(body.encode())
    assert pointers(refused) == [pointer]


def test_of_two_members_of_a_name_the_last_counts_here_as_in_what_is_stored() -> None:
    body = b'{"specversion": "1.0", "id": "1", "data": {"a": 1, "a": 2}, "id": "2"}'
    assert read_structured(body) == Draft(attributes={"id": "2"}, data={"a": 2})


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_deep_nesting_is_refused(text: str) -> None:
    for body in (text, f'{{"specversion": "1.0", "data": {text}}}'):
        with pytest.raises(Invalid):
            read_structured(body.encode())
        with pytest.raises(Invalid):
            read_batch(f"[{body}]".encode())
        with pytest.raises(Invalid):
            read_binary("application/json", {}, body.encode())


@pytest.mark.parametrize("missing", ["data", "data_base64"])
def test_null_in_the_place_of_an_attribute_is_none_but_null_as_data_is_data(missing: str) -> None:
    read_as = read_structured(f'{{"specversion": "1.0", "id": null, "{missing}": null}}'.encode())
    assert read_as == Draft(attributes={}, data=None if missing == "data" else msgspec.UNSET)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("7", "7"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("€", "€"),
        ("%2541", "%41"),
        ("a%zz", "a%zz"),
        ('"a b"', "a b"),
        (r'"a \" \\ b"', r'a " \ b'),
        ('"%41"', "A"),
        ("a+b", "a+b"),
        ("  a ", "a"),
    ],
)
def test_a_header_is_unquoted_and_percent_decoded_once(header: str, text: str) -> None:
    assert read_binary("", {"ce-specversion": "1.0", "ce-id": header}, b"") == Draft(attributes={"id": text})


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"ce-id": "%ff"}, "ce-id"),
        ({"ce-id": "\udcff"}, "ce-id"),
        ({"ce-id": "%00"}, "ce-id"),
        ({"ce-id": "%ED%A0%80"}, "ce-id"),
        ({"ce-id": ""}, "ce-id"),
        ({"ce-specversion": "2.0"}, "ce-specversion"),
        ({"ce-datacontenttype": "a/b"}, "ce-datacontenttype"),
        ({"ce-my_ext": "1"}, "ce-my_ext"),
        ({"ce-": "1"}, "ce-"),
        ({"ce-data": "1"}, "ce-data"),
        ({"ce-ttl": "soon"}, "ce-ttl"),
    ],
)
def test_a_header_that_is_no_attribute_is_refused_by_its_name(headers: dict[str, str], place: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_binary("application/json", headers, b"1")
    assert pointers(refused) == [place]


@pytest.mark.parametrize("kind", ["application/json", "application/JSON; charset=utf-8", "text/json", "a/b+json"])
def test_the_body_in_binary_mode_is_json_where_the_type_says_so(kind: str) -> None:
    made = read(kind, {"ce-specversion": "1.0", "ce-ext": "x", "host": "y"}, b'{"x": [1]}')
    assert made == Draft(attributes={"ext": "x", "datacontenttype": kind}, data={"x": [1]})


@pytest.mark.parametrize("kind", ["application/xml", "text/plain; charset=utf-8", "application/octet-stream"])
def test_the_body_in_binary_mode_is_bytes_else(kind: str) -> None:
    body = bytes(range(256))
    made = read(kind, {"ce-specversion": "1.0"}, body)
    assert made == Draft(attributes={"datacontenttype": kind}, data_base64=base64.b64encode(body).decode())


def test_plain_json_is_the_data_of_an_event_without_attributes() -> None:
    assert read("", {}, b"[1]") == Draft(attributes={"datacontenttype": "application/json"}, data=[1])
    made = read("application/json", {"ce-to": "prt_01h455vb4pex5vsknk084sn02q", "ce-ttl": "60"}, b"null")
    assert (made.data, made.to, made.ttl) == (None, ("prt_01h455vb4pex5vsknk084sn02q",), 60)


def test_an_event_may_have_no_data() -> None:
    assert read("", {"ce-specversion": "1.0"}, b"").data is msgspec.UNSET
    assert read("application/json", {}, b"").data is msgspec.UNSET


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/cloudevents+xml",
        "application/cloudevents",
        "json",
    ],
)
def test_what_isnt_said_to_be_an_event_isnt_taken_for_one(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(kind, {}, b"{}")


def test_an_event_without_an_id_has_that_of_its_message() -> None:
    assert read("", {}, b"1", fallback_id="m").attributes["id"] == "m"
    assert read("", {"ce-id": "own"}, b"1", fallback_id="m").attributes["id"] == "own"
    structured = b'{"specversion": "1.0", "id": null}'
    assert read(STRUCTURED + "; charset=utf-8", {}, structured, fallback_id="m").attributes["id"] == "m"
    with pytest.raises(Invalid):
        read("", {}, b"1", fallback_id="a\n")


def test_each_event_of_a_batch_is_read_on_its_own() -> None:
    first, second, third = read_batch(json.dumps([EVENT, {"id": "7"}, EVENT | {"id": "8"}]).encode())
    assert isinstance(first, Draft)
    assert isinstance(third, Draft)
    assert isinstance(second, Invalid)
    assert [pointer for pointer, _ in second.fields] == ["/specversion"]
    assert (first.attributes["id"], third.attributes["id"]) == ("7", "8")
    assert read_batch(b"[]") == []


@pytest.mark.parametrize("body", [b"{}", b"", b"null", json.dumps([EVENT] * (BATCH + 1)).encode()])
def test_what_is_no_batch_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_batch(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["specversion", "id", "type", "time", "source", "data", "data_base64", "to", "ttl", "datacontenttype", "x", "É", ""]
)
EVENTS = st.dictionaries(NAMES, JSON | st.just("1.0"), max_size=8).map(lambda each: {"specversion": "1.0", **each})


def stored(made: Draft) -> Any:
    """That whatever was read can be stored, and is JSON as others read it."""
    event = complete(made, topic="a/b", partner_id="prt_1", key_id="key_1", now=NOW, new_id="evt_1")
    whole = json.loads(encode(event).decode("utf-8"))
    assert (whole["specversion"], whole["source"], whole["topic"]) == ("1.0", "/partners/prt_1", "a/b")
    return whole


@given(EVENTS)
def test_whatever_json_comes_is_read_or_refused(value: Any) -> None:
    body = json.dumps(value).encode()  # with NaN, Infinity and lone surrogates
    try:
        made = read_structured(body)
    except Invalid:
        return
    whole = stored(made)
    if "data" in value:
        assert whole["data"] == value["data"]


@given(st.binary() | EVENTS.map(lambda each: json.dumps(each).encode()[:-1]) | st.text().map(str.encode))
def test_whatever_bytes_come_are_read_or_refused(body: bytes) -> None:
    for kind in (STRUCTURED, "application/json", "", "image/png"):
        try:
            stored(read(kind, {"ce-specversion": "1.0"}, body))
        except Invalid:
            continue
    with suppress(Invalid):
        read_batch(body)


@given(
    st.text(st.characters(), max_size=20) | st.sampled_from(["application/json", "a/b", ""]),
    st.dictionaries(
        NAMES.map(lambda name: f"ce-{name}") | st.text(st.characters(), max_size=8),
        st.text(st.characters(), max_size=20) | st.just("1.0"),
        max_size=5,
    ),
)
def test_whatever_headers_come_are_read_or_refused(kind: str, headers: dict[str, str]) -> None:
    with suppress(Invalid, UnsupportedMediaType):
        stored(read(kind, headers, b"{}", fallback_id=headers.get("x")))


def test_a_media_type_is_compared_without_its_parameters() -> None:
    assert media_type(" Application/JSON ; charset=utf-8") == "application/json"
