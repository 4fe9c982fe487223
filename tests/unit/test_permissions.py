"""Rules and roles."""

from typing import get_args

import pytest

from keyfold.domain.permissions import (
    INTEGRATION_KEY,
    ROLES,
    ExceedsCeiling,
    Options,
    Permission,
    Rule,
    Topics,
)
from keyfold.domain.refusals import Invalid


def test_a_rule_refuses_other_actions_and_other_topics() -> None:
    rule = Rule(("send",), Options(send=Topics(("app/order/*", "app/refund/**")), receive=Topics(("**",))))
    assert rule.refuses("send", None) is None
    assert rule.refuses("send", "app/order/created") is None
    assert rule.refuses("send", "app/refund/a/b") is None
    assert rule.refuses("send", "app/order") == "topic-not-permitted"
    assert rule.refuses("receive", "app/order/created") == "action-not-permitted"


def test_each_action_has_topics_of_its_own() -> None:
    rule = Rule(options=Options(send=Topics(("out/**",)), receive=Topics(("in/**",))))
    assert [rule.refuses("send", "out/a"), rule.refuses("receive", "in/a")] == [None, None]
    assert {rule.refuses("send", "in/a"), rule.refuses("receive", "out/a")} == {"topic-not-permitted"}


def test_an_owner_has_every_permission_and_the_other_roles_no_more() -> None:
    every = set(get_args(Permission))
    assert ROLES["owner"] == every
    assert [role for role, has in ROLES.items() if not has <= every] == []


def test_roles_differ_by_what_they_are_for() -> None:
    changing = {"integrations:create", "links:withdraw", "partners:invite", "partners:offboard"}
    assert not ROLES["key-manager"] & changing
    assert not (ROLES["auditor"] | ROLES["viewer"]) & (changing | {"keys:issue", "keys:revoke"})
    assert ROLES["auditor"] - ROLES["viewer"] == {"audit:read"}
    assert not INTEGRATION_KEY & {"keys:read", "keys:issue", "keys:revoke", "audit:read", "partners:offboard"}


CEILING = Rule(("send",), Options(send=Topics(("app/order/*", "app/stock/**")), receive=Topics(("app/**",))))


def test_what_isnt_asked_for_is_as_the_ceiling_has_it() -> None:
    assert CEILING.narrowed(None, {}) == CEILING


def test_less_than_the_ceiling_is_given_as_asked() -> None:
    narrowed = CEILING.narrowed(("send", "send"), {"send": ("app/order/created",)})
    assert narrowed == Rule(("send",), Options(send=Topics(("app/order/created",)), receive=Topics(("app/**",))))


def test_each_excess_is_named() -> None:
    with pytest.raises(ExceedsCeiling) as refusal:
        CEILING.narrowed(("receive",), {"send": ("app/order/created", "app/order/**"), "receive": ("**",)})
    assert [pointer for pointer, _ in refusal.value.fields] == [
        "/permitted",
        "/options/send/topics/1",
        "/options/receive/topics/0",
    ]


def test_what_is_no_pattern_is_invalid_and_not_too_much() -> None:
    with pytest.raises(Invalid) as refusal:
        CEILING.narrowed(None, {"send": ("app//x",)})
    assert refusal.value.fields[0][0] == "/options/send/topics/0"
