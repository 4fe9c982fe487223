"""Everything that reads what others wrote, with what is nearly right: cut, doubled, swapped, with other characters.

Each of them gives a value that is written back as it came, or says in its own way that it is none. And it does so in
a number of steps that grows no faster than the text, whatever is repeated in it.
"""

import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import strategies as st

from keyfold.app.schemas import Judge
from keyfold.app.work import PreconditionFailed
from keyfold.audit.signing import Signer, signed_note
from keyfold.bus.following import read_place
from keyfold.bus.pulling import is_token
from keyfold.domain.app_event import Draft, complete, encode
from keyfold.domain.cloudevents import read, read_batch, read_structured
from keyfold.domain.filters import Filter, filter_faults, holds
from keyfold.domain.ids import is_id
from keyfold.domain.networks import bounds, canonical, includes
from keyfold.domain.networks import within as lies_within
from keyfold.domain.record import Actor, Record, read_record
from keyfold.domain.record import encode as encode_record
from keyfold.domain.refusals import Invalid, UnsupportedMediaType
from keyfold.domain.tokens import ENTROPY, mint, parse_token
from keyfold.domain.topics import covers, is_pattern, is_topic, within
from keyfold.web.v1.following import behind, patterns_of
from keyfold.web.v1.patching import demand_match
from keyfold.web.v1.trail import position
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.merkle import ProofError
from keyfold_client.audit.notes import NoteError, Verifier, parse_note
from keyfold_client.audit.proofs import Proof
from keyfold_client.audit.records import Line, place_of
from keyfold_client.audit.tiles import parse_path
from unit.given import NOW

from .budget import fuzzed

SUFFIX = "01h455vb4pex5vsknk084sn02q"
HASH = b64encode(bytes(range(32))).decode()
LOG = Signer("log.example", bytes(32))
CHECKPOINT = f"log.example/tests\n4711\n{HASH}\n"
NOTE = signed_note(CHECKPOINT, [LOG, Signer("other.example", bytes(range(32)))])
PROOF = f"c2sp.org/tlog-proof@v1\nextra aGk=\nindex 7\n{HASH}\n{HASH}\n\n{NOTE}"
EVENTS: list[Any] = [
    {"specversion": "1.0", "id": "o-1", "type": "app.order.created", "topic": "app/order/created", "data": {"a": [1]}},
    {"specversion": "1.0", "time": "2026-03-01T12:00:00Z", "to": f"prt_{SUFFIX}", "ttl": 60, "data_base64": "aGk="},
    {"specversion": "1.0", "datacontenttype": "text/plain", "dataschema": "https://x.test/s", "x1": True, "data": "hi"},
]
SCHEMAS: list[Any] = [
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://x.test/order",
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "pattern": "^o_[0-9]+$", "maxLength": 20},
            "to": {"$ref": "#/$defs/to"},
        },
        "$defs": {"to": {"type": ["array", "null"], "prefixItems": [{"const": 1}], "items": {"enum": ["a", None]}}},
    },
    {"oneOf": [{"minimum": 1, "multipleOf": 0.5}, {"if": {"type": "string"}, "then": {"format": "date-time"}}]},
    {"patternProperties": {"^x-": {"not": {"minItems": 2}}}, "dependentRequired": {"a": ["b"]}, "x-own": True},
]
RECORD = Record(
    number=1,
    id=f"evt_{SUFFIX}",
    stream=f"lnk_{SUFFIX}",
    version=1,
    type="link.withdrawn.v1",
    time=NOW,
    actor=Actor(kind="key", id=f"key_{SUFFIX}", address="192.0.2.7"),
    correlation_id="req_1",
    data=msgspec.Raw(b'{"workspaceId":"ws_1","reason":"no"}'),
)
PIECES = [
    *(
        "",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\0",
        '"',
        "'",
        "/",
        "//",
        "*",
        "**",
        ".",
        "..",
        ",",
        "-",
        "+",
        "_",
        "=",
        "%",
        "{",
        "[",
    ),
    *("0", "00", "9" * 30, "1e9", "-1", "null", "true", "NaN", "é", "²", "٣", "\u2028", "\U0001f600", "—", "W/", "::"),
]
"""What gets into a text that is nearly right."""


