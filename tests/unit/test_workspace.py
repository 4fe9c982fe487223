"""The workspace: always an owner, and what its owners may change."""

from typing import Any

import pytest

from keyfold.domain import workspace
from keyfold.domain.rates import Rate
from keyfold.domain.refusals import Invalid
from keyfold.domain.workspace import (
    AddOwner,
    House,
    LastOwner,
    OwnerAdded,
    OwnerRemoved,
    RemoveOwner,
    WorkspaceChanged,
    WorkspaceCreated,
)

from .given import NOW, given

CREATED = WorkspaceCreated(workspace_id="ws_1", name="Acme")
FIRST = OwnerAdded(workspace_id="ws_1", key_id="key_1")
SECOND = OwnerAdded(workspace_id="ws_1", key_id="key_2")
LEFT = OwnerRemoved(workspace_id="ws_1", key_id="key_1")
HOUSE = House(name="Acme Inc.", rate=Rate(1000, 60), key_rate=Rate(10, 1))


def test_an_owner_is_added_once() -> None:
    given(workspace, [CREATED]).when(AddOwner("key_1")).then([FIRST])
    given(workspace, [CREATED, FIRST]).when(AddOwner("key_1")).then_nothing()
    given(workspace, [CREATED, FIRST]).when(AddOwner("key_2")).then([SECOND])


def test_the_last_owner_stays_whoever_it_is() -> None:
    given(workspace, [CREATED, FIRST]).when(RemoveOwner("key_1")).then_refused(LastOwner)
    given(workspace, [CREATED, FIRST, SECOND]).when(RemoveOwner("key_1")).then([LEFT])
    given(workspace, [CREATED, FIRST, SECOND, LEFT]).when(RemoveOwner("key_2")).then_refused(LastOwner)
    assert given(workspace, [CREATED, FIRST, SECOND, LEFT]).state.owners == ("key_2",)


def test_removing_whoever_is_no_owner_changes_nothing() -> None:
    given(workspace, [CREATED]).when(RemoveOwner("key_1")).then_nothing()
    given(workspace, [CREATED, FIRST]).when(RemoveOwner("key_2")).then_nothing()


def test_an_owner_who_left_can_come_back() -> None:
    given(workspace, [CREATED, FIRST, SECOND, LEFT]).when(AddOwner("key_1")).then([FIRST])
    assert given(workspace, [CREATED, FIRST, SECOND, LEFT, FIRST]).state.owners == ("key_2", "key_1")


def test_the_house_is_changed_with_before_and_after() -> None:
    changed = WorkspaceChanged(workspace_id="ws_1", before=House(name="Acme"), after=HOUSE)
    given(workspace, [CREATED]).when(HOUSE).then([changed])
    given(workspace, [CREATED, changed]).when(HOUSE).then_nothing()
    state = given(workspace, [CREATED, FIRST, changed]).state
    assert (state.house, state.owners) == (HOUSE, ("key_1",))


def test_a_house_that_cant_be_is_refused_with_all_that_is_wrong() -> None:
    given(workspace, [CREATED]).when(House(name="a\nb", rate=Rate(0, 60), key_rate=Rate(1, 86_401))).then_refused(
        Invalid, "/name", "/rate/requests", "/keyRate/seconds"
    )


@pytest.mark.parametrize("event", [FIRST, LEFT])
def test_a_history_without_its_beginning_is_no_history(event: Any) -> None:
    with pytest.raises(ValueError, match="before the workspace was created"):
        workspace.evolve(None, event, NOW)
