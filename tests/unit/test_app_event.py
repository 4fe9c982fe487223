"""App events: what is said of the sender is ours, what is missing has its default, what the key fills in wins."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from keyfold.domain.app_event import (
    LEVELS,
    AppEvent,
    AutofillImpossible,
    complete,
    draft,
    encode,
    is_deep,
    stream_of,
    subject_of,
    topic_of,
)
from keyfold.domain.event_attributes import is_time
from keyfold.domain.refusals import Invalid

NOW = datetime(2031, 3, 1, 12, tzinfo=UTC)
PARTNER = "prt_01h455vb4pex5vsknk084sn02q"
OTHER = "prt_01h455vb4pex5vsknk084sn02r"


def completed(*fillings: dict[str, Any], data: Any = msgspec.UNSET, **attributes: Any) -> AppEvent:
    return complete(
        draft(attributes, data=data),
        topic="app/order/created",
        partner_id=PARTNER,
        key_id="key_1",
        now=NOW,
        new_id="evt_1",
        fillings=fillings,
    )


def faults(**attributes: Any) -> list[str]:
    """The pointers of what is wrong with these."""
    with pytest.raises(Invalid) as refused:
        draft(attributes)
    return [pointer for pointer, _ in refused.value.fields]


def decoded(event: AppEvent) -> Any:
    return msgspec.json.decode(encode(event))


def test_what_is_missing_has_its_default() -> None:
    assert decoded(completed()) == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": f"/partners/{PARTNER}",
        "type": "app.order.created",
        "time": "2031-03-01T12:00:00Z",
        "keyid": "key_1",
        "topic": "app/order/created",
    }


def test_what_the_sender_says_of_itself_is_overwritten() -> None:
    said = decoded(completed(source="/partners/somebody", keyid="key_2", topic="app/secret", type="t", id="7"))
    assert (said["source"], said["keyid"], said["topic"]) == (f"/partners/{PARTNER}", "key_1", "app/order/created")
    assert (said["type"], said["id"]) == ("t", "7")


def test_whom_it_is_for_and_how_long_it_is_kept_is_told_to_us_and_to_nobody_else() -> None:
    sent = draft({"to": f"{PARTNER}, {OTHER},{PARTNER}", "ttl": "60"})
    assert (sent.to, sent.ttl, sent.attributes) == ((PARTNER, OTHER), 60, {})
    assert not {"to", "ttl"} & {*decoded(completed(to=PARTNER, ttl=5))}


def test_null_is_no_attribute() -> None:
    assert decoded(completed(id=None, subject=None, ttl=None)) == decoded(completed())


def test_null_is_data_and_nothing_is_none() -> None:
    assert decoded(completed(data=None))["data"] is None
    assert "data" not in decoded(completed())


def test_the_last_filling_wins_over_the_others_and_over_the_sender() -> None:
    data = {"customer": {"id": "x", "name": "n"}, "total": 1}
    event = completed({"customer": {"id": "key"}, "by": "key"}, {"customer": {"id": "offer"}}, data=data)
    assert event.data == {"customer": {"id": "offer", "name": "n"}, "total": 1, "by": "key"}
    assert data == {"customer": {"id": "x", "name": "n"}, "total": 1}


@pytest.mark.parametrize("data", [None, 1, "x", [], [{}], True, msgspec.UNSET])
def test_what_is_no_object_cant_be_filled_and_is_fine_where_nothing_is(data: Any) -> None:
    assert completed({}, {}, data=data).data == data
    with pytest.raises(AutofillImpossible):
        completed({}, {"a": 1}, data=data)


@pytest.mark.parametrize(
    ("attributes", "asked", "topic"),
    [
        ({"topic": "a/b", "type": "c.d"}, "e/f", "e/f"),
        ({"topic": "a/b", "type": "c.d"}, None, "a/b"),
        ({"type": "c.d"}, None, "c/d"),
    ],
)
def test_the_topic_is_asked_for_or_an_attribute_or_the_type(
    attributes: dict[str, str], asked: str | None, topic: str
) -> None:
    assert topic_of(draft(attributes), asked) == topic


@pytest.mark.parametrize(
    ("attributes", "asked", "place"),
    [
        ({"topic": "a"}, "", "?topic"),
        ({"topic": "a"}, "a.b", "?topic"),
        ({"topic": "a/*"}, None, "/topic"),
        ({"type": "a..b"}, None, "/type"),
        ({}, None, "/type"),
        ({}, "a" * 201, "?topic"),
        ({}, "a/>", "?topic"),
    ],
)
def test_what_is_no_topic_is_refused(attributes: dict[str, str], asked: str | None, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        topic_of(draft(attributes), asked)
    assert [pointer for pointer, _ in refused.value.fields] == [place]


@pytest.mark.parametrize(
    ("name", "sound", "unsound"),
    [
        (
            "id",
            ["x", "é" * 256, " "],
            ["", "x" * 257, "a\nb", "a\x7f", "\x85", "\ud800", "\ufffe", "\U0001ffff", 1, True],
        ),
        ("type", ["x" * 255, "com.example.order"], ["", "x" * 256, 1]),
        ("subject", ["x" * 1024], ["", "x" * 1025, False]),
        ("source", ["/a", "urn:x"], ["", 1, ["a"]]),
        ("time", ["2031-03-01T12:00:00Z", "2031-03-01t12:00:00.123+05:30"], ["2031-03-01", "now", 1, ""]),
        ("datacontenttype", ["text/plain", 'a/b; c="d;e"', "application/x+json"], ["text", "", "a/b;", "a/ b", 1]),
        ("dataschema", ["https://a.test/b#c", "urn:x:y"], ["", "/a", "https://a b", 1]),
        ("to", [PARTNER, f"{PARTNER},{OTHER}"], ["", ",", f"{PARTNER},", "prt_1", "key_01h455vb4pex5vsknk084sn02q", 1]),
        ("to", [], [",".join([PARTNER] * 21)]),
        (
            "ttl",
            [1, "1", 2592000, "2592000"],
            [0, "0", -1, 2592001, "2592001", 1.0, "1.5", True, "", "1s", "\u0661", "9" * 99],
        ),
        ("topic", ["anything at all"], ["", 1]),
        ("ext1", ["", "x" * 4096, 1, -(2**31), 2**31 - 1, True], ["x" * 4097, 2**31, 1.5, [], {}, "\0"]),
        ("a" * 64, ["x"], []),
        ("a" * 65, [], ["x"]),
        ("data", [], ["x"]),
        ("Ext", [], ["x"]),
        ("ex_t", [], ["x"]),
        ("", [], ["x"]),
        ("é", [], ["x"]),
    ],
)
def test_each_attribute_has_its_form(name: str, sound: list[Any], unsound: list[Any]) -> None:
    for value in sound:
        draft({name: value})
    for value in unsound:
        assert faults(**{name: value}) == [f"/{name[:64]}"], value


def test_an_attribute_of_any_name_is_named_in_a_way_that_hurts_nobody() -> None:
    assert faults(**{"a~/b\n\ud800" + "c" * 100: 1}) == ["/a~0~1b??" + "c" * 58]


def test_there_are_so_many_attributes_and_no_more() -> None:
    draft({f"a{n}": 1 for n in range(63)})
    assert faults(**{f"a{n}": 1 for n in range(64)}) == [""]


def test_all_that_is_wrong_is_said_at_once_up_to_a_limit() -> None:
    assert faults(id="", time="x", ext=[]) == ["/id", "/time", "/ext"]
    assert len(faults(**{f"A{n}": 1 for n in range(50)})) == 20


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("2031-02-28T23:59:59Z", True),
        ("2031-02-29T00:00:00Z", False),
        ("2016-12-31T23:59:60Z", True),
        ("2031-01-01T24:00:00Z", False),
        ("2031-01-01T00:00:00", False),
        ("2031-01-01 00:00:00Z", False),
        ("2031-01-01T00:00:00.Z", False),
        ("2031-01-01T00:00:00+24:00", False),
        ("0000-01-01T00:00:00Z", False),
        ("\uff12031-01-01T00:00:00Z", False),
        ("2031-01-01T00:00:00Z\n", False),
    ],
)
def test_a_time_is_one_of_the_calendar_with_its_offset(text: str, sound: bool) -> None:
    assert is_time(text) is sound


def nested(levels: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value, 1] if kind is list else {"a": value, "b": 1}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_data_is_nested_so_deep_and_no_deeper(kind: type) -> None:
    assert not is_deep(nested(LEVELS, kind))
    assert is_deep(nested(LEVELS + 1, kind))
    with pytest.raises(Invalid) as refused:
        draft({}, data=nested(LEVELS + 1, kind))
    assert [pointer for pointer, _ in refused.value.fields] == ["/data"]


def test_where_an_event_is_kept() -> None:
    assert stream_of("ws_1", "dev") == "EV_ws_1_dev"
    assert subject_of("ws_1", "dev", "_", "app/order/created") == "ev.ws_1.dev._.app.order.created"