@st.composite
def mutated(draw: st.DrawFn, texts: list[str], most: int = 4) -> str:
    """One of the texts with a few things done to it, each of which a hand or a wire might do."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, most))):
        begin, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = draw(st.sampled_from([*PIECES, text[begin:end], draw(st.sampled_from(texts))]))
        match draw(st.sampled_from(["cut", "put", "replace", "swap", "case"])):
            case "cut":
                text = text[:begin] + text[end:]
            case "put":
                text = text[:begin] + piece + text[begin:]
            case "replace":
                text = text[:begin] + piece + text[min(len(text), begin + 1) :]
            case "swap":
                text = text[end:] + text[begin:end] + text[:begin]
            case _:
                text = text[:begin] + text[begin:end].swapcase() + text[end:]
    return text


class Reader(NamedTuple):
    """`read` gives what `write` makes of the value, which is the text again; or None for what it says is none, or
    raises one of `refusals`."""

    texts: list[str]
    read: Callable[[str], str | None]
    refusals: tuple[type[Exception], ...] = ()


def stored(draft: Draft) -> Any:
    """The event as it is stored, which is read again as the same."""
    event = complete(draft, topic="a/b", partner_id="prt_1", key_id="key_1", now=NOW, new_id="evt_1")
    body = encode(event)
    again = complete(read_structured(body), topic="a/b", partner_id="prt_1", key_id="key_1", now=NOW, new_id="evt_2")
    assert encode(again) == body
    return json.loads(body)


def the_same(text: str, is_one: bool) -> str | None:
    return text if is_one else None


def token(text: str) -> str | None:
    found = parse_token(text)
    return found.reveal if found else None


def note(text: str) -> str:
    found = parse_note(text.encode())
    return f"{found.text}\n" + "".join(f"{each.line}\n" for each in found.signatures)


def network(text: str) -> str:
    """Its one form is itself in every way."""
    one = canonical(text)
    first, last = bounds(one)
    assert (canonical(one), bounds(text)) == (one, (first, last))
    assert lies_within(text, (one,))
    assert includes((text,), str(first))
    assert includes((one,), str(last))
    return text


def pattern(text: str) -> str | None:
    if not is_pattern(text):
        return None
    assert within(text, (text,))
    assert within(text, ("**",))
    assert not is_topic(text) or covers(text, text)
    return text


def line(text: str) -> str | None:
    found = Line.parse(text.encode())
    return None if found is None else bytes(found).decode()


def record(text: str) -> str:
    """A record comes back as the same record; what it says of its place is read from any text."""
    place_of(text.encode())
    found = read_record(text)
    assert read_record(encode_record(found)) == found
    return text


def event(text: str) -> str:
    stored(read_structured(text.encode()))
    read_batch(f"[{text}]".encode())
    return text


def schema(text: str) -> str:
    """What stands in a body: whatever is no object, or is nested too deeply, never comes as far as this."""
    try:
        found = msgspec.json.decode(text)
    except RecursionError:
        raise Invalid("too deep") from None
    if isinstance(found, dict):
        Judge(found)
    return text


def etag(text: str) -> str:
    demand_match(text, 7)
    return text


def place(text: str) -> str:
    """The same place again, however it is written."""
    found = read_place(text, "?from")
    again = found.word or (found.time.isoformat() if found.time else str(found.sequence))
    assert read_place(again, "?from") == found
    return text


READERS = {
    "key": Reader([mint("kf_prod", f"key_{SUFFIX}", bytes(range(ENTROPY))).reveal], token),
    "link": Reader([mint("kfl", f"lnk_{SUFFIX}", bytes(ENTROPY)).reveal], token),
    "cursor": Reader(
        [f"key_{SUFFIX}", f"prt_{SUFFIX}"], lambda text: the_same(text, is_id("key", text) or is_id("prt", text))
    ),
    "checkpoint": Reader([CHECKPOINT, CHECKPOINT + "more\n"], lambda text: Checkpoint.parse(text).text, (NoteError,)),
    "note": Reader([NOTE], note, (NoteError,)),
    "verifier": Reader([LOG.verifier.vkey], lambda text: Verifier.parse(text).vkey, (NoteError,)),
    "proof": Reader(
        [PROOF],
        lambda text: Proof.parse(text.encode()).to_bytes().decode(),
        (ProofError,),
    ),
    "tile": Reader(
        ["tile/0/000", "tile/1/x001/x234/067.p/8", "tile/63/255.p/1"], lambda text: parse_path(text).path, (ValueError,)
    ),
    "pattern": Reader(["app/order/*", "app/**", "*/a-b_c/**", "app/order/created"], pattern),
    "patterns": Reader(["app/order/*,app/**", "a/b"], lambda text: ",".join(patterns_of(text)), (Invalid,)),
    "network": Reader(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"], network, (ValueError,)),
    "etag": Reader(['"7"', '"6", W/"8" , "7"', "*", 'W/"7","7"'], etag, (Invalid, PreconditionFailed)),
    "Last-Event-ID": Reader(["1", "4711", "9" * 18], lambda text: str(int(behind(text)) - 1), (Invalid,)),
    "position": Reader(["1", "4711", "9" * 18], lambda text: str(position(text, "?after", "")), (Invalid,)),
    "place": Reader(
        ["beginning", "end", "4711", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.123456+05:30"], place, (Invalid,)
    ),
    "delivery": Reader(["1.42.7.1772366400123456789.0"], lambda text: the_same(text, is_token(text))),
    "line": Reader(['{"position":1,"record":{"number":1,"data":{"workspaceId":"ws_1"}}}\n'], line),
}
READERS |= {
    "record": Reader([encode_record(RECORD).decode()], record, (msgspec.MsgspecError, RecursionError)),
    "event": Reader([json.dumps(each) for each in EVENTS], event, (Invalid,)),
    "schema": Reader([json.dumps(each) for each in SCHEMAS], schema, (Invalid, msgspec.MsgspecError)),
}
SAME_NUMBER = {"Last-Event-ID", "position"}
"""Of these, leading zeros say nothing."""


@pytest.mark.parametrize("name", READERS)
@fuzzed(examples=100, data=st.data())
def test_what_is_nearly_right_is_written_back_as_it_came_or_refused(name: str, data: st.DataObject) -> None:
    this = READERS[name]
    text = data.draw(mutated(this.texts))
    try:
        written = this.read(text)
    except this.refusals:
        return
    if written is not None:
        assert written == (str(int(text)) if name in SAME_NUMBER else text)


@pytest.mark.parametrize("name", READERS)
def test_what_is_right_is_read(name: str) -> None:
    this = READERS[name]
    assert [this.read(text) for text in this.texts] == this.texts


def steps(read: Callable[[], object], refusals: tuple[type[Exception], ...]) -> int:
    """Calls that it takes, of Python's own functions and of those in C."""
    made = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read()
    except refusals:
        pass
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("name", READERS)
@fuzzed(examples=10, data=st.data())
def test_whatever_is_repeated_in_it_the_work_grows_no_faster_than_the_text(name: str, data: st.DataObject) -> None:
    this = READERS[name]
    text = data.draw(st.sampled_from(this.texts))
    begin = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(begin + 1, len(text)))
    more = text[begin:end] * (20_000 // (end - begin))
    longer = text[:begin] + more + data.draw(st.sampled_from(["", text[begin:], "\0", "!"]))
    started = time.process_time()
    assert steps(lambda: this.read(longer), this.refusals) < 20 * len(longer)
    assert time.process_time() - started < 2  # a regular expression that goes back and forth takes hours


FILTERS: list[Any] = [
    {"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"},
    {"propertyName": "total", "operator": "gte", "propertyValue": 1.5},
    {"propertyName": "state", "operator": "in", "propertyValue": ["new", None]},
    {"propertyName": "note", "operator": "exists", "propertyValue": False},
]
DATA: list[Any] = [
    {"customer": {"id": "c_1"}, "total": 2, "state": None, "note": "x", "id": "o_1", "to": [1, "a"]},
    ["a", {}, 10**400, -0.0, "2026-03-01T12:00:00Z"],
]
LEAVES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    10**400,
    "",
    "x",
    "é\0",
    "\ud800",
    "#/$defs/to",
    "1.0",
    [],
    {},
    [[]],
    "*",
]


