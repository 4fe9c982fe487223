"""Rules: which actions a key may do, and on which topics."""

from typing import get_args

import msgspec
import pytest

from keyfold.domain.rule import (
    ACTIONS,
    EVENT_ACTIONS,
    OPERATIONS,
    SECTIONS,
    Action,
    Dataset,
    Datasets,
    Operation,
    Options,
    Receive,
    Rule,
    SavedQueries,
    Send,
)


def test_a_rule_refuses_other_actions_and_other_topics() -> None:
    rule = Rule(("send",), Options(send=Send(("app/order/*", "app/refund/**")), receive=Receive(("**",))))
    assert rule.refuses("send", None) is None
    assert rule.refuses("send", "app/order/created") is None
    assert rule.refuses("send", "app/refund/a/b") is None
    assert rule.refuses("send", "app/order") == "topic-not-permitted"
    assert rule.refuses("receive", "app/order/created") == "action-not-permitted"


def test_each_action_has_topics_of_its_own() -> None:
    rule = Rule(options=Options(send=Send(("out/**",)), receive=Receive(("in/**",))))
    assert [rule.refuses("send", "out/a"), rule.refuses("receive", "in/a")] == [None, None]
    assert {rule.refuses("send", "in/a"), rule.refuses("receive", "out/a")} == {"topic-not-permitted"}


@pytest.mark.parametrize("action", [each for each in ACTIONS if each not in EVENT_ACTIONS])
@pytest.mark.parametrize("topic", [None, "app/order/created"])
def test_actions_whose_data_side_is_still_to_come_are_refused_by_name(action: Action, topic: str | None) -> None:
    assert Rule((action,)).refuses(action, topic) == "action-not-available"
    assert Rule(()).refuses(action, topic) == "action-not-permitted"


def test_the_first_pattern_that_covers_the_topic_is_the_one_that_decided() -> None:
    rule = Rule(("send",), Options(send=Send(("app/stock/*", "app/**", "app/order/*"))))
    assert rule.pattern_for("send", "app/order/created") == "app/**"
    assert rule.pattern_for("send", "app") is None


def test_every_action_and_operation_is_known_and_each_has_its_section_but_schema() -> None:
    assert (get_args(Action), get_args(Operation)) == (ACTIONS, OPERATIONS)
    assert {*ACTIONS} - {*SECTIONS} == {"schema"}
    assert {*SECTIONS.values()} == {*Options.__struct_fields__}


def test_what_is_asked_for_takes_the_place_of_what_there_is_field_by_field() -> None:
    rule = Rule(("send",), Options(send=Send(("app/**",), {"a": 1}), receive=Receive(("in/**",))))
    assert rule.with_asked(None, {}) == rule
    asked = rule.with_asked(("receive", "send", "receive"), {"send": {"topics": ("app/x",)}, "queries": {}})
    assert asked == Rule(("receive", "send"), Options(send=Send(("app/x",), {"a": 1}), receive=Receive(("in/**",))))


def test_the_whole_document_has_its_place_and_what_has_none_is_no_document() -> None:
    document = {
        "send": {"topics": ["app/order/*"], "autofill": {"customer": {"id": "c_1"}}},
        "receive": {
            "topics": ["app/fulfillment/**"],
            "filters": [{"propertyName": "customer.id", "operator": "eq", "propertyValue": "c_1"}],
            "history": {"since": "2026-01-01T00:00:00Z", "seconds": 60},
        },
        "queries": {"filters": [{"propertyName": "n", "operator": "gt", "propertyValue": 1}]},
        "savedQueries": {"allowed": ["open"], "blocked": ["all"]},
        "cachedQueries": {"allowed": []},
        "datasets": {"operations": ["read"], "allowed": {"orders": {"indexBy": {"id": ["1"]}}}},
    }
    options = msgspec.convert(document, Options)
    assert options.saved_queries == SavedQueries(("open",), ("all",))
    assert options.datasets == Datasets(("read",), {"orders": Dataset({"id": ("1",)})})
    assert msgspec.json.decode(msgspec.json.encode(options)) == document
    with pytest.raises(msgspec.ValidationError, match="schema"):
        msgspec.convert({"schema": {}}, Options)
