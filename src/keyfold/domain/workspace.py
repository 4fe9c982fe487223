"""The workspace: the tenant that everything belongs to. It knows its owners, so that the last one can't be removed."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from keyfold.domain.limits import NAME_LENGTH, Fault, text_faults
from keyfold.domain.rates import Rate, rate_faults
from keyfold.domain.record import Event
from keyfold.domain.refusals import Invalid, Refusal


class WorkspaceCreated(Event, frozen=True, kw_only=True):
    type = "workspace.created.v1"

    name: str


class OwnerAdded(Event, frozen=True, kw_only=True):
    type = "workspace.owner-added.v1"

    key_id: str


class OwnerRemoved(Event, frozen=True, kw_only=True):
    type = "workspace.owner-removed.v1"

    key_id: str


class House(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that an owner may change: the name, how much all keys of the workspace may ask in sum, and how much each
    account or integration key may."""

    name: str
    rate: Rate | None = None
    key_rate: Rate | None = None


class WorkspaceChanged(Event, frozen=True, kw_only=True):
    type = "workspace.changed.v1"

    before: House
    after: House


WorkspaceEvent = WorkspaceCreated | OwnerAdded | OwnerRemoved | WorkspaceChanged


class Workspace(msgspec.Struct, frozen=True, rename="camel"):
    """`owners` are the owners' keys that can be used now, and don't come to an end by themselves."""

    id: str
    house: House
    owners: tuple[str, ...] = ()
    status: Literal["active"] = "active"

    @property
    def workspace_id(self) -> str:
        return self.id


class LastOwner(Refusal):
    """A workspace without an owner could never be managed again."""

    code, status, title = "last-owner", 409, "The last owner can't be removed"


class AddOwner(msgspec.Struct, frozen=True):
    key_id: str


class RemoveOwner(msgspec.Struct, frozen=True):
    key_id: str


WorkspaceCommand = AddOwner | RemoveOwner | House


def create(workspace_id: str, name: str) -> list[WorkspaceEvent]:
    return [WorkspaceCreated(workspace_id=workspace_id, name=name)]


def decide(workspace: Workspace, command: WorkspaceCommand) -> list[WorkspaceEvent]:
    """Raises `LastOwner`, `Invalid`."""
    match command:
        case AddOwner(key_id=key_id):
            added = OwnerAdded(workspace_id=workspace.id, key_id=key_id)
            return [] if key_id in workspace.owners else [added]
        case RemoveOwner(key_id=key_id):
            if key_id not in workspace.owners:
                return []
            if workspace.owners == (key_id,):
                raise LastOwner("Issue another owner's key first, one that doesn't expire; then remove this one.")
            return [OwnerRemoved(workspace_id=workspace.id, key_id=key_id)]
        case House():
            _demand_sound(command)
            changed = WorkspaceChanged(workspace_id=workspace.id, before=workspace.house, after=command)
            return [] if command == workspace.house else [changed]
        case _:
            assert_never(command)


def _demand_sound(house: House) -> None:
    wrong: list[Fault] = [*text_faults("/name", house.name, most=NAME_LENGTH)]
    for name, rate in (("rate", house.rate), ("keyRate", house.key_rate)):
        if rate is not None:
            faults = [*rate_faults(f"/{name}", rate)]
            if not faults and rate.requests * 60 < rate.seconds:  # whoever sets it must be able to change it again
                faults.append((f"/{name}", "Give at least one request a minute."))
            wrong += faults
    if wrong:
        raise Invalid("The workspace can't be like this.", *wrong)


def evolve(state: Workspace | None, event: WorkspaceEvent, at: datetime) -> Workspace:
    match event:
        case WorkspaceCreated():
            return Workspace(id=event.workspace_id, house=House(name=event.name))
        case _ if state is None:
            raise ValueError(f"{event.type} before the workspace was created")
        case OwnerAdded():
            return msgspec.structs.replace(state, owners=(*state.owners, event.key_id))
        case OwnerRemoved():
            owners = tuple(each for each in state.owners if each != event.key_id)
            return msgspec.structs.replace(state, owners=owners)
        case WorkspaceChanged():
            return msgspec.structs.replace(state, house=event.after)
        case _:
            assert_never(event)