@st.composite
def altered(draw: st.DrawFn, values: list[Any], most: int = 3) -> Any:
    """One of the values with a few places changed: taken away, exchanged with others, or something else put there."""
    value = draw(st.sampled_from(values))
    names = sorted({name for each in values for name in _names(each)})
    for _ in range(draw(st.integers(0, most))):
        value = _altered_once(draw, value, names)
    return value


def _altered_once(draw: st.DrawFn, value: Any, names: list[str]) -> Any:
    goes_in = isinstance(value, dict | list) and value and draw(st.integers(0, 3))
    if not goes_in:
        return draw(st.sampled_from([*LEAVES, [value], {draw(st.sampled_from(names)): value}]))
    at = draw(st.sampled_from([*value] if isinstance(value, dict) else range(len(value))))
    what = draw(st.sampled_from(["in", "in", "in", "leave out", "rename"]))
    if isinstance(value, list):
        inside = [] if what == "leave out" else [_altered_once(draw, value[at], names)]
        return [*value[:at], *inside, *value[at + 1 :]]
    others = {name: each for name, each in value.items() if name != at}
    match what:
        case "leave out":
            return others
        case "rename":
            return others | {draw(st.sampled_from(names)): value[at]}
        case _:
            return others | {at: _altered_once(draw, value[at], names)}


