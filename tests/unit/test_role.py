"""The custom role: a named set of permissions, changed and removed for all of its keys at once."""

from typing import Any

import pytest

from keyfold.domain import role
from keyfold.domain.refusals import Invalid
from keyfold.domain.role import RemoveRole, RoleChanged, RoleDefined, RoleGone, RoleRemoved, RoleTerms

from .given import NOW, given, making

THIS: dict[str, Any] = {"workspace_id": "ws_1", "role_id": "rol_1"}
TERMS = RoleTerms(name="Rotator", description="Rotates", permissions=("keys:read", "keys:rotate"))
OTHER = RoleTerms(name="Reader", permissions=("keys:read",))
DEFINED = RoleDefined(terms=TERMS, **THIS)
CHANGED = RoleChanged(before=TERMS, after=OTHER, **THIS)
REMOVED = RoleRemoved(**THIS)


def test_a_role_is_defined_with_its_permissions_in_one_order_and_each_once() -> None:
    wanted = RoleTerms(name="Rotator", description="Rotates", permissions=("keys:rotate", "keys:read", "keys:rotate"))
    making(role.define, "rol_1", "ws_1", wanted).then([DEFINED])


def test_a_role_is_changed_with_before_and_after() -> None:
    given(role, [DEFINED]).when(OTHER).then([CHANGED])
    given(role, [DEFINED]).when(TERMS).then_nothing()
    shuffled = RoleTerms(name="Rotator", description="Rotates", permissions=("keys:rotate", "keys:read"))
    given(role, [DEFINED]).when(shuffled).then_nothing()


def test_its_keys_may_what_it_says_by_now_and_nothing_once_it_is_removed() -> None:
    assert given(role, [DEFINED]).state.permissions == {"keys:read", "keys:rotate"}
    assert given(role, [DEFINED, CHANGED]).state.permissions == {"keys:read"}
    assert given(role, [DEFINED, REMOVED]).state.permissions == frozenset()


def test_a_role_is_removed_once_and_for_good() -> None:
    given(role, [DEFINED]).when(RemoveRole()).then([REMOVED])
    given(role, [DEFINED, REMOVED]).when(RemoveRole()).then_nothing()
    given(role, [DEFINED, REMOVED]).when(OTHER).then_refused(RoleGone)


def test_names_and_descriptions_have_their_limits_at_the_beginning_and_later() -> None:
    wrong = RoleTerms(name="x" * 257, description="\0", permissions=())
    making(role.define, "rol_1", "ws_1", wrong).then_refused(Invalid, "/name", "/description")
    given(role, [DEFINED]).when(wrong).then_refused(Invalid, "/name", "/description")
    fits = RoleTerms(name="x" * 256, description="Rotates\nat night", permissions=())
    making(role.define, "rol_1", "ws_1", fits).then([RoleDefined(terms=fits, **THIS)])


@pytest.mark.parametrize("event", [CHANGED, REMOVED])
def test_a_history_without_its_beginning_is_no_history(event: Any) -> None:
    with pytest.raises(ValueError, match="before the role was defined"):
        role.evolve(None, event, NOW)
