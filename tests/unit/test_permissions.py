"""Permissions, the roles that bundle them, and the conditions that narrow an account key."""

from typing import get_args

import pytest

from keyfold.domain.permissions import ANYTHING, INTEGRATION_KEY, PERMISSIONS, PORTAL, ROLES, Conditions, Permission

INT, OTHER_INT = "int_01h455vb4pex5vsknk084sn02q", "int_01h455vb4pex5vsknk084sn02r"
PRT = "prt_01h455vb4pex5vsknk084sn02q"


def test_an_owner_has_every_permission_and_nobody_has_more() -> None:
    assert ROLES["owner"] == PERMISSIONS == {*get_args(Permission)}
    assert all(has <= PERMISSIONS for has in (*ROLES.values(), INTEGRATION_KEY, PORTAL))


def test_roles_differ_by_what_they_are_for() -> None:
    changing = {each for each in PERMISSIONS if each.rpartition(":")[2] not in ("read", "explain", "verify")}
    assert ROLES["owner"] - ROLES["admin"] == {"workspace:change"}
    assert {each for each in ROLES["key-manager"] & changing if not each.startswith("keys:")} == set()
    assert {each for each in PERMISSIONS if each.startswith("keys:")} <= ROLES["key-manager"]
    assert not (ROLES["auditor"] | ROLES["viewer"]) & changing
    assert ROLES["auditor"] - ROLES["viewer"] == {"audit:read", "keys:explain"}
    assert not ROLES["viewer"] & {"audit:read", "keys:verify", "keys:explain"}


def test_an_integration_key_invites_and_has_nothing_to_do_with_keys() -> None:
    assert {each for each in INTEGRATION_KEY if each.startswith(("keys:", "audit:", "roles:", "workspace:"))} == set()
    assert "partners:offboard" not in INTEGRATION_KEY


def test_a_portal_session_looks_after_keys_and_issues_none_and_lets_colleagues_in() -> None:
    assert {each for each in PORTAL if not each.startswith("keys:")} == {"links:issue"}
    assert not PORTAL & {"keys:issue", "keys:verify"}


@pytest.mark.parametrize(
    ("conditions", "admitted"),
    [
        (ANYTHING, True),
        (Conditions(integrations=("int_1",)), True),
        (Conditions(integrations=("int_2", "int_1")), True),
        (Conditions(integrations=("int_2",)), False),
        (Conditions(integrations=()), False),
        (Conditions(partners=("prt_1",)), True),
        (Conditions(partners=("prt_2",)), False),
        (Conditions(environments=("dev", "prod")), True),
        (Conditions(environments=("dev",)), False),
        (Conditions(("int_1",), ("prt_1",), ("prod",)), True),
        (Conditions(("int_1",), ("prt_1",), ("dev",)), False),
        (Conditions(("int_1",), ("prt_2",), ("prod",)), False),
    ],
)
def test_conditions_admit_what_lies_within_all_of_them(conditions: Conditions, admitted: bool) -> None:
    assert conditions.admits("int_1", "prt_1", "prod") is admitted


def test_what_isnt_bound_to_anything_lies_outside_of_every_condition() -> None:
    assert ANYTHING.admits(None, None, None)
    narrow = (Conditions(integrations=("int_1",)), Conditions(partners=("prt_1",)), Conditions(environments=("dev",)))
    assert not any(each.admits(None, None, None) for each in narrow)


@pytest.mark.parametrize(
    ("ours", "ceiling", "fields"),
    [
        (ANYTHING, ANYTHING, []),
        (Conditions(("int_1",), ("prt_1",), ("dev",)), ANYTHING, []),
        (Conditions(integrations=("int_1",)), Conditions(integrations=("int_2", "int_1")), []),
        (Conditions(integrations=()), Conditions(integrations=()), []),
        (Conditions(integrations=("int_1", "int_2")), Conditions(integrations=("int_1",)), ["integrations"]),
        (
            ANYTHING,
            Conditions(("int_1",), (), ("dev",)),
            ["integrations", "partners", "environments"],
        ),
        (Conditions(partners=("prt_1",)), Conditions(environments=("dev",)), ["environments"]),
    ],
)
def test_each_condition_that_leaves_more_than_the_ceiling_is_named(
    ours: Conditions, ceiling: Conditions, fields: list[str]
) -> None:
    assert [pointer for pointer, _ in ours.exceeds(ceiling)] == [f"/conditions/{field}" for field in fields]


def test_conditions_name_things_by_their_ids_and_not_too_many() -> None:
    assert [*Conditions((INT, OTHER_INT), (PRT,), ("dev",)).faults()] == []
    wrong = Conditions((INT, PRT), ("prt_1", PRT))
    assert [pointer for pointer, _ in wrong.faults()] == ["/conditions/integrations/1", "/conditions/partners/0"]
    assert [*Conditions(integrations=(INT,) * 200).faults()] == []
    assert [pointer for pointer, _ in Conditions(integrations=(INT,) * 201).faults()] == ["/conditions/integrations"]