def _names(value: Any) -> list[str]:
    inside = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [*(value if isinstance(value, dict) else ()), *(name for each in inside for name in _names(each))]


@fuzzed(altered(EVENTS), examples=150)
def test_an_event_that_was_read_is_the_same_when_it_is_read_again_from_where_it_is_stored(event: Any) -> None:
    try:
        made = read_structured(json.dumps(event).encode())
    except Invalid:
        return
    assert stored(made)["specversion"] == "1.0"


@fuzzed(
    mutated([json.dumps(each) for each in EVENTS]),
    st.lists(altered(EVENTS), max_size=3),
    st.integers(0, 4),
    examples=100,
)
def test_each_event_of_a_batch_is_read_as_if_it_came_alone(text: str, events: list[Any], at: int) -> None:
    bodies = [json.dumps(each) for each in events]
    try:
        alone = [json.dumps(json.loads(text))]
    except ValueError:
        alone = []
    bodies[at:at] = alone
    try:
        found = read_batch(f"[{','.join(bodies)}]".encode())
    except Invalid:
        assert any(_is_unreadable(body) for body in bodies) or not bodies
        return
    for body, one in zip(bodies, found, strict=True):
        assert isinstance(one, Invalid) == _is_unreadable(body)


def _is_unreadable(body: str) -> bool:
    try:
        read_structured(body.encode())
    except Invalid:
        return True
    return False


HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "o-1",
    "ce-type": "a.b",
    "ce-time": "2026-03-01T12:00:00Z",
    "ce-x1": "%C3%A9",
}


@fuzzed(
    st.dictionaries(mutated([*HEADERS], 1), mutated([*HEADERS.values()], 2), max_size=5),
    mutated(["application/json", "text/plain; charset=utf-8", "application/cloudevents+json"], 2),
    mutated(['{"a": 1}', "hi"], 2),
    examples=100,
)
def test_an_event_in_headers_is_stored_as_it_can_be_read_again(headers: dict[str, str], kind: str, body: str) -> None:
    raw = body.encode()
    try:
        made = [read(kind, {**HEADERS, **headers}, raw)]
    except (Invalid, UnsupportedMediaType):
        return
    for each in made:
        stored(each)


@fuzzed(st.lists(altered(FILTERS), max_size=3), altered(DATA), examples=150)
def test_a_filter_that_was_nearly_right_is_refused_or_answers(filters: list[Any], data: Any) -> None:
    try:
        made = msgspec.json.decode(json.dumps(filters), type=tuple[Filter, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    assert msgspec.json.decode(msgspec.json.encode(made), type=tuple[Filter, ...]) == made
    if not [*filter_faults("", made)] and isinstance(data, dict):
        assert {holds(each, data) for each in made} <= {True, False}


@fuzzed(altered(SCHEMAS, 4), altered([*DATA, *LEAVES]), examples=150)
def test_a_schema_that_was_nearly_right_is_refused_or_judges(schema: Any, data: Any) -> None:
    if not isinstance(schema, dict):
        return
    try:
        judge = Judge(msgspec.json.decode(json.dumps(schema)))
    except (Invalid, msgspec.MsgspecError):
        return
    assert bool(judge.faults("", data)) is not judge.accepts(data)
