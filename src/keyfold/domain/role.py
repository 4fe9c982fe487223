"""The custom role: a named set of permissions, which account keys have beside the roles that are built in."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from keyfold.domain.limits import DESCRIPTION_LENGTH, NAME_LENGTH, Fault, text_faults
from keyfold.domain.permissions import Permission
from keyfold.domain.record import Event
from keyfold.domain.refusals import Invalid, Refusal


class RoleTerms(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that can be asked for and changed."""

    name: str
    description: str = ""
    permissions: tuple[Permission, ...]


class RoleDefined(Event, frozen=True, kw_only=True):
    type = "role.defined.v1"

    role_id: str
    terms: RoleTerms


class RoleChanged(Event, frozen=True, kw_only=True):
    type = "role.changed.v1"

    role_id: str
    before: RoleTerms
    after: RoleTerms


class RoleRemoved(Event, frozen=True, kw_only=True):
    type = "role.removed.v1"

    role_id: str


RoleEvent = RoleDefined | RoleChanged | RoleRemoved


class CustomRole(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    terms: RoleTerms
    status: Literal["active", "removed"] = "active"

    @property
    def permissions(self) -> frozenset[Permission]:
        """A key of a removed role may do nothing."""
        return frozenset(self.terms.permissions if self.status == "active" else ())


class RoleGone(Refusal):
    """The role has been removed: keys can't have it any more."""

    code, status, title = "role-removed", 409, "The role has been removed"


class RemoveRole(msgspec.Struct, frozen=True):
    pass


def define(role_id: str, workspace_id: str, wanted: RoleTerms) -> list[RoleEvent]:
    """A new role."""
    return [RoleDefined(workspace_id=workspace_id, role_id=role_id, terms=_sound(wanted))]


def decide(role: CustomRole, command: RoleTerms | RemoveRole) -> list[RoleEvent]:
    """Its keys have the changed permissions at once. Removing a removed role changes nothing."""
    this = {"workspace_id": role.workspace_id, "role_id": role.id}
    match command:
        case RemoveRole():
            return [] if role.status == "removed" else [RoleRemoved(**this)]
        case RoleTerms():
            if role.status == "removed":
                raise RoleGone("Define another one.")
            wanted = _sound(command)
            return [] if wanted == role.terms else [RoleChanged(before=role.terms, after=wanted, **this)]
        case _:
            assert_never(command)


def _sound(wanted: RoleTerms) -> RoleTerms:
    faults: list[Fault] = [
        *text_faults("/name", wanted.name, most=NAME_LENGTH),
        *text_faults("/description", wanted.description, most=DESCRIPTION_LENGTH, lines=True),
    ]
    if faults:
        raise Invalid("The role can't be like this.", *faults)
    return msgspec.structs.replace(wanted, permissions=tuple(sorted({*wanted.permissions})))


def evolve(state: CustomRole | None, event: RoleEvent, at: datetime) -> CustomRole:
    match event:
        case RoleDefined():
            return CustomRole(id=event.role_id, workspace_id=event.workspace_id, terms=event.terms)
        case _ if state is None:
            raise ValueError(f"{event.type} before the role was defined")
        case RoleChanged():
            return msgspec.structs.replace(state, terms=event.after)
        case RoleRemoved():
            return msgspec.structs.replace(state, status="removed")
        case _:
            assert_never(event)
